//! Files that appear whole or not at all.

use std::io::Write as _;
use std::path::Path;

use crate::{Error, Result};

/// Writes `bytes` to `path`: to a temporary file beside it first, which takes its name once
/// it is on disk and `check` of it has passed; what that found comes back.
///
/// # Errors
/// If the file cannot be written, and what `check` says; an older file of that name is then
/// left as it was.
pub(crate) fn write<T>(
    path: &Path,
    bytes: &[u8],
    check: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    let io = Error::file(path);
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any new file has them, less what the umask takes; temporary files are private.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder
        .prefix(".unfinished-")
        .tempfile_in(folder)
        .map_err(&io)?;
    file.write_all(bytes).map_err(&io)?;
    file.as_file().sync_all().map_err(&io)?;
    let found = check(file.path())?;
    file.persist(path).map_err(|e| io(e.error))?;
    Ok(found)
}
