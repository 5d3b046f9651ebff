//! Atomic writes: a file appears complete or not at all.

use std::io::Write as _;
use std::path::Path;

use files::Unfinished;

use crate::{Error, Result};

/// Writes `bytes` to a temporary file next to `path`. Renames that file to `path` once it is on
/// disk and `check` has passed. Returns the result of `check`.
///
/// # Errors
/// If the file cannot be written, or if `check` fails. An existing file at `path` is then
/// unchanged.
pub(crate) fn write<T>(
    path: &Path,
    bytes: &[u8],
    check: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    let io = Error::file(path);
    let mut file = Unfinished::create(path).map_err(&io)?;
    file.write_all(bytes).map_err(&io)?;
    let found = check(file.temporary())?;
    file.finish().map_err(&io)?;
    Ok(found)
}
