//! The readers of weight files, without the rest of the crate.

use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};

#[allow(dead_code, reason = "the crate uses more of it than is tried here")]
#[path = "../../src/tensor_file/mod.rs"]
mod tensor_file;
#[path = "../../src/torch/mod.rs"]
mod torch;

use tensor_file::TensorFile;

/// Number of values in the largest tensor that is read.
const MOST: usize = 1 << 16;

/// The file errors of the crate, under the names that the readers use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot access {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file has invalid contents.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

/// The result of the readers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    fn file(path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Error::File {
            path: path.into(),
            source,
        }
    }

    fn format(path: &Path, reason: impl Into<String>) -> Self {
        Error::Format {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

/// Opens a file with these bytes and reads every tensor of at most 65,536 values. Returns the
/// number of tensors.
///
/// # Errors
/// If the file is refused. A tensor that is not numeric is not an error here.
pub fn read_bytes(bytes: &[u8]) -> Result<usize> {
    let source = Cursor::new(bytes);
    let file = TensorFile::read_from(Path::new("weights"), source, bytes.len() as u64)?;
    Ok(read_all(file))
}

/// As [`read_bytes`], but reads the file at `path`.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_path(path: &Path) -> Result<usize> {
    TensorFile::open(path).map(read_all)
}

fn read_all<S: Read + Seek>(mut file: TensorFile<S>) -> usize {
    let names: Vec<String> = file.names().map(str::to_owned).collect();
    for name in &names {
        let shape = file.shape(name).unwrap_or(&[]);
        let len = shape.iter().fold(1, |len: usize, &n| len.saturating_mul(n));
        if len <= MOST {
            // The result does not matter: a tensor may hold integers.
            let _ = file.read(name, &mut vec![0.0; len]);
            let _ = file.integer(name);
        }
    }
    names.len()
}
