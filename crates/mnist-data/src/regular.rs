//! Reads files that others wrote. Only regular files are read: a pipe ends only when its writer closes it, and a device
//! may never end.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// The longest table of labels or file of names: 1 GiB.
pub(crate) const MAX_TABLE: u64 = 1 << 30;

/// The contents of a regular file of at most `max_bytes`. Links are followed.
///
/// # Errors
/// [`Error::NotRegular`] for a pipe, a socket, a device and a folder, without reading from it; [`Error::TooLong`];
/// [`Error::Io`].
pub fn read_regular(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let mut contents = Vec::new();
    let (file, _) = open(path, max_bytes)?;
    read_open(file, path, max_bytes, &mut contents)?;
    Ok(contents)
}

/// Opens a regular file of at most `max_bytes`; returns its metadata too. It never blocks: a pipe without a writer
/// is refused.
pub(crate) fn open(path: &Path, max_bytes: u64) -> Result<(File, Metadata)> {
    let opened = options().open(path).and_then(|file| {
        let metadata = file.metadata()?;
        Ok((file, metadata))
    });
    let found = match &opened {
        Ok((_, metadata)) => Some(metadata.file_type()),
        // A socket cannot be opened, and the system's error does not say that it is one.
        Err(_) => fs::metadata(path).ok().map(|metadata| metadata.file_type()),
    };
    if let Some(kind) = found.and_then(special) {
        let path = path.into();
        return Err(Error::NotRegular { path, kind });
    }
    let (file, metadata) = opened.map_err(Error::io("read", path))?;
    match metadata.len() > max_bytes {
        true => Err(too_long(path, max_bytes)),
        false => Ok((file, metadata)),
    }
}

/// Appends the contents of an open file to `contents`; errors show `path`.
pub(crate) fn read_open(
    file: File,
    path: &Path,
    max_bytes: u64,
    contents: &mut Vec<u8>,
) -> Result<()> {
    // `take` limits a file that grows while it is read. It also avoids two system calls by which the standard library
    // queries a plain file's length. That matters, since reading an image takes only four calls in all.
    let read = file
        .take(max_bytes.saturating_add(1))
        .read_to_end(contents)
        .map_err(Error::io("read", path))?;
    match read as u64 > max_bytes {
        true => Err(too_long(path, max_bytes)),
        false => Ok(()),
    }
}

fn too_long(path: &Path, max_bytes: u64) -> Error {
    Error::TooLong {
        path: path.into(),
        max_mib: max_bytes >> 20,
    }
}

#[cfg(unix)]
fn options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    // The flag has no effect on a regular file. Without the flag, opening a pipe waits for a writer.
    options.read(true).custom_flags(libc::O_NONBLOCK);
    options
}

#[cfg(not(unix))]
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

/// The kind of a file that is not regular, in words; `None` for a regular file.
pub(crate) fn special(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("folder"),
        kind => Some(of_system(kind)),
    }
}

#[cfg(unix)]
fn of_system(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_fifo() => "pipe",
        kind if kind.is_socket() => "socket",
        _ => "device",
    }
}

#[cfg(not(unix))]
fn of_system(_: FileType) -> &'static str {
    "device"
}
