//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

use crate::error::{Error, Result};

/// A hidden, writable temporary file in `dir`, with the permissions an ordinary
/// new file would get (`tempfile` alone makes private ones). Dropping it
/// deletes it.
pub(crate) fn temporary_in(dir: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".partial-");
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
pub(crate) fn write(
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

/// The folder that holds `path`; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
