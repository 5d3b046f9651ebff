//! Checksums of files, and copies of streams.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use files::Checksum;

use crate::error::{Error, Result};
use crate::regular;

/// Reads up to `limit` bytes of `source` in pieces and passes them to `sink`. Errors show `path`.
pub(crate) fn pump(
    source: impl Read,
    limit: u64,
    path: &Path,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<()> {
    let mut source = source.take(limit);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => sink(&buffer[..count]).map_err(Error::io("write", path))?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path)(error)),
        }
    }
}

/// The SHA-256 of a regular file's contents, in lower-case hexadecimal. Bytes appended while the file is read are
/// ignored.
///
/// # Errors
/// [`Error::Io`] and [`Error::NotRegular`], naming the file.
pub fn content_checksum(path: &Path) -> Result<String> {
    let (file, metadata) = regular::open(path, u64::MAX)?;
    let mut checksum = Checksum::default();
    pump(file, metadata.len(), path, |bytes| {
        checksum.update(bytes);
        Ok(())
    })?;
    Ok(checksum.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_test_vector() {
        // The example "abc" of FIPS 180-4.
        let mut checksum = Checksum::default();
        pump(&b"abcdef"[..], 3, Path::new("abc"), |bytes| {
            checksum.update(bytes);
            Ok(())
        })
        .unwrap();
        assert_eq!(
            checksum.finish(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
