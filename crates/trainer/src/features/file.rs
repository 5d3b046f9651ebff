//! A file of pooled features: one row per image, identified by the image's contents.
//!
//! The file contains, in this order: [`MAGIC`]; the length of the index as u64; the index (JSON); the rows as f32, in
//! the order of the index; the SHA-256 of everything before, in hexadecimal. Numbers are little-endian. The file is
//! written atomically.

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use files::{Checksum, Stamp};
use mnist_data::write_atomically;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"feature\n";
/// The number of hexadecimal digits of a SHA-256.
const CHECKSUM: usize = 64;

/// Identifies the contents of an image file at the time when its features were computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// The stamp of the file.
    pub(crate) stamp: Stamp,
    /// The SHA-256 of the contents in hexadecimal.
    pub(crate) checksum: String,
}

#[derive(Serialize, Deserialize)]
struct Index {
    /// A hash of everything that features depend on besides the image.
    key: String,
    /// The number of features per row.
    width: usize,
    entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    id: String,
    #[serde(flatten)]
    contents: Contents,
}

/// The rows of a feature file, in memory.
#[derive(Debug)]
pub(crate) struct FeatureFile {
    width: usize,
    rows: Vec<f32>,
    /// The image id and the contents of each row.
    entries: Vec<(String, Contents)>,
    by_id: HashMap<String, usize>,
    by_checksum: HashMap<String, usize>,
}

impl FeatureFile {
    /// Reads the features of `key` from a file; `None` if there is none. The error describes the
    /// damage.
    pub(crate) fn open(path: &Path, key: &str, width: usize) -> Result<Option<Self>, String> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| error.to_string())?,
        };
        let (index, rows) = parse(&bytes)?;
        if (index.key.as_str(), index.width) != (key, width) {
            return Err(format!(
                "it has {} features per image of another model or other settings ({}), not {width} of {key}",
                index.width, index.key
            ));
        }
        if index.entries.len().checked_mul(width * 4) != Some(rows.len()) {
            return Err(format!(
                "its index names {} rows of {width} numbers, and {} bytes of them follow",
                index.entries.len(),
                rows.len()
            ));
        }
        let rows = rows.as_chunks().0.iter();
        let entries = index.entries.into_iter();
        let mut file = Self::empty(width);
        file.rows = rows.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        for entry in entries {
            file.enter(entry.id, entry.contents);
        }
        Ok(Some(file))
    }

    /// An empty file for rows of `width` numbers.
    pub(crate) fn empty(width: usize) -> Self {
        Self {
            width,
            rows: Vec::new(),
            entries: Vec::new(),
            by_id: HashMap::new(),
            by_checksum: HashMap::new(),
        }
    }

    fn enter(&mut self, id: String, contents: Contents) {
        let place = self.entries.len();
        self.by_id.insert(id.clone(), place);
        self.by_checksum.insert(contents.checksum.clone(), place);
        self.entries.push((id, contents));
    }

    /// Appends a row.
    pub(crate) fn push(&mut self, id: &str, contents: &Contents, row: &[f32]) {
        self.rows.extend(row);
        self.enter(id.to_owned(), contents.clone());
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The contents that the image with this id had when its features were computed.
    pub(crate) fn contents(&self, id: &str) -> Option<&Contents> {
        self.by_id.get(id).map(|&place| &self.entries[place].1)
    }

    /// The features of an image with these contents.
    pub(crate) fn row(&self, checksum: &str) -> Option<&[f32]> {
        let place = *self.by_checksum.get(checksum)?;
        self.rows.get(place * self.width..(place + 1) * self.width)
    }

    /// The id, contents and features of every row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, &Contents, &[f32])> {
        let rows = self.rows.chunks_exact(self.width.max(1));
        let entries = self.entries.iter().zip(rows);
        entries.map(|((id, contents), row)| (id.as_str(), contents, row))
    }

    /// Writes the file, with features of `key`.
    ///
    /// # Errors
    /// If the file cannot be written; the old file is then unchanged.
    pub(crate) fn write(&self, path: &Path, key: &str) -> Result<()> {
        let entries = self.entries.iter().map(|(id, contents)| Entry {
            id: id.clone(),
            contents: contents.clone(),
        });
        let index = Index {
            key: key.to_owned(),
            width: self.width,
            entries: entries.collect(),
        };
        let index = serde_json::to_vec(&index).map_err(|e| Error::io(path)(e.into()))?;
        let mut checksum = Checksum::default();
        Ok(write_atomically(path, |file| {
            let mut write = |bytes: &[u8]| {
                checksum.update(bytes);
                file.write_all(bytes)
            };
            write(MAGIC)?;
            write(&(index.len() as u64).to_le_bytes())?;
            write(&index)?;
            for row in self.rows.chunks(self.width.max(1)) {
                let bytes: Vec<u8> = row.iter().flat_map(|number| number.to_le_bytes()).collect();
                write(&bytes)?;
            }
            file.write_all(std::mem::take(&mut checksum).finish().as_bytes())
        })?)
    }
}

/// Splits a file into its index and the bytes of the rows.
fn parse(bytes: &[u8]) -> Result<(Index, &[u8]), String> {
    let cut = || "it is truncated or not a file of features".to_owned();
    let end = bytes.len().checked_sub(CHECKSUM).ok_or_else(cut)?;
    let (contents, expected) = bytes.split_at(end);
    let rest = contents.strip_prefix(MAGIC).ok_or_else(cut)?;
    let mut checksum = Checksum::default();
    checksum.update(contents);
    if checksum.finish().as_bytes() != expected {
        return Err("it is damaged: its checksum is not that of its contents".to_owned());
    }
    let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut())?;
    let (index, rows) = rest.split_at_checked(length).ok_or_else(cut)?;
    let index = serde_json::from_slice(index);
    let index = index.map_err(|error| format!("its index cannot be read: {error}"))?;
    Ok((index, rows))
}
