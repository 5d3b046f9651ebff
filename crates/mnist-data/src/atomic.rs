//! Files that appear whole or not at all, and folders that one process at a time fills.

use std::fs;
use std::io::BufWriter;
use std::path::Path;

use files::{Lock, Unfinished};

use crate::error::{Error, Result};
use crate::progress::Progress;

/// Writes `path` through `fill`: to a temporary file beside it, flushed to the
/// disk, then renamed, so that a reader never sees half a file.
///
/// # Errors
/// [`Error::Io`] naming `path`; what it held before is then still there.
pub fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<Unfinished>) -> std::io::Result<()>,
) -> Result<()> {
    files::write(path, fill).map_err(Error::io("write", path))
}

/// Makes `dir`, and waits until no other process fills it; `doing` says what
/// with. Nobody else fills it until the lock is dropped.
pub(crate) fn lock(dir: &Path, doing: &str, progress: &dyn Progress) -> Result<Lock> {
    fs::create_dir_all(dir).map_err(Error::io("create the folder", dir))?;
    let waiting = || {
        let dir = dir.display();
        progress.note(&format!("{dir}: waiting for another process that {doing}"));
    };
    Lock::wait(&dir.join(".lock"), waiting).map_err(Error::io("lock", dir))
}
