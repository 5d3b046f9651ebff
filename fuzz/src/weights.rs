//! Weights files.

// The readers of weights files are private in `mobilenet`, so they are compiled from their source.
#[allow(dead_code, reason = "the crate uses more of it than is tried here")]
#[path = "../../crates/mobilenet/src/weights/tensor_file/mod.rs"]
pub(crate) mod tensor_file;
#[path = "../../crates/mobilenet/src/weights/torch/mod.rs"]
pub(crate) mod torch;

use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use mobilenet::weights::{Overrides, Source};

use self::tensor_file::TensorFile;

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
    pub(crate) fn file(path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Error::File {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn format(path: &Path, reason: impl Into<String>) -> Self {
        Error::Format {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

/// Opens a file with these bytes and reads every tensor of at most 65,536 values. Returns whether
/// the file was accepted. A tensor that is not numeric does not matter here.
pub(crate) fn weights(bytes: &[u8]) -> bool {
    let source = Cursor::new(bytes);
    let file = TensorFile::read_from(Path::new("weights"), source, bytes.len() as u64);
    file.map(read_all).is_ok()
}

/// As [`weights`], but reads the file at `path`. Returns the number of tensors.
///
/// # Errors
/// If the file is refused.
pub fn read_path(path: &Path) -> Result<usize> {
    TensorFile::open(path).map(read_all)
}

/// Recognises the network of the weights file at `path` by its tensors' names and shapes. Returns whether it is known.
pub fn recognise_path(path: &Path) -> bool {
    Source::open(path, Overrides::default()).is_ok()
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
