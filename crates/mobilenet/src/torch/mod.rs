//! Files written by `torch.save`, in both of its formats.
//!
//! Such a file consists of a pickle, which is a program for a small stack machine, and raw values.
//! The machine here runs no functions. Values stay in the file; only tensor offsets are parsed up
//! front.
//!
//! **Accepted names.** A pickle refers to functions and types of Python by name. Only the closed
//! list of [`names`] is accepted. Some names have a meaning: tensors and the functions that rebuild
//! them, types of storages, dicts, lists and sets. Others are *inert*: objects that training saves
//! beside weights (command-line arguments, paths, dates, numpy's numbers, devices). An inert object
//! is never built; its arguments are kept, so that tensors in it are found. Any other name is an
//! error, even without a call, since Python would have to import its module. Also refused are
//! persistent ids of anything except storages, and pickle operations that no file of tensors has
//! (instances of old classes, extensions, out-of-band buffers).
//!
//! **Tensors.** All tensors that can be reached from the outermost dict through dicts, lists,
//! tuples, sets and inert objects, named by the keys along the path. Only the attributes of dicts,
//! tensors and parameters are ignored.
//!
//! **Limits.** Sizes in a file are checked against its length before they are used. The bytes of
//! pickles and of a zip file's records, the operations, the depth and the table of tensors are
//! limited. A zip file's checksums are ignored: values are read in place, and most are never read.
//! `fuzz/measure` measures the resulting time and memory.

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

/// Longest accepted pickle in bytes; that of a checkpoint of a thousand tensors has a hundredth of
/// it.
const LONGEST_PICKLE: u64 = 64 << 20;

/// The formats of PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Format {
    /// A zip file, since PyTorch 1.6.
    Archive,
    /// Several pickles, followed by the values.
    Legacy,
}

impl Format {
    /// The format of a file that starts with `first`; `None` if it is not PyTorch's.
    pub(crate) fn meant(first: &[u8]) -> Option<Self> {
        if archive::is_meant(first) {
            Some(Format::Archive)
        } else if legacy::is_meant(first) {
            Some(Format::Legacy)
        } else {
            None
        }
    }

    /// The tensors in a file of `size` bytes, by their keys joined by dots.
    ///
    /// # Errors
    /// If the file cannot be read, is incomplete, contradicts itself, uses a name that is not in
    /// the list of [`names`], or has no tensor.
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

/// `len` bytes of a file from `start` on; the caller has limited `len`.
fn bytes_at(source: &mut (impl Read + Seek), start: u64, len: u64) -> Result<Vec<u8>, Fault> {
    source.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    source.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
