//! Reads and applies the EXIF orientation tag of an image, as in `PIL.ImageOps.exif_transpose`.
//!
//! EXIF data are read from a JPEG's APP1 segments, a PNG's `eXIf` chunk and a WebP's `EXIF` chunk. Damaged EXIF data
//! are ignored, since the image itself may be intact. XMP is ignored too, although Pillow uses its orientation if EXIF
//! has none.

use super::bytes::Bytes;
use super::{png, webp};
use crate::augment::{flip_horizontally, flip_vertically};
use crate::decode::{Decoded, Image, Original};
use crate::fault::{Fault, Limit};

/// The prefix of EXIF data: always in a JPEG, sometimes in other formats.
const NAME: &[u8] = b"Exif\0\0";
/// The most bytes of EXIF data that are read, over all segments of a JPEG.
const MAX_BYTES: usize = 1 << 20;
/// The tag of the orientation.
const ORIENTATION: u64 = 0x0112;

/// An EXIF orientation: 1 is upright; 2 to 8 are mirrored, turned or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn(u8);

impl Turn {
    pub(super) fn of_jpeg(file: &[u8]) -> Self {
        let mut data = Vec::new();
        for segment in segments(file) {
            let rest = MAX_BYTES.saturating_sub(data.len());
            data.extend_from_slice(&segment[..segment.len().min(rest)]);
        }
        Self::of(&data)
    }

    pub(super) fn of_png(file: &[u8]) -> Self {
        let mut bytes = Bytes::new(file);
        bytes.seek(png::MAGIC.len());
        let mut found = [].as_slice();
        while let Ok((name, data)) = png_chunk(&mut bytes) {
            match &name {
                b"eXIf" => found = data,
                b"IEND" => break,
                _ => {}
            }
            // Skips the chunk's checksum.
            bytes.up_to(4);
        }
        Self::of(found)
    }

    pub(super) fn of_webp(file: &[u8]) -> Self {
        let mut bytes = Bytes::new(file);
        bytes.seek(12);
        let mut is_announced = false;
        while let Ok((name, data)) = webp::chunk(&mut bytes) {
            match &name {
                b"VP8X" => is_announced = data.first().is_some_and(|flags| flags & 8 != 0),
                b"EXIF" if is_announced => return Self::of(data),
                _ => {}
            }
        }
        Self(1)
    }

    /// The orientation in EXIF data; upright if the data has no orientation.
    fn of(data: &[u8]) -> Self {
        let mut data = data;
        for _ in 0..2 {
            data = data.strip_prefix(NAME).unwrap_or(data);
        }
        let turn = tag(data, ORIENTATION).filter(|turn| (2..=8).contains(turn));
        Self(turn.map_or(1, |turn| turn as u8))
    }

    /// Whether width and height are exchanged.
    pub(super) fn is_sideways(self) -> bool {
        matches!(self.0, 5..=8)
    }

    /// Turns the image upright. `file` is the size in bytes of the image file, which is in memory too.
    pub(super) fn apply(
        self,
        decoded: Decoded,
        file: usize,
        limit: Limit,
    ) -> Result<Decoded, Fault> {
        let mut image = decoded.image;
        if self.is_sideways() {
            let (width, height) = (u64::from(image.width()), u64::from(image.height()));
            let needed = 2 * image.pixels().len() as u64 + file as u64;
            limit.check(width, height, Some(needed))?;
            image = transposed(&image)?;
        }
        if self.is_mirrored() {
            flip_horizontally(&mut image);
        }
        if self.is_upside_down() {
            flip_vertically(&mut image);
        }
        let sides = [image.width(), image.height()].map(f64::from);
        Ok(Decoded {
            image,
            original: decoded.original.map(|of| self.original(of, sides)),
            ..decoded
        })
    }

    /// The original of a turned image with these sides.
    fn original(self, stored: Original, [width, height]: [f64; 2]) -> Original {
        let mut turned = stored;
        if self.is_sideways() {
            (turned.width, turned.height) = (stored.height, stored.width);
            let [left, top, wide, high] = stored.area;
            turned.area = [top, left, high, wide];
        }
        let [left, top, wide, high] = &mut turned.area;
        if self.is_mirrored() {
            *left = width - *wide - *left;
        }
        if self.is_upside_down() {
            *top = height - *high - *top;
        }
        turned
    }

    fn is_mirrored(self) -> bool {
        matches!(self.0, 2 | 3 | 6 | 7)
    }

    fn is_upside_down(self) -> bool {
        matches!(self.0, 3 | 4 | 7 | 8)
    }
}

/// The EXIF data in each APP1 segment before a JPEG's first scan.
fn segments(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 2;
    let next = move || loop {
        let marker = file.get(at..)?.iter().position(|&byte| byte == 0xFF)? + at + 1;
        match *file.get(marker)? {
            0xFF => at = marker,
            0x00 | 0x01 | 0xD0..=0xD8 => at = marker + 1,
            0xD9 | 0xDA => return None,
            kind => {
                let length = file.get(marker + 1..marker + 3)?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                let data = file.get(marker + 3..marker + 1 + length)?;
                at = marker + 1 + length;
                if let (0xE1, Some(exif)) = (kind, data.strip_prefix(NAME)) {
                    return Some(exif);
                }
            }
        }
    };
    std::iter::from_fn(next)
}

/// The name and the data of a PNG's next chunk.
fn png_chunk<'a>(bytes: &mut Bytes<'a>) -> Result<([u8; 4], &'a [u8]), Fault> {
    let length = bytes.u32_be()? as usize;
    let name = bytes.array()?;
    Ok((name, bytes.take(length)?))
}

/// The first value of a whole-number tag in the first directory of a TIFF file. EXIF data are a TIFF file.
fn tag(file: &[u8], wanted: u64) -> Option<u64> {
    let is_little = match file.get(..4)? {
        b"II\x2A\0" | b"II\0\x2A" => true,
        b"MM\0\x2A" | b"MM\x2A\0" => false,
        _ => return None,
    };
    let number = |at: usize, count: usize| {
        let bytes = file.get(at..at.checked_add(count)?)?.iter();
        let append = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Some(match is_little {
            true => bytes.rev().fold(0, append),
            false => bytes.fold(0, append),
        })
    };
    let directory = usize::try_from(number(4, 4)?).ok()?;
    let entries = number(directory, 2)? as usize;
    let mut values = (0..entries)
        .map_while(|index| directory.checked_add(2 + 12 * index))
        .take_while(|&entry| number(entry, 12).is_some())
        .filter(|&entry| number(entry, 2) == Some(wanted))
        .filter_map(|entry| {
            // Signed and unsigned bytes and words, and the other types that Pillow reads as whole numbers.
            let length = match number(entry + 2, 2)? {
                6 => 1,
                3 | 8 => 2,
                4 | 9 | 13 => 4,
                _ => return None,
            };
            // If there are several values, the first is read. Values of more than four bytes are stored at an offset.
            match number(entry + 4, 4)?.checked_mul(length as u64)? {
                0 => None,
                1..=4 => number(entry + 8, length),
                size => {
                    let at = usize::try_from(number(entry + 8, 4)?).ok()?;
                    file.get(at..at.checked_add(usize::try_from(size).ok()?)?)?;
                    number(at, length)
                }
            }
        });
    values.next()
}

/// Exchanges rows and columns, in tiles that fit the processor's cache.
fn transposed(image: &Image) -> Result<Image, Fault> {
    const TILE: usize = 32;
    let channels = usize::from(image.channels());
    let (width, height) = (image.width() as usize, image.height() as usize);
    let source = image.pixels();
    let mut pixels = vec![0; source.len()];
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            for y in top..height.min(top + TILE) {
                for x in left..width.min(left + TILE) {
                    let (from, to) = ((y * width + x) * channels, (x * height + y) * channels);
                    pixels[to..to + channels].copy_from_slice(&source[from..from + channels]);
                }
            }
        }
    }
    Image::from_raw(image.height(), image.width(), image.channels(), pixels).map_err(Fault::damaged)
}
