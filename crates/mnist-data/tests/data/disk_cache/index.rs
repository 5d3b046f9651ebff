//! Reads and forges cache files.

use std::fs;
use std::ops::Range;
use std::path::Path;

use files::Checksum;
use serde_json::Value;

use super::SIZE;

/// A cache file's index.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Index {
    pub(super) header: Value,
    pub(super) records: Vec<[u8; 53]>,
}

/// The fields of a record, as ranges of bytes.
pub(super) const KEY: Range<usize> = 0..16;
pub(super) const STAMP: Range<usize> = 16..40;
pub(super) const OFFSET: Range<usize> = 40..48;
pub(super) const CRC: Range<usize> = 48..52;
pub(super) const CHANNELS: Range<usize> = 52..53;

impl Index {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(&self.header).unwrap();
        bytes.push(b'\n');
        bytes.extend(self.records.as_flattened());
        bytes
    }
}

/// A cache file's pixels and index.
pub(super) fn parts(path: &Path) -> (Vec<u8>, Index) {
    let bytes = fs::read(path).unwrap();
    let (bytes, tail) = bytes.split_at(bytes.len() - 20);
    let length = u64::from_le_bytes(tail[8..16].try_into().unwrap()) as usize;
    let (pixels, index) = bytes.split_at(bytes.len() - length);
    let line = index.iter().position(|byte| *byte == b'\n').unwrap();
    let (records, rest) = index[line + 1..].as_chunks();
    assert!(rest.is_empty());
    let index = Index {
        header: serde_json::from_slice(&index[..line]).unwrap(),
        records: records.to_vec(),
    };
    (pixels.to_vec(), index)
}

/// Whether a record is of the sample with this id.
pub(super) fn is_of(record: &[u8; 53], id: &str) -> bool {
    let mut hash = Checksum::default();
    hash.update(id.as_bytes());
    let key: String = record[KEY]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hash.finish().starts_with(&key)
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A cache file with valid checksums and the given index.
pub(super) fn forge(path: &Path, pixels: &[u8], index: &[u8]) {
    let mut bytes = pixels.to_vec();
    bytes.extend(index);
    bytes.extend(b"pixels\r\n");
    bytes.extend((index.len() as u64).to_le_bytes());
    bytes.extend(crc(index).to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// Inverts every image of a cache, so that images from the cache can be recognised.
pub(super) fn invert(path: &Path) {
    let (pixels, mut index) = parts(path);
    let pixels: Vec<u8> = pixels.iter().map(|byte| !byte).collect();
    for record in &mut index.records {
        let start = u64::from_le_bytes(record[OFFSET].try_into().unwrap()) as usize;
        let length = SIZE * SIZE * usize::from(record[CHANNELS][0]);
        let crc = crc(&pixels[start..start + length]);
        record[CRC].copy_from_slice(&crc.to_le_bytes());
    }
    forge(path, &pixels, &index.bytes());
}
