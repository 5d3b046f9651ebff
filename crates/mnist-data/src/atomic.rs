//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use tempfile::{NamedTempFile, TempPath};

use crate::error::{Error, Result};
use crate::folder;

/// What every temporary name begins with.
pub(crate) const PARTIAL: &str = ".partial-";
/// A temporary file that nothing was written to for so long has no owner left.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A hidden, writable temporary file in `dir`, with the permissions an ordinary
/// new file would get (`tempfile` alone makes private ones). Dropping it
/// deletes it.
pub(crate) fn temporary_in(dir: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PARTIAL);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(dir)
        .map_err(Error::io("create a temporary file in", dir))
}

/// Flushes `file` to the disk and gives it its name, replacing what had it.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    let (file, temporary): (File, TempPath) = file.into_parts();
    file.sync_all().map_err(Error::io("write", path))?;
    drop(file);
    temporary
        .persist(path)
        .map_err(|error| Error::io("write", path)(error.error))
}

/// Writes `path` through `fill`: to a temporary file beside it, flushed to the
/// disk, then renamed, so that a reader never sees half a file.
///
/// # Errors
/// [`Error::Io`] naming `path`; what it held before is then still there.
pub fn write(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> Result<()> {
    let temporary = temporary_in(parent(path))?;
    let mut writer = BufWriter::new(temporary.as_file());
    fill(&mut writer)
        .and_then(|()| writer.flush())
        .map_err(Error::io("write", path))?;
    drop(writer);
    persist(temporary, path)
}

/// Removes the temporary files that runs which were killed left in `dir`.
pub(crate) fn sweep(dir: &Path) -> Result<()> {
    for name in folder::names(dir)? {
        let path = dir.join(&name);
        let modified = path
            .symlink_metadata()
            .and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if name.as_encoded_bytes().starts_with(PARTIAL.as_bytes()) && age > Some(ABANDONED) {
            // Whatever keeps it here, the work that follows can do without.
            let _ = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
        }
    }
    Ok(())
}

/// The folder that holds `path`; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, |writer| writer.write_all(b"old")).unwrap();
        let failed = write(&path, |writer| {
            writer.write_all(b"new")?;
            Err(std::io::Error::other("disk on fire"))
        });
        assert!(failed.unwrap_err().to_string().contains("disk on fire"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(folder::names(dir.path()).unwrap(), ["file"]);
        write(&path, |writer| writer.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn only_what_is_abandoned_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - 2 * ABANDONED;
        for (name, modified) in [
            (".partial-a", old),
            ("a.part", old),
            (".partial-b", SystemTime::now()),
        ] {
            File::create(dir.path().join(name))
                .unwrap()
                .set_modified(modified)
                .unwrap();
        }
        sweep(dir.path()).unwrap();
        assert_eq!(folder::names(dir.path()).unwrap(), [".partial-b", "a.part"]);
    }
}
