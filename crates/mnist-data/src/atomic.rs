//! Atomic writes, and folders locked by one process at a time.

use std::fs;
use std::io::BufWriter;
use std::path::Path;

use files::{Lock, Unfinished};

use crate::error::{Error, Result};
use crate::progress::Progress;

/// Writes `path` through `fill`: to a temporary file beside it, flushed to the disk, then renamed,
/// so that a reader never sees half a file.
///
/// # Errors
/// [`Error::Io`] naming `path`; the file's old contents are then unchanged.
pub fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<Unfinished>) -> std::io::Result<()>,
) -> Result<()> {
    files::write(path, fill).map_err(Error::io("write", path))
}

/// Creates `dir` and locks it against other processes until the lock is dropped. If another process holds the lock,
/// waits for it. A message then says "waiting for another process that {doing}".
pub(crate) fn lock(dir: &Path, doing: &str, progress: &dyn Progress) -> Result<Lock> {
    fs::create_dir_all(dir).map_err(Error::io("create the folder", dir))?;
    let waiting = || {
        let dir = dir.display();
        progress.note(&format!("{dir}: waiting for another process that {doing}"));
    };
    Lock::wait(&dir.join(".lock"), waiting).map_err(Error::io("lock", dir))
}
