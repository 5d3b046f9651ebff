//! Reads text files of limited size.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use crate::regular::read_regular;

/// The text of a regular file of at most `limit` bytes.
///
/// Pipes and devices are refused, since they may never end.
///
/// # Errors
/// The system's error, or an error if the file is not regular, too large, or not UTF-8. The message does not contain
/// the path.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let read = read_regular(path, limit).map_err(|error| match error {
        crate::Error::Io { source, .. } => source,
        crate::Error::NotRegular { kind, .. } => Error::new(
            ErrorKind::InvalidInput,
            format!("it is a {kind}; expected a text file"),
        ),
        _ => Error::new(
            ErrorKind::FileTooLarge,
            format!("it is larger than {limit} bytes, the most such a file may have"),
        ),
    });
    String::from_utf8(read?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let problem = format!("byte {at} is not UTF-8; expected a text file");
        Error::new(ErrorKind::InvalidData, problem)
    })
}

/// Simplifies a name for comparison: lower case, without `-`, `_` and spaces.
///
/// ```
/// assert_eq!(mnist_data::plain_word("MobileNet-V2"), mnist_data::plain_word("mobilenet_v2"));
/// ```
#[must_use]
pub fn plain_word(name: &str) -> String {
    let name = name.chars().filter(|c| !matches!(c, '-' | '_' | ' '));
    name.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "text").unwrap();
        assert_eq!(read_text(&path, 4).unwrap(), "text");
        let error = read_text(&path, 3).unwrap_err();
        assert!(error.to_string().contains("larger than 3 bytes"), "{error}");
        fs::write(&path, b"a\xff").unwrap();
        let error = read_text(&path, 4).unwrap_err();
        assert!(error.to_string().contains("byte 1"), "{error}");
        let error = read_text(dir.path(), 4).unwrap_err();
        assert!(error.to_string().contains("it is a folder"), "{error}");
        assert!(read_text(&dir.path().join("none"), 4).is_err());
    }
}
