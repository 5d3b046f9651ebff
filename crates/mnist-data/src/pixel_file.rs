//! The file of a disk cache: images of one size, each with its sample's id and the stamp of its source file.
//!
//! The file begins with the images' bytes, one image after the other. Then follow the index (JSON) and 20 bytes:
//! [`MAGIC`], the index's length as u64 and its CRC-32 as u32, both little-endian. With the index at the end, the file
//! is written from front to back, and a truncated file is noticed.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use files::{Positioned, Stamp, Unfinished};
use flate2::Crc;
use framing::{Framing, ImageSize, Orientation};
use serde::{Deserialize, Serialize};

use crate::decode::Image;
use crate::decode_options::Decoding;
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"pixels\r\n";
/// The end of the file: magic, length and checksum of the index.
const TAIL: u64 = 8 + 8 + 4;
/// The version of this crate. Another version may decode or resize differently, so its pixels and anything computed
/// from them are not reused.
pub const PIXELS_MADE_BY: &str = concat!(
    "mnist-data ",
    env!("CARGO_PKG_VERSION"),
    ", format 2, decoded as by PIL 13, bilinear in its order"
);
/// The longest index, enough for about ten million images. A larger length is a sign of damage.
const MAX_INDEX: u64 = 1 << 31;
/// The size of the write buffer in bytes.
const BUFFER: usize = 1 << 18;

#[derive(Serialize, Deserialize)]
struct Index {
    made_by: String,
    #[serde(flatten)]
    made: Made,
    entries: Vec<Entry>,
}

/// How the images of a file were made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) decoding: Decoding,
    pub(crate) image_size: ImageSize,
    #[serde(default)]
    pub(crate) framing: Framing,
    #[serde(default)]
    pub(crate) orientation: Orientation,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, framing, way) = (self.image_size, self.framing, self.decoding.name());
        write!(f, "{size} pixels, {framing}, decoding {way}, ")?;
        write!(f, "orientation {}", self.orientation)
    }
}

/// The position of an image in the file, and the stamp of its source file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: String,
    stamp: Stamp,
    /// The offset of the image's first byte in the file.
    pub(crate) offset: u64,
    /// Bytes per pixel: 1 or 3.
    channels: u8,
    /// The CRC-32 of the image's bytes.
    crc: u32,
}

impl Entry {
    pub(crate) fn bytes(&self, image_size: ImageSize) -> u64 {
        image_size.pixels().saturating_mul(self.channels.into())
    }
}

/// A finished file, open for reading from any thread.
pub(crate) struct PixelFile {
    file: Positioned,
    image_size: ImageSize,
    entries: HashMap<String, Entry>,
}

impl PixelFile {
    /// Opens the file at `path`; `None` if there is none. The error describes
    /// the problem.
    pub(crate) fn open(path: &Path, made: &Made) -> std::result::Result<Option<Self>, String> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| error.to_string())?,
        };
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        let file = Positioned::new(file);
        let (index, pixels_end) = read_index(&file, length)?;
        if (index.made_by.as_str(), &index.made) != (PIXELS_MADE_BY, made) {
            return Err(format!(
                "it holds images of {} by {:?}, not of {made} by {PIXELS_MADE_BY:?}",
                index.made, index.made_by
            ));
        }
        let image_size = made.image_size;
        if let Some(astray) = index.entries.iter().find(|entry| {
            let end = entry.offset.checked_add(entry.bytes(image_size));
            !matches!(entry.channels, 1 | 3) || end.is_none_or(|end| end > pixels_end)
        }) {
            return Err(format!("its index is wrong about {:?}", astray.id));
        }
        let by_id = |entry: Entry| (entry.id.clone(), entry);
        Ok(Some(Self {
            file,
            image_size,
            entries: index.entries.into_iter().map(by_id).collect(),
        }))
    }

    /// The image with this id; `None` if the file does not have it, or its stamp differs. The error describes damage.
    pub(crate) fn image(
        &self,
        id: &str,
        stamp: Stamp,
    ) -> std::result::Result<Option<Image>, String> {
        match self.entries.get(id) {
            Some(entry) if entry.stamp == stamp => self.read(entry).map(Some),
            _ => Ok(None),
        }
    }

    fn read(&self, entry: &Entry) -> std::result::Result<Image, String> {
        let mut pixels = vec![0; entry.bytes(self.image_size) as usize];
        self.file
            .read_exact_at(&mut pixels, entry.offset)
            .map_err(|error| error.to_string())?;
        if crc(&pixels) != entry.crc {
            return Err(format!("the bytes of {:?} are damaged", entry.id));
        }
        let ImageSize { height, width } = self.image_size;
        Image::from_raw(width, height, entry.channels, pixels).map_err(|error| error.to_string())
    }

    pub(crate) fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// All entries, in the order of their offsets.
    pub(crate) fn entries(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.entries.values().collect();
        entries.sort_by(|a, b| (a.offset, &a.id).cmp(&(b.offset, &b.id)));
        entries
    }
}

/// Reads the index. Returns it with its offset.
fn read_index(file: &Positioned, length: u64) -> std::result::Result<(Index, u64), String> {
    let cut = "it is truncated or not a file of pixels";
    let mut tail = [0; TAIL as usize];
    let tail_at = length.checked_sub(TAIL).ok_or(cut)?;
    file.read_exact_at(&mut tail, tail_at)
        .map_err(|error| error.to_string())?;
    let (magic, numbers) = tail.split_at(8);
    let (index_length, index_crc) = numbers.split_at(8);
    let index_length = u64::from_le_bytes(index_length.try_into().map_err(|_| cut)?);
    let index_crc = u32::from_le_bytes(index_crc.try_into().map_err(|_| cut)?);
    if magic != MAGIC || index_length > MAX_INDEX {
        return Err(cut.into());
    }
    let index_at = tail_at.checked_sub(index_length).ok_or(cut)?;
    let mut index = vec![0; index_length as usize];
    file.read_exact_at(&mut index, index_at)
        .map_err(|error| error.to_string())?;
    if crc(&index) != index_crc {
        return Err("its index is damaged".into());
    }
    let index = serde_json::from_slice(&index);
    let index = index.map_err(|error| format!("its index cannot be read: {error}"))?;
    Ok((index, index_at))
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// An unfinished file: it is invisible until [`finish`](Self::finish), and dropping it leaves
/// nothing behind.
pub(crate) struct PixelWriter {
    path: PathBuf,
    writer: BufWriter<Unfinished>,
    written: u64,
    index: Index,
}

impl PixelWriter {
    pub(crate) fn create(path: &Path, made: Made) -> Result<Self> {
        let dir = files::parent(path);
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        files::sweep(dir).map_err(Error::io("list", dir))?;
        let file = Unfinished::create(path).map_err(Error::io("write", path))?;
        Ok(Self {
            path: path.into(),
            writer: BufWriter::with_capacity(BUFFER, file),
            written: 0,
            index: Index {
                made_by: PIXELS_MADE_BY.into(),
                made,
                entries: Vec::new(),
            },
        })
    }

    /// The number of image bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn push(&mut self, id: &str, stamp: Stamp, image: &Image) -> Result<()> {
        let pixels = image.pixels();
        self.index.entries.push(Entry {
            id: id.into(),
            stamp,
            offset: self.written,
            channels: image.channels(),
            crc: crc(pixels),
        });
        self.written += pixels.len() as u64;
        self.writer
            .write_all(pixels)
            .map_err(Error::io("write", &self.path))
    }

    /// Copies an image from another file. A damaged image is left out.
    pub(crate) fn copy(&mut self, from: &PixelFile, entry: &Entry) -> Result<()> {
        match from.read(entry) {
            Ok(image) => self.push(&entry.id, entry.stamp, &image),
            Err(_) => Ok(()),
        }
    }

    /// Writes the index and renames the file to its final name, replacing the old one.
    pub(crate) fn finish(mut self) -> Result<()> {
        let failed = |error| Error::io("write", &self.path)(error);
        let index = serde_json::to_vec(&self.index).map_err(|error| failed(error.into()))?;
        let mut tail = MAGIC.to_vec();
        tail.extend((index.len() as u64).to_le_bytes());
        tail.extend(crc(&index).to_le_bytes());
        self.writer
            .write_all(&index)
            .and_then(|()| self.writer.write_all(&tail))
            .and_then(|()| self.writer.into_inner().map_err(|e| e.into_error()))
            .and_then(Unfinished::finish)
            .map_err(|error| Error::io("write", &self.path)(error))
    }
}
