//! Makes chosen operations on files fail, for tests of the code that writes them. Only with the feature `faults`.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An operation of an atomic write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A temporary file is created.
    Create,
    /// Bytes are written to it.
    Write,
    /// It is flushed to disk.
    Sync,
    /// It is renamed to its final path.
    Rename,
    /// Its folder is flushed to disk.
    SyncFolder,
}

/// How long an injected fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// One operation fails, such as after a glitch of a network file system.
    Once,
    /// Every later operation fails too, such as on a full disk.
    Forever,
}

struct Plan {
    folder: PathBuf,
    nth: usize,
    kind: ErrorKind,
    lasting: Lasting,
    seen: Vec<Operation>,
}

static PLANS: Mutex<Vec<Plan>> = Mutex::new(Vec::new());

/// A fault that is injected until this value is dropped.
///
/// ```
/// use std::io::ErrorKind;
/// use files::faults::{Faults, Lasting};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("file");
/// let faults = Faults::inject(dir.path(), 0, ErrorKind::StorageFull, Lasting::Once);
/// let failed = files::write(&path, |_| Ok(())).unwrap_err();
/// assert_eq!(failed.kind(), ErrorKind::StorageFull);
/// files::write(&path, |_| Ok(()))?;
/// # drop(faults);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Faults(PathBuf);

impl Faults {
    /// Makes the operation number `nth`, from 0, on files below `folder` fail with an error of this
    /// kind. Only one fault can be injected per folder.
    #[must_use]
    pub fn inject(folder: &Path, nth: usize, kind: ErrorKind, lasting: Lasting) -> Self {
        plans().push(Plan {
            folder: folder.to_owned(),
            nth,
            kind,
            lasting,
            seen: Vec::new(),
        });
        Self(folder.to_owned())
    }

    /// The operations on files below the folder so far, failed ones included.
    #[must_use]
    pub fn seen(&self) -> Vec<Operation> {
        let plans = plans();
        let plan = plans.iter().find(|plan| plan.folder == self.0);
        plan.map(|plan| plan.seen.clone()).unwrap_or_default()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        plans().retain(|plan| plan.folder != self.0);
    }
}

fn plans() -> MutexGuard<'static, Vec<Plan>> {
    PLANS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The injected error, if this operation is to fail.
pub(crate) fn check(operation: Operation, path: &Path) -> io::Result<()> {
    for plan in plans().iter_mut() {
        if !path.starts_with(&plan.folder) {
            continue;
        }
        let number = plan.seen.len();
        plan.seen.push(operation);
        let fails = match plan.lasting {
            Lasting::Once => number == plan.nth,
            Lasting::Forever => number >= plan.nth,
        };
        if fails {
            return Err(plan.kind.into());
        }
    }
    Ok(())
}
