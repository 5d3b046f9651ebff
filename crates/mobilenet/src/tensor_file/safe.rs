//! The header of a safetensors file.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use safetensors::tensor::Metadata;

use super::Stored;
use crate::{Error, Result};

/// Bytes of the length that a safetensors file begins with.
const LENGTH: u64 = 8;

/// Longest header that is read, in bytes: far above that of any file of a network's weights,
/// and little enough for a file that lies.
const LONGEST_HEADER: u64 = 16 << 20;

/// The tensors of a file and its texts.
pub(super) type Contents = (BTreeMap<String, Stored>, HashMap<String, String>);

/// Whether a file that begins with `first` is meant to be safetensors: behind the length of its
/// header, that begins with a brace.
pub(super) fn is_meant(first: &[u8]) -> bool {
    first.get(LENGTH as usize) == Some(&b'{')
}

/// Reads the header of a file of `size` bytes.
///
/// # Errors
/// If it cannot be read, or the file is longer or shorter than it says.
pub(super) fn open(path: &Path, file: &mut File, size: u64) -> Result<Contents> {
    let of_file = |source| Error::File {
        path: path.into(),
        source,
    };
    let mut length = [0; LENGTH as usize];
    file.seek(SeekFrom::Start(0)).map_err(of_file)?;
    file.read_exact(&mut length).map_err(of_file)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER.min(size - LENGTH) {
        let says = format!("it announces a header of {length} bytes and has {size} in all");
        return Err(damaged(path, &says));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(of_file)?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|e| damaged(path, &format!("header: {e}")))?;
    let (start, data) = (LENGTH + length, header.data_len() as u64);
    if start.checked_add(data) != Some(size) {
        let says = format!("its header describes {data} bytes from {start} on, of {size}");
        return Err(damaged(path, &says));
    }
    let tensors = header.tensors().into_iter().map(|(name, info)| {
        let start = start + info.data_offsets.0 as u64;
        (
            name,
            Stored::contiguous(info.dtype, info.shape.clone(), start),
        )
    });
    let texts = header.metadata().clone().unwrap_or_default();
    Ok((tensors.collect(), texts))
}

fn damaged(path: &Path, says: &str) -> Error {
    Error::Format {
        path: path.into(),
        reason: format!("not a whole safetensors file: {says}"),
    }
}
