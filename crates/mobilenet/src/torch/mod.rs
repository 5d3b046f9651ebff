//! Files that `torch.save` writes, of both its formats.
//!
//! Such a file is a pickle, a program for a small machine, beside raw numbers. The machine here
//! knows tensors and plain containers and runs nothing: whatever else a file asks for is an error.
//! Numbers stay in the file; only where they lie is read.

mod archive;
mod fault;
mod legacy;
mod operands;
mod pickle;
mod table;
mod value;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::Result;
use crate::tensor_file::Stored;
use fault::Fault;

/// Longest pickle that is read, in bytes; that of a checkpoint of a thousand tensors has 1/100.
const LONGEST_PICKLE: u64 = 64 << 20;

/// Which of the formats of PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Format {
    /// A zip file, since PyTorch 1.6.
    Archive,
    /// Pickles in a row with the numbers behind them.
    Legacy,
}

impl Format {
    /// What a file that begins with `first` is meant to be; none if nothing of PyTorch's.
    pub(crate) fn meant(first: &[u8]) -> Option<Self> {
        if archive::is_meant(first) {
            Some(Format::Archive)
        } else if legacy::is_meant(first) {
            Some(Format::Legacy)
        } else {
            None
        }
    }

    /// The tensors in a file of `size` bytes, by the keys that lead to them, joined by dots.
    ///
    /// # Errors
    /// If the file cannot be read, is not whole, contradicts itself, or asks for anything but
    /// tensors and plain containers.
    pub(crate) fn open(
        self,
        path: &Path,
        file: &mut File,
        size: u64,
    ) -> Result<BTreeMap<String, Stored>> {
        let tensors = match self {
            Format::Archive => archive::tensors(file, size),
            Format::Legacy => legacy::tensors(file, size),
        };
        tensors.map_err(|fault| fault.of(path))
    }
}

/// The bytes of a file from `start` on, as many as `len`, which the caller has bounded.
fn bytes_at(file: &mut File, start: u64, len: u64) -> Result<Vec<u8>, Fault> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
