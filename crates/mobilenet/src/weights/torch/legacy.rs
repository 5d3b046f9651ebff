//! PyTorch's format before 1.6: several pickles, then the values of each storage.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::fault::{Fault, says};
use super::pickle::{self, Pickle};
use super::table::{self, StorageId};
use super::value::Value;
use super::{LONGEST_PICKLE, bytes_at};
use crate::weights::tensor_file::{Stored, escaped};

/// The number at the start of a file in this format: 0x1950a86a20f9469cfc6c, in little-endian
/// order.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The pickle of that number in protocol 1, which writes numbers as decimal digits.
const MAGIC_DIGITS: &[u8] = b"L119547037146038801333356L\n.";

/// The version of the format. There was only one.
const PROTOCOL: i64 = 1001;

/// Number of bytes that are read first, to parse the pickles. If that is not enough, the file is
/// read again from the start, each time eight times as far.
const FIRST_READ: u64 = 1 << 20;

/// Whether a file that starts with `first` is in this format. It is if it starts with a pickle of
/// protocol 2 or above, or with the right number in protocol 1.
pub(super) fn is_meant(first: &[u8]) -> bool {
    matches!(first, [0x80, 0..=5, ..]) || first.starts_with(&MAGIC_DIGITS[..8])
}

/// Finds the tensors of a file of `size` bytes.
pub(super) fn tensors(
    source: &mut (impl Read + Seek),
    size: u64,
) -> Result<BTreeMap<String, Stored>, Fault> {
    let mut read = FIRST_READ.min(size);
    loop {
        let bytes = bytes_at(source, 0, read)?;
        match pickles(&bytes, source, size) {
            Err(Fault::Ended) if read < size => {
                if read == LONGEST_PICKLE {
                    return says(format!("its pickles have more than {LONGEST_PICKLE} bytes"));
                }
                read = (read * 8).min(size).min(LONGEST_PICKLE);
            }
            outcome => return outcome,
        }
    }
}

/// Reads several pickles in succession.
struct Row<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Number of operations in the pickles read so far.
    steps: usize,
}

impl<'a> Row<'a> {
    fn next(&mut self) -> Result<Pickle<'a>, Fault> {
        let start = self.at;
        let pickle = pickle::read(&self.bytes[start..], self.steps);
        let pickle = pickle.map_err(|fault| fault.after(start as u64))?;
        self.at += pickle.len;
        self.steps = pickle.steps;
        Ok(pickle)
    }
}

fn pickles(
    bytes: &[u8],
    source: &mut (impl Read + Seek),
    size: u64,
) -> Result<BTreeMap<String, Stored>, Fault> {
    let mut row = Row {
        bytes,
        at: 0,
        steps: 0,
    };
    if bytes.starts_with(MAGIC_DIGITS) {
        row.at = MAGIC_DIGITS.len();
    } else if row.next()?.object != Value::Long(&MAGIC) {
        return says(
            "a pickle that torch.save did not write: it does not start with its magic number",
        );
    }
    let version = row.next()?.object;
    if version != Value::Int(PROTOCOL) {
        return says(format!("its version is not {PROTOCOL}"));
    }
    // The description of the machine that wrote the file is ignored: values are little-endian on
    // all machines.
    row.next()?;
    let object = row.next()?;
    let keys = row.next()?;
    let starts = storages(&object, &keys, row.at as u64, source, size)?;
    table::tensors(&object, |storage| match starts.get(storage.key) {
        Some((start, found)) if (found.dtype, found.len) == (storage.dtype, storage.len) => {
            Ok(*start)
        }
        _ => says(format!(
            "it has no storage {} of that type",
            escaped(storage.key)
        )),
    })
}

/// The offset of each storage, by key. After the pickles come the storages in the order of `keys`.
/// Each storage starts with its length.
fn storages<'a>(
    object: &Pickle<'a>,
    keys: &Pickle<'a>,
    mut at: u64,
    source: &mut (impl Read + Seek),
    size: u64,
) -> Result<HashMap<&'a str, (u64, StorageId<'a>)>, Fault> {
    let mut named = HashMap::new();
    for id in object.objects.storages.iter().collect::<BTreeSet<_>>() {
        let storage = StorageId::of(object, *id)?;
        named.entry(storage.key).or_insert(storage);
    }
    let Value::List(list) = keys.object else {
        return says("the keys of its storages are not a list");
    };
    let mut reader = BufReader::new(source);
    reader.seek(SeekFrom::Start(at))?;
    let mut starts = HashMap::new();
    for key in &keys.objects.sequences[list] {
        let Value::Text(key) = *key else {
            return says("the key of a storage is not a text");
        };
        let Some(storage) = named.remove(key) else {
            let key = escaped(key);
            return says(format!("storage {key} is listed twice or is unused"));
        };
        let mut length = [0; 8];
        let ends = |at| Fault::At(at, "the file ends within the storages".into());
        if size.saturating_sub(at) < length.len() as u64 {
            return Err(ends(at));
        }
        reader.read_exact(&mut length)?;
        let (length, claimed) = (i64::from_le_bytes(length), storage.len);
        if u64::try_from(length) != Ok(claimed) {
            let reason = format!("a storage of {length} numbers that should have {claimed}");
            return Err(Fault::At(at, reason));
        }
        at += 8;
        let bytes = storage.bytes().filter(|bytes| *bytes <= size - at);
        let bytes = bytes.ok_or_else(|| ends(at))?;
        starts.insert(key, (at, storage));
        at += bytes;
        reader.seek_relative(i64::try_from(bytes).map_err(|_| ends(at))?)?;
    }
    Ok(starts)
}
