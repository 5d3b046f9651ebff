//! Removes temporary files that killed processes left behind.

use std::fs::{self, DirEntry, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use crate::unfinished::{LOCKED, PREFIX};

/// Age after which an unlocked temporary file counts as abandoned, measured from its last write.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Removes the temporary files in `dir` that no running process owns. A running process keeps its
/// temporary files locked. A file that cannot be removed stays, without an error. A missing folder
/// counts as empty.
///
/// # Errors
/// If the folder cannot be listed.
pub fn sweep(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            let _ = remove_if_abandoned(&entry);
        }
    }
    Ok(())
}

fn remove_if_abandoned(entry: &DirEntry) -> io::Result<()> {
    let (path, kind) = (entry.path(), entry.file_type()?);
    if kind.is_dir() {
        return match is_old(&entry.metadata()?) {
            true => fs::remove_dir_all(path),
            false => Ok(()),
        };
    }
    if !kind.is_file() {
        return Ok(());
    }
    // Keeps the lock until the file is removed, so that no other process starts to use the file.
    let file = File::options().write(true).open(&path)?;
    let abandoned = match LOCKED.then(|| file.try_lock()) {
        Some(Ok(())) => true,
        Some(Err(TryLockError::WouldBlock)) => false,
        Some(Err(TryLockError::Error(_))) | None => is_old(&file.metadata()?),
    };
    match abandoned {
        true => fs::remove_file(path),
        false => Ok(()),
    }
}

fn is_old(metadata: &Metadata) -> bool {
    let modified = metadata.modified().ok();
    let age = modified.and_then(|modified| modified.elapsed().ok());
    age > Some(ABANDONED)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::Unfinished;

    #[test]
    fn temporaries_of_live_processes_are_not_swept() {
        let dir = tempfile::tempdir().unwrap();
        let ours = Unfinished::create(&dir.path().join("file")).unwrap();
        for name in [".unfinished-dead", "file.part"] {
            File::create(dir.path().join(name)).unwrap();
        }
        fs::create_dir(dir.path().join(".unfinished-scratch")).unwrap();
        sweep(dir.path()).unwrap();
        let left = |name: &str| dir.path().join(name).exists();
        // Without locks, a temporary file counts as abandoned only after an hour.
        assert_eq!(left(".unfinished-dead"), !LOCKED);
        assert!(left("file.part") && left(".unfinished-scratch"));
        ours.finish().unwrap();
        assert!(left("file"));
        sweep(&dir.path().join("none")).unwrap();
    }

    #[test]
    fn old_unlocked_temporaries_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".unfinished-dead");
        let file = File::create(&path).unwrap();
        assert!(!is_old(&file.metadata().unwrap()));
        file.set_modified(SystemTime::now() - 2 * ABANDONED)
            .unwrap();
        assert!(is_old(&file.metadata().unwrap()));
        sweep(dir.path()).unwrap();
        assert!(!path.exists());
    }
}
