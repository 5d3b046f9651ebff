//! Reasons for refusing an image file.

use thiserror::Error;

use crate::decode::MAX_BYTES;

/// The reason for refusing the contents of an image file.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    /// Data is missing at the end of the file.
    #[error("it is cut off: data is missing at its end")]
    Truncated,
    /// The file breaks the rules of its format.
    #[error("{0}")]
    Damaged(String),
    /// Decoding the file would take too much memory.
    #[error("{width} × {height} pixels are beyond the limit: decoding them takes more than {} MiB", MAX_BYTES >> 20)]
    TooLarge {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
    },
}

impl Fault {
    pub(crate) fn damaged(problem: impl ToString) -> Self {
        Self::Damaged(problem.to_string())
    }
}

/// Refuses images whose pixels take more than [`MAX_BYTES`].
pub(crate) fn check_memory(width: u64, height: u64, bytes: Option<u64>) -> Result<(), Fault> {
    match bytes {
        Some(bytes) if bytes <= MAX_BYTES => Ok(()),
        _ => Err(Fault::TooLarge { width, height }),
    }
}
