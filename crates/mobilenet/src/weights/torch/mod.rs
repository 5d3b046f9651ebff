//! Reads files written by `torch.save`, in both of its formats.
//!
//! Such a file consists of raw values and a pickle, which is a program for a small stack machine.
//! The machine here never runs a function. Only tensor offsets are parsed up front; values stay in
//! the file.
//!
//! **Accepted names.** A pickle refers to functions and types of Python by name. Only the names in
//! a fixed list ([`names`]) are accepted. Some of them have a meaning: tensors, the functions that
//! rebuild tensors, types of storages, dicts, lists and sets. Others are *inert*: types of objects
//! that training scripts save together with weights (command-line arguments, paths, dates, numpy's
//! numbers, devices). An inert object is never built, but its arguments are searched for tensors.
//! Any other name is an error even if it is not called, because Python would have to import its
//! module. Persistent ids are refused unless they refer to storages. Pickle operations that no file
//! of tensors needs (instances of old classes, extensions, out-of-band buffers) are refused, too.
//!
//! **Tensors.** The reader finds all tensors that can be reached from the outermost dict through
//! dicts, lists, tuples, sets and inert objects. A tensor's name consists of the keys along the
//! path. Only the attributes of dicts, tensors and parameters are ignored.
//!
//! **Limits.** Sizes in a file are checked against the length of the file before they are used.
//! These are limited: the bytes of pickles and of a zip file's records, the number of operations,
//! the depth, and the size of the table of tensors. A zip file's checksums are ignored, because
//! values are read in place and most are never read. `cargo xtask fuzz --measure` measures the
//! resulting time and memory.

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
use crate::weights::tensor_file::Stored;
use fault::Fault;

/// Maximum length of a pickle in bytes. The pickle of a checkpoint with a thousand tensors takes a
/// hundredth of this.
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
    /// The format of a file that starts with `first`. `None` if it is not one of PyTorch's.
    pub(crate) fn meant(first: &[u8]) -> Option<Self> {
        if archive::is_meant(first) {
            Some(Format::Archive)
        } else if legacy::is_meant(first) {
            Some(Format::Legacy)
        } else {
            None
        }
    }

    /// The tensors in a file of `size` bytes. A tensor's name is its keys, joined by dots.
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

/// Reads `len` bytes of a file, starting at `start`. The caller must limit `len`.
fn bytes_at(source: &mut (impl Read + Seek), start: u64, len: u64) -> Result<Vec<u8>, Fault> {
    source.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    source.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
