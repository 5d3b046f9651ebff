//! The file of a run's state: safetensors, with two entries of metadata.
//!
//! `state` is a JSON object. `checksum` is the SHA-256 of the whole file in which the checksum's own digits are zeros.
//! It is the first entry, so its place in the file is known.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use files::Checksum;
use safetensors::{Dtype, SafeTensors};
use serde_json::json;

/// The header's beginning, up to the checksum.
const START: &[u8] = br#"{"__metadata__":{"checksum":""#;
/// The bytes before the header: its length as u64.
const LENGTH: usize = 8;
/// The number of hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;
/// The bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// The name and shape of a tensor of f32.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

/// The header of a file with these tensors, one after the other, and this JSON. Its checksum is zeros; see [`seal`].
pub(crate) fn header(entries: &[Entry], state: &str) -> io::Result<Vec<u8>> {
    let mut text = START.to_vec();
    text.resize(START.len() + DIGITS, b'0');
    text.extend(br#"","state":"#);
    text.extend(serde_json::to_vec(state)?);
    text.push(b'}');
    let mut offset = 0;
    for Entry { name, shape } in entries {
        let end = offset + 4 * shape.iter().product::<usize>();
        text.push(b',');
        text.extend(serde_json::to_vec(name)?);
        text.push(b':');
        let tensor = json!({ "dtype": "F32", "shape": shape, "data_offsets": [offset, end] });
        text.extend(serde_json::to_vec(&tensor)?);
        offset = end;
    }
    text.push(b'}');
    // The numbers begin at a multiple of 8.
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.extend(text);
    Ok(header)
}

/// Writes the checksum of a file into its header.
pub(crate) fn seal(header: &mut [u8], checksum: Checksum) {
    let start = LENGTH + START.len();
    header[start..start + DIGITS].copy_from_slice(checksum.finish().as_bytes());
}

/// The contents of a file.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The JSON object.
    pub(crate) state: String,
    /// The values of each tensor.
    pub(crate) tensors: BTreeMap<String, Vec<f32>>,
}

/// Reads the bytes of a file and checks them. The error describes the damage.
pub(crate) fn parse(bytes: &[u8]) -> Result<Contents, String> {
    check(bytes)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let entries = metadata.metadata().as_ref();
    let state = entries.and_then(|entries| entries.get("state").cloned());
    let state = state.ok_or("its header has no state")?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors = BTreeMap::new();
    for (name, tensor) in file.iter() {
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("{name} is not a tensor of f32"));
        }
        let numbers = tensor.data().as_chunks().0.iter();
        let numbers = numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        tensors.insert(name.to_owned(), numbers);
    }
    Ok(Contents { state, tensors })
}

/// Checks the checksum of a file on disk, reading it piece by piece. The error describes the damage.
pub(crate) fn verify(path: &Path) -> Result<(), String> {
    File::open(path)
        .map_err(|error| error.to_string())
        .and_then(check)
}

fn check(mut file: impl Read) -> Result<(), String> {
    let cut = |_| "it is truncated or not a state".to_owned();
    let mut begin = [0; LENGTH + START.len() + DIGITS];
    file.read_exact(&mut begin).map_err(cut)?;
    let (start, digits) = begin.split_at_mut(LENGTH + START.len());
    if start[LENGTH..] != *START {
        return Err("it is not a state of a run".to_owned());
    }
    let expected = digits.to_vec();
    digits.fill(b'0');
    let mut checksum = Checksum::default();
    checksum.update(&begin);
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => checksum.update(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    match checksum.finish().as_bytes() == expected {
        true => Ok(()),
        false => Err("it is damaged: its checksum is not that of its contents".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(values: &[f32]) -> Vec<u8> {
        let entries = ["b", "a \"quoted\""].map(|name| Entry {
            name: name.to_owned(),
            shape: vec![2, values.len() / 4],
        });
        let mut header = header(&entries, r#"{"epoch":3}"#).unwrap();
        let numbers: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let mut checksum = Checksum::default();
        checksum.update(&header);
        checksum.update(&numbers);
        seal(&mut header, checksum);
        [header, numbers].concat()
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let values = [1.0, f32::MIN_POSITIVE, -0.0, f32::MAX, 5.0, 6.0, 7.0, 8.0];
        let bytes = file(&values);
        let contents = parse(&bytes).unwrap();
        assert_eq!(contents.state, r#"{"epoch":3}"#);
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&contents.tensors["b"]), bits(&values[..4]));
        assert_eq!(bits(&contents.tensors["a \"quoted\""]), bits(&values[4..]));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(verify(&path), Ok(()));
        assert!(verify(&dir.path().join("none")).is_err());
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let bytes = file(&[1.0; 8]);
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            assert!(parse(&changed).is_err(), "byte {place}");
            assert!(parse(&bytes[..place]).is_err(), "cut at {place}");
        }
        assert!(parse(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn readers_of_safetensors_read_it_too() {
        let bytes = file(&[2.5; 8]);
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("b").unwrap().shape(), [2, 2]);
    }
}
