//! The header of a safetensors file.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{MOST_DIMENSIONS, Stored, escaped, shortened};
use crate::{Error, Result};

/// Size in bytes of the first field of a safetensors file: the length of its header.
const LENGTH: u64 = 8;

/// Maximum header length in bytes. The header of ten thousand tensors takes an eighth of this. In a
/// malicious file, each byte may take twenty bytes of memory.
const LONGEST_HEADER: u64 = 8 << 20;

/// Maximum length of a JSON error message that is passed on, because it may quote the file.
const LONGEST_MESSAGE: usize = 300;

/// The only header entry that is not a tensor.
const TEXTS: &str = "__metadata__";

/// The tensors and texts of a file.
pub(super) type Contents = (BTreeMap<String, Stored>, HashMap<String, String>);

/// Whether a file that starts with `first` is a safetensors file: a brace must follow the header
/// length.
pub(super) fn is_meant(first: &[u8]) -> bool {
    first.get(LENGTH as usize) == Some(&b'{')
}

/// Reads the header of a file of `size` bytes.
///
/// # Errors
/// If the header cannot be read, does not assign every data byte to exactly one tensor, or
/// contradicts the size of the file.
pub(super) fn open(path: &Path, source: &mut (impl Read + Seek), size: u64) -> Result<Contents> {
    let of_file = Error::file(path);
    let damaged =
        |says: String| Error::format(path, format!("not a complete safetensors file: {says}"));
    let mut length = [0; LENGTH as usize];
    source.seek(SeekFrom::Start(0)).map_err(&of_file)?;
    source.read_exact(&mut length).map_err(&of_file)?;
    let length = u64::from_le_bytes(length);
    if length > size.saturating_sub(LENGTH) {
        return Err(damaged(format!(
            "its header should have {length} bytes, but the whole file has {size}"
        )));
    }
    if length > LONGEST_HEADER {
        return Err(damaged(format!(
            "it has a header of {length} bytes, at most {LONGEST_HEADER} are read"
        )));
    }
    let mut header = vec![0; length as usize];
    source.read_exact(&mut header).map_err(&of_file)?;
    let header: Header = serde_json::from_slice(&header).map_err(|e| {
        let says = shortened(&e.to_string(), LONGEST_MESSAGE);
        damaged(format!("header: {says}"))
    })?;
    let start = LENGTH + length;
    let described = header.check().map_err(damaged)?;
    if start.checked_add(described) != Some(size) {
        return Err(damaged(format!(
            "its header describes {described} bytes from {start} on, but the file has {size}"
        )));
    }
    let tensors = header.tensors.into_iter().map(|(name, entry)| {
        let start = start + entry.data_offsets.0;
        (name, Stored::contiguous(entry.dtype, entry.shape.0, start))
    });
    Ok((tensors.collect(), header.texts))
}

/// The contents of a header.
#[derive(Default)]
struct Header {
    tensors: BTreeMap<String, Entry>,
    texts: HashMap<String, String>,
}

/// The description of a tensor in a header.
#[derive(Deserialize)]
struct Entry {
    dtype: Dtype,
    shape: Shape,
    /// Offset of the first byte, and of the byte after the last. Both are counted from the header's
    /// end.
    data_offsets: (u64, u64),
}

struct Shape(Vec<usize>);

impl Header {
    /// Returns the number of data bytes. Checks that the tensors follow each other without gaps.
    fn check(&self) -> Result<u64, String> {
        let mut entries: Vec<_> = self.tensors.iter().collect();
        entries.sort_by_key(|(_, entry)| entry.data_offsets);
        let mut end = 0;
        for (name, entry) in entries {
            let (name, (from, to)) = (escaped(name), entry.data_offsets);
            if from != end {
                return Err(format!(
                    "{name} begins at {from}, where {end} is expected: its tensors overlap or \
                     leave a hole"
                ));
            }
            let bits = entry
                .shape
                .0
                .iter()
                .try_fold(entry.dtype.bitsize() as u64, |bits, &n| {
                    bits.checked_mul(n as u64)
                });
            let bytes = bits.filter(|bits| bits % 8 == 0).map(|bits| bits / 8);
            if bytes.is_none() || to.checked_sub(from) != bytes {
                let Entry { dtype, shape, .. } = entry;
                return Err(format!(
                    "{name} is {dtype} of shape {:?}, which does not fit bytes {from} to {to}",
                    shape.0
                ));
            }
            end = to;
        }
        Ok(end)
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                let mut has_texts = false;
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == TEXTS {
                        let texts: Option<_> = map.next_value()?;
                        header.texts = texts.unwrap_or_default();
                        std::mem::replace(&mut has_texts, true)
                    } else {
                        let entry = map.next_value()?;
                        header.tensors.insert(name.clone(), entry).is_some()
                    };
                    if twice {
                        return Err(A::Error::custom(format!("{} occurs twice", escaped(&name))));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a shape of at most {MOST_DIMENSIONS} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(number) = numbers.next_element()? {
                    if shape.len() == MOST_DIMENSIONS {
                        return Err(A::Error::invalid_length(shape.len() + 1, &self));
                    }
                    shape.push(number);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(Numbers)
    }
}
