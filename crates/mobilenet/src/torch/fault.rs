//! What is wrong with a PyTorch file.

use std::io;
use std::path::Path;

use crate::Error;

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// The system refused.
    Io(io::Error),
    /// A pickle goes on where its bytes end.
    Ended,
    /// The bytes at a place cannot be what they should be.
    At(u64, String),
    /// The file as a whole, or something in it by name.
    Says(String),
}

impl Fault {
    /// The fault of a pickle that lies in the file after so many bytes.
    pub(super) fn after(self, start: u64) -> Self {
        match self {
            Fault::At(at, reason) => Fault::At(start + at, reason),
            other => other,
        }
    }

    pub(super) fn of(self, path: &Path) -> Error {
        let reason = match self {
            Fault::Io(source) => return Error::file(path)(source),
            Fault::Ended => "not a whole PyTorch file: it ends within a pickle".into(),
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
