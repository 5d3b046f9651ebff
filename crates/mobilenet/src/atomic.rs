//! Files that appear whole or not at all.

use std::io::Write as _;
use std::path::Path;

use files::Unfinished;

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
    let mut file = Unfinished::create(path).map_err(&io)?;
    file.write_all(bytes).map_err(&io)?;
    let found = check(file.temporary())?;
    file.finish().map_err(&io)?;
    Ok(found)
}
