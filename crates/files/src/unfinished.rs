//! Atomic writes: a file appears complete or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use crate::faults::{Operation, check};

/// The start of the name of every temporary file or folder. [`sweep`](crate::sweep) ignores all
/// other names.
pub const PREFIX: &str = ".unfinished-";
/// Whether temporary files are locked. On Windows a lock would keep the owner from opening its own
/// file by name.
pub(crate) const LOCKED: bool = cfg!(unix);

/// A file that is being written. The contents go to a hidden temporary file in the same folder. If
/// this value is dropped, the temporary file is deleted and an existing file at the path stays.
#[derive(Debug)]
pub struct Unfinished {
    file: NamedTempFile,
    path: PathBuf,
}

impl Unfinished {
    /// Creates an empty temporary file for `path`.
    ///
    /// # Errors
    /// If `path` is a folder, or its parent is not a writable folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        check(Operation::Create, path)?;
        loop {
            let file = temporary_in(parent(path))?;
            // Another process may have swept the file before it was locked.
            let swept =
                LOCKED && matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
            if !swept && file.path().exists() {
                return Ok(Self {
                    file,
                    path: path.to_owned(),
                });
            }
        }
    }

    /// The path of the temporary file.
    pub fn temporary(&self) -> &Path {
        self.file.path()
    }

    /// Flushes the file to disk, renames it to its final path, replacing an existing file, and
    /// flushes the folder, so that the new name survives a power cut.
    ///
    /// # Errors
    /// If the flush or the rename fails. If only the folder's flush fails, the file has its final
    /// name.
    pub fn finish(self) -> io::Result<()> {
        let (file, temporary): (File, TempPath) = self.file.into_parts();
        check(Operation::Sync, &self.path)?;
        file.sync_all()?;
        // Windows cannot rename an open file. On other systems the lock is kept until after the
        // rename, so that no other process sweeps the temporary file.
        #[cfg(not(unix))]
        drop(file);
        check(Operation::Rename, &self.path)?;
        let persisted = temporary.persist(&self.path);
        persisted.map_err(|error| error.error)?;
        sync_parent(&self.path)
    }
}

/// Flushes the folder of `path`, so that a new file or folder at `path` survives a power cut.
/// Systems and file systems that cannot flush a folder keep names safe in their own way.
///
/// # Errors
/// If the flush fails.
#[cfg(unix)]
pub fn sync_parent(path: &Path) -> io::Result<()> {
    check(Operation::SyncFolder, path)?;
    match File::open(parent(path)).and_then(|folder| folder.sync_all()) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Flushes the folder of `path`. This system keeps names safe in its own way.
///
/// # Errors
/// None on this system.
#[cfg(not(unix))]
pub fn sync_parent(path: &Path) -> io::Result<()> {
    check(Operation::SyncFolder, path)
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check(Operation::Write, &self.path)?;
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// Writes a file atomically: `fill` writes the contents, and the file appears complete or not at
/// all. See [`Unfinished`].
///
/// # Errors
/// If `fill` or the write fails. An existing file at `path` then stays.
pub fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<Unfinished>) -> io::Result<()>,
) -> io::Result<()> {
    let mut writer = BufWriter::new(Unfinished::create(path)?);
    fill(&mut writer)?;
    writer.into_inner().map_err(|e| e.into_error())?.finish()
}

/// Writes a small file atomically, but without flushing it to disk and without a lock against
/// [`sweep`](crate::sweep). Suitable for thousands of files in a folder that the caller has locked
/// with [`Lock`](crate::Lock).
///
/// # Errors
/// If the file cannot be written.
pub fn write_unsynced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary_in(parent(path))?;
    file.as_file_mut().write_all(bytes)?;
    file.into_temp_path().persist(path).map_err(|e| e.error)
}

/// Writes a new file atomically, without flushing it to disk. Never replaces a file, a link or a folder.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] if something is at `path`; if the file cannot be written.
pub fn write_new_unsynced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let mut file = Unfinished::create(path)?;
    file.write_all(bytes)?;
    check(Operation::Rename, path)?;
    let persisted = file.file.persist_noclobber(path);
    persisted.map(drop).map_err(|error| error.error)
}

/// A temporary file with the permissions of a normal new file. `tempfile`'s default is private.
fn temporary_in(dir: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let made = builder.tempfile_in(dir);
    made.map_err(|error| without_temporary(&error, dir))
}

/// The same error without the name of the temporary file, which means nothing to the user.
fn without_temporary(error: &io::Error, dir: &Path) -> io::Error {
    if error.kind() == ErrorKind::NotFound && !dir.exists() {
        let problem = format!("there is no folder {}; make it first", dir.display());
        return io::Error::new(ErrorKind::NotFound, problem);
    }
    // `tempfile` puts the system's message and the path into one text.
    let text = error.to_string();
    let words = text.rsplit_once(" at path ").map(|(words, _)| words);
    io::Error::new(error.kind(), words.unwrap_or(&text))
}

/// The folder of `path`; `.` if `path` is only a file name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, |writer| writer.write_all(b"old")).unwrap();
        let failed = write(&path, |writer| {
            writer.write_all(b"new")?;
            Err(io::Error::other("disk on fire"))
        });
        assert!(failed.unwrap_err().to_string().contains("disk on fire"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["file"]);
        write(&path, |writer| writer.write_all(b"new")).unwrap();
        write_unsynced(&dir.path().join("small"), b"contents").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read(dir.path().join("small")).unwrap(), b"contents");
        assert_eq!(names(dir.path()).len(), 2);
    }

    #[test]
    fn a_new_file_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_new_unsynced(&path, b"first").unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        for taken in [&path, &dir.path().join("folder")] {
            let error = write_new_unsynced(taken, b"second").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()).len(), 2);
        let nowhere = write_new_unsynced(&dir.path().join("no/file"), b"");
        assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nothing_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nothing", &link).unwrap();
        let error = write_new_unsynced(&link, b"bytes").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn an_unwritable_path_fails_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let error = |path: &Path| Unfinished::create(path).unwrap_err().kind();
        assert_eq!(error(dir.path()), ErrorKind::IsADirectory);
        let nowhere = dir.path().join("no/file");
        assert_eq!(error(&nowhere), ErrorKind::NotFound);
        fs::write(dir.path().join("no"), "a file").unwrap();
        assert_eq!(error(&nowhere), ErrorKind::NotADirectory);
        for (path, said) in [
            (&nowhere, "Not a directory"),
            (&dir.path().join("new/file"), "/new; make it first"),
        ] {
            let text = Unfinished::create(path).unwrap_err().to_string();
            assert!(!text.contains(PREFIX), "{text}");
            assert!(cfg!(not(unix)) || text.contains(said), "{text}");
        }
        assert_eq!(names(dir.path()), ["no"]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (ours, any) = (dir.path().join("ours"), dir.path().join("any"));
        write(&ours, |_| Ok(())).unwrap();
        File::create(&any).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&any));
    }
}
