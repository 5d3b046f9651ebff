//! Locks between processes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use same_file::Handle;

/// A lock file that one process at a time can hold, using `flock` on Unix and `LockFileEx` on
/// Windows. The lock is released when it is dropped, or when the process exits or is killed.
/// Dropping it removes the file. If the process is killed, the file stays, but another process can
/// lock it.
///
/// On a file system without locks, every process gets the lock.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// The locked file. `None` on a file system without locks.
    file: Option<File>,
}

impl Lock {
    /// Takes the lock. Returns `None` if another process holds it. Creates the lock file if it is
    /// missing.
    ///
    /// # Errors
    /// If the file cannot be created or opened.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) if is_still(&file, path)? => return Ok(Some(Self::of(path, Some(file)))),
                // The previous owner removed the file after it was opened here.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(TryLockError::Error(_)) => return Ok(Some(Self::of(path, None))),
            }
        }
    }

    /// Waits until the lock is free and takes it. If another process holds it, calls `waiting`
    /// first.
    ///
    /// # Errors
    /// If the file cannot be created or opened.
    pub fn wait(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        if let Some(lock) = Self::take(path)? {
            return Ok(lock);
        }
        waiting();
        loop {
            let file = open(path)?;
            match file.lock() {
                Ok(()) if is_still(&file, path)? => return Ok(Self::of(path, Some(file))),
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ok(Self::of(path, None)),
            }
        }
    }

    fn of(path: &Path, file: Option<File>) -> Self {
        Self {
            path: path.to_owned(),
            file,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while still locked, so that no other process locks a file that is about to be
        // removed. If the removal fails, the next owner locks the same file.
        if self.file.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

/// Whether `path` still refers to this open file.
fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    match Handle::from_path(path) {
        Ok(there) => Ok(there == Handle::from_file(file.try_clone()?)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, mpsc};
    use std::thread;

    use super::*;

    #[test]
    fn a_lock_has_one_owner_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let lock = Lock::take(&path).unwrap().unwrap();
        assert!(Lock::take(&path).unwrap().is_none());
        drop(lock);
        assert!(!path.exists());
        // A killed process leaves its file behind. Another process can lock it.
        File::create(&path).unwrap();
        assert!(Lock::take(&path).unwrap().is_some());
    }

    #[test]
    fn a_lock_that_is_taken_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let lock = Lock::take(&path).unwrap().unwrap();
        let (waits, waiting) = mpsc::channel();
        thread::scope(|scope| {
            let other = scope.spawn(|| Lock::wait(&path, || waits.send(()).unwrap()).unwrap());
            waiting.recv().unwrap();
            drop(lock);
            let other = other.join().unwrap();
            assert!(path.exists());
            assert!(Lock::take(&path).unwrap().is_none());
            drop(other);
        });
        assert!(!path.exists());
    }

    /// Each owner removes a file that other processes have already opened.
    #[test]
    fn there_are_never_two_owners() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let (owners, start) = (AtomicUsize::new(0), Barrier::new(4));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..500 {
                        let lock = Lock::wait(&path, || ()).unwrap();
                        assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0);
                        owners.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
    }
}
