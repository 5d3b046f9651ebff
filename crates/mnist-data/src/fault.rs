//! Reasons for refusing an image file.

use thiserror::Error;

use crate::decode::MAX_SIDE;

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
    #[error("{width} × {height} pixels are beyond the limit: decoding them takes more than {}", size(*limit))]
    TooLarge {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

impl Fault {
    pub(crate) fn damaged(problem: impl ToString) -> Self {
        Self::Damaged(problem.to_string())
    }
}

/// The most memory in bytes for decoding one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit(pub(crate) u64);

impl Limit {
    /// Refuses an image of this size whose decoding takes more bytes; `None` is a number that overflowed.
    pub(crate) fn check(self, width: u64, height: u64, bytes: Option<u64>) -> Result<(), Fault> {
        let Self(limit) = self;
        match bytes {
            Some(bytes) if bytes <= limit => Ok(()),
            _ => Err(Fault::TooLarge {
                width,
                height,
                limit,
            }),
        }
    }
}

/// Checks the length of a side in pixels.
pub(crate) fn side(length: u32) -> Result<usize, Fault> {
    match length {
        0 => Err(Fault::damaged("its size is zero")),
        length if length > MAX_SIDE => Err(Fault::Damaged(format!(
            "a side of {length} pixels is beyond the limit of {MAX_SIDE}"
        ))),
        length => Ok(length as usize),
    }
}

/// A limit in words.
fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{bytes} bytes"),
        mib => format!("{mib} MiB"),
    }
}
