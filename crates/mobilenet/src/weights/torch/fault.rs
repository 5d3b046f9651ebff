//! Errors in PyTorch files.

use std::io;
use std::path::Path;

use crate::Error;

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// A system error.
    Io(io::Error),
    /// A pickle ends too early.
    Ended,
    /// Invalid bytes at this offset.
    At(u64, String),
    /// An error in the whole file or in a named part of it.
    Says(String),
}

impl Fault {
    /// Adjusts the error of a pickle that starts at offset `start` of the file.
    pub(super) fn after(self, start: u64) -> Self {
        match self {
            Fault::At(at, reason) => Fault::At(start + at, reason),
            other => other,
        }
    }

    pub(super) fn of(self, path: &Path) -> Error {
        let reason = match self {
            Fault::Io(source) => return Error::file(path)(source),
            Fault::Ended => "not a complete PyTorch file: it ends within a pickle".into(),
            Fault::At(at, reason) => {
                format!("a PyTorch file that cannot be read: byte {at}: {reason}")
            }
            Fault::Says(reason) => format!("a PyTorch file that cannot be read: {reason}"),
        };
        Error::format(path, reason)
    }
}

impl From<io::Error> for Fault {
    fn from(source: io::Error) -> Self {
        Fault::Io(source)
    }
}

pub(super) fn says<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Says(reason.into()))
}
