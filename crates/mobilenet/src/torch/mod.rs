//! Files that `torch.save` writes, of both its formats.
//!
//! Such a file is a pickle, a program for a small machine, beside raw numbers. The machine here
//! runs nothing. Numbers stay in the file; only where they lie is read.
//!
//! **What a file may ask for.** A pickle names functions and types of Python. Those in the closed
//! list of [`names`] mean something: tensors and how they are rebuilt, types of storages, dicts,
//! lists and sets; or they are *inert*, which is what training keeps beside weights (arguments of
//! a command line, paths, dates, numpy's numbers, devices). Of an inert name nothing is made
//! either: a place is kept with what it was to be made from, so that tensors in it are found. Any
//! other name is an error that says it, called or not, since it stands for a module that would
//! have to be imported; so are persistent ids but of storages, and the operations of pickle that
//! no file of tensors has (instances of old classes, extensions, buffers out of band).
//!
//! **Which tensors there are.** All to which dicts, lists, tuples, sets and inert objects lead
//! from the outermost dict, named by the keys on the way. Only what Python itself hangs onto a
//! dict, a tensor or a parameter (their attributes) is passed over.
//!
//! **What a file can take.** Its claims are compared with its size before they are believed; bytes
//! of pickles and of a zip file's records, operations, depth and the table of tensors are bounded.
//! A zip file's checksums are not looked at: numbers are read where they lie, and most never.
//! `fuzz/measure` says what that comes to.

mod archive;
mod fault;
mod legacy;
mod names;
mod operands;
mod pickle;
mod table;
mod value;

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
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
    /// If the file cannot be read, is not whole, contradicts itself, asks for what is not in the
    /// list of [`names`], or has no tensor in it.
    pub(crate) fn open(
        self,
        path: &Path,
        source: &mut (impl Read + Seek),
        size: u64,
    ) -> Result<BTreeMap<String, Stored>> {
        let tensors = match self {
            Format::Archive => archive::tensors(source, size),
            Format::Legacy => legacy::tensors(source, size),
        };
        tensors.map_err(|fault| fault.of(path))
    }
}

/// The bytes of a file from `start` on, as many as `len`, which the caller has bounded.
fn bytes_at(source: &mut (impl Read + Seek), start: u64, len: u64) -> Result<Vec<u8>, Fault> {
    source.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    source.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
