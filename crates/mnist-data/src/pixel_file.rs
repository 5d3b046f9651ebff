//! The file of a disk cache: images of one size, each with the key of its sample's id and the stamp of its source file.
//!
//! The file begins with the images' bytes, one image after the other. Then follow the index and 20 bytes: [`MAGIC`], the
//! index's length as u64 and its CRC-32 as u32. The index is a line of JSON ([`Header`]) and [`RECORD`] bytes per image:
//! key, stamp, offset (u64), CRC-32 (u32) and channels (u8). Numbers are little-endian. With the index at the end, the
//! file is written from front to back, and a truncated file is noticed.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use files::{Checksum, Positioned, Stamp, Unfinished};
use flate2::{Crc, CrcWriter};
use framing::{Framing, ImageSize, Orientation};
use serde::{Deserialize, Serialize};

use crate::decode::Image;
use crate::decode_options::Decoding;
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"pixels\r\n";
/// The end of the file: magic, length and checksum of the index.
const TAIL: u64 = 8 + 8 + 4;
/// The length of an image's record in the index.
const RECORD: usize = 16 + 24 + 8 + 4 + 1;
/// The longest header of an index.
const MAX_HEADER: u64 = 1 << 16;
/// The version of this crate. Another version may decode or resize differently, so its pixels and anything computed
/// from them are not reused.
pub const PIXELS_MADE_BY: &str = concat!(
    "mnist-data ",
    env!("CARGO_PKG_VERSION"),
    ", format 3, decoded as by PIL 13 or in eighths, bilinear in its order"
);
/// The longest index, enough for about forty million images. A larger length is a sign of damage.
const MAX_INDEX: u64 = 1 << 31;
/// The size of read and write buffers in bytes.
const BUFFER: usize = 1 << 18;

#[derive(Serialize, Deserialize)]
struct Header {
    made_by: String,
    #[serde(flatten)]
    made: Made,
}

/// The name of an image in the index: the first half of the SHA-256 of its sample's id. Unlike ids, keys have one
/// length, and so take little memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key([u8; 16]);

impl Key {
    pub(crate) fn of(id: &str) -> Self {
        let mut checksum = Checksum::default();
        checksum.update(id.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&checksum.finish_bytes()[..16]);
        Self(key)
    }
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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    stamp: [u8; 24],
    /// The offset of the image's first byte in the file.
    offset: u64,
    /// The CRC-32 of the image's bytes.
    crc: u32,
    /// Bytes per pixel: 1 or 3.
    channels: u8,
}

impl Entry {
    pub(crate) fn bytes(&self, image_size: ImageSize) -> u64 {
        image_size.pixels().saturating_mul(self.channels.into())
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.key.0)?;
        to.write_all(&self.stamp)?;
        to.write_all(&self.offset.to_le_bytes())?;
        to.write_all(&self.crc.to_le_bytes())?;
        to.write_all(&[self.channels])
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        Ok(Self {
            key: Key(bytes(from)?),
            stamp: bytes(from)?,
            offset: u64::from_le_bytes(bytes(from)?),
            crc: u32::from_le_bytes(bytes(from)?),
            channels: u8::from_le_bytes(bytes(from)?),
        })
    }
}

/// The next `N` bytes.
fn bytes<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A finished file, open for reading from any thread.
pub(crate) struct PixelFile {
    file: Positioned,
    image_size: ImageSize,
    /// Sorted by key.
    entries: Vec<Entry>,
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
        let (mut entries, pixels_end) = read_index(&file, length, made)?;
        let image_size = made.image_size;
        if let Some(astray) = entries.iter().position(|entry| {
            let end = entry.offset.checked_add(entry.bytes(image_size));
            !matches!(entry.channels, 1 | 3) || end.is_none_or(|end| end > pixels_end)
        }) {
            return Err(format!("its index is wrong about image {}", astray + 1));
        }
        entries.sort_unstable_by_key(|entry| entry.key);
        Ok(Some(Self {
            file,
            image_size,
            entries,
        }))
    }

    /// The image with this key; `None` if the file does not have it, or its stamp differs. The error describes damage.
    pub(crate) fn image(
        &self,
        key: &Key,
        stamp: Stamp,
    ) -> std::result::Result<Option<Image>, String> {
        match self.entry(key) {
            Some(entry) if entry.stamp == stamp.to_bytes() => self.read(entry).map(Some),
            _ => Ok(None),
        }
    }

    fn read(&self, entry: &Entry) -> std::result::Result<Image, String> {
        let mut pixels = vec![0; entry.bytes(self.image_size) as usize];
        self.file
            .read_exact_at(&mut pixels, entry.offset)
            .map_err(|error| error.to_string())?;
        if crc(&pixels) != entry.crc {
            return Err("their checksum is wrong".into());
        }
        let ImageSize { height, width } = self.image_size;
        Image::from_raw(width, height, entry.channels, pixels).map_err(|error| error.to_string())
    }

    pub(crate) fn entry(&self, key: &Key) -> Option<&Entry> {
        let place = self.entries.binary_search_by_key(key, |entry| entry.key);
        self.entries.get(place.ok()?)
    }

    /// All entries, in the order of their offsets.
    pub(crate) fn entries(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_unstable_by_key(|entry| (entry.offset, entry.key));
        entries
    }
}

/// Reads the index of images made as `made`. Returns the entries, and the offset of the index.
fn read_index(
    file: &Positioned,
    length: u64,
    made: &Made,
) -> std::result::Result<(Vec<Entry>, u64), String> {
    let cut = "it is truncated or not a file of pixels";
    let tail_at = length.checked_sub(TAIL).ok_or(cut)?;
    let mut tail = Section::new(file, tail_at, length);
    let unreadable = |error: io::Error| error.to_string();
    let magic: [u8; 8] = bytes(&mut tail).map_err(unreadable)?;
    let index_length = u64::from_le_bytes(bytes(&mut tail).map_err(unreadable)?);
    let index_crc = u32::from_le_bytes(bytes(&mut tail).map_err(unreadable)?);
    if &magic != MAGIC || index_length > MAX_INDEX {
        return Err(cut.into());
    }
    let index_at = tail_at.checked_sub(index_length).ok_or(cut)?;
    let section = Section::new(file, index_at, tail_at);
    let mut index = BufReader::with_capacity(BUFFER, section);
    let mut header = Vec::new();
    let line = (&mut index).take(MAX_HEADER).read_until(b'\n', &mut header);
    let header_length = line.map_err(unreadable)? as u64;
    let header = serde_json::from_slice(&header);
    let header: Header = header.map_err(|error| format!("its index cannot be read: {error}"))?;
    if (header.made_by.as_str(), &header.made) != (PIXELS_MADE_BY, made) {
        return Err(format!(
            "it holds images of {} by {:?}, not of {made} by {PIXELS_MADE_BY:?}",
            header.made, header.made_by
        ));
    }
    let records = index_length - header_length;
    if !records.is_multiple_of(RECORD as u64) {
        return Err("its index has a broken record".into());
    }
    let count = records as usize / RECORD;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(Entry::read(&mut index).map_err(unreadable)?);
    }
    match index.into_inner().crc.sum() == index_crc {
        true => Ok((entries, index_at)),
        false => Err("its index is damaged".into()),
    }
}

/// A part of a file, read from front to back.
struct Section<'a> {
    file: &'a Positioned,
    at: u64,
    end: u64,
    /// The checksum of the bytes read so far.
    crc: Crc,
}

impl<'a> Section<'a> {
    fn new(file: &'a Positioned, at: u64, end: u64) -> Self {
        let crc = Crc::new();
        Self { file, at, end, crc }
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        self.file.read_exact_at(&mut buffer[..count], self.at)?;
        self.crc.update(&buffer[..count]);
        self.at += count as u64;
        Ok(count)
    }
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
    made: Made,
    entries: Vec<Entry>,
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
            made,
            entries: Vec::new(),
        })
    }

    /// The number of image bytes written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The keys of the images written so far.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.entries.iter().map(|entry| entry.key).collect()
    }

    /// Adds an image with the stamp of its source file.
    pub(crate) fn push(&mut self, key: Key, stamp: [u8; 24], image: &Image) -> Result<()> {
        let pixels = image.pixels();
        self.entries.push(Entry {
            key,
            stamp,
            offset: self.written,
            crc: crc(pixels),
            channels: image.channels(),
        });
        self.written += pixels.len() as u64;
        self.writer
            .write_all(pixels)
            .map_err(Error::io("write", &self.path))
    }

    /// Copies an image from another file. A damaged image is left out.
    pub(crate) fn copy(&mut self, from: &PixelFile, entry: &Entry) -> Result<()> {
        match from.read(entry) {
            Ok(image) => self.push(entry.key, entry.stamp, &image),
            Err(_) => Ok(()),
        }
    }

    /// Writes the index and renames the file to its final name, replacing the old one.
    pub(crate) fn finish(self) -> Result<()> {
        let path = self.path.clone();
        self.write_index().map_err(Error::io("write", &path))
    }

    fn write_index(self) -> io::Result<()> {
        let header = Header {
            made_by: PIXELS_MADE_BY.into(),
            made: self.made,
        };
        let mut index = CrcWriter::new(self.writer);
        serde_json::to_writer(&mut index, &header)?;
        index.write_all(b"\n")?;
        for entry in &self.entries {
            entry.write(&mut index)?;
        }
        let (length, crc) = (u64::from(index.crc().amount()), index.crc().sum());
        let mut writer = index.into_inner();
        writer.write_all(MAGIC)?;
        writer.write_all(&length.to_le_bytes())?;
        writer.write_all(&crc.to_le_bytes())?;
        writer.into_inner().map_err(|e| e.into_error())?.finish()
    }
}
