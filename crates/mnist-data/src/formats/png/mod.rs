//! PNG, decoded as in Pillow (`PngImagePlugin.py`, `ZipDecode.c`).
//!
//! Only checksums of chunks before the image data are verified. The end marker may be missing. If the compressed stream
//! ends early, the missing rows are black.

mod chunks;
mod inflate;
mod rows;

pub(super) use rows::samples;

use chunks::Chunks;
use inflate::Inflater;
use rows::{Filter, Placer};

use super::bytes::Bytes;
use super::{finished, side};
use crate::decode::Decoded;
use crate::fault::{Fault, Limit};

/// The first bytes of a PNG file.
pub(super) const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The passes of an interlaced image: first column and row, and the steps to the next column and row.
const PASSES: [[usize; 4]; 7] = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
];

/// The colour format of a pixel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    Gray,
    Rgb,
    Palette,
    GrayAlpha,
    Rgba,
}

impl Colour {
    fn of(kind: u8, depth: u8) -> Option<Self> {
        Some(match (kind, depth) {
            (0, 1 | 2 | 4 | 8 | 16) => Self::Gray,
            (2, 8 | 16) => Self::Rgb,
            (3, 1 | 2 | 4 | 8) => Self::Palette,
            (4, 8 | 16) => Self::GrayAlpha,
            (6, 8 | 16) => Self::Rgba,
            _ => return None,
        })
    }

    fn samples(self) -> usize {
        match self {
            Self::Gray | Self::Palette => 1,
            Self::GrayAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }

    /// The number of bytes of a decoded pixel.
    fn channels(self) -> usize {
        match self {
            Self::Gray | Self::GrayAlpha => 1,
            Self::Rgb | Self::Palette | Self::Rgba => 3,
        }
    }
}

/// The header of a PNG file.
#[derive(Clone, Copy)]
struct Header {
    width: usize,
    height: usize,
    /// The number of bits of a sample.
    depth: usize,
    colour: Colour,
    interlaced: bool,
}

impl Header {
    fn read(data: &[u8]) -> Result<Self, Fault> {
        let mut bytes = Bytes::new(data);
        let (width, height) = (bytes.u32_be()?, bytes.u32_be()?);
        let [depth, kind, _, filter, interlaced] = bytes.array()?;
        let colour = Colour::of(kind, depth).filter(|_| filter == 0);
        let problem =
            || format!("colour type {kind} of {depth} bits with filter {filter} is unknown");
        Ok(Self {
            width: side(width)?,
            height: side(height)?,
            depth: depth.into(),
            colour: colour.ok_or_else(|| Fault::Damaged(problem()))?,
            interlaced: interlaced != 0,
        })
    }

    fn bits(&self) -> usize {
        self.colour.samples() * self.depth
    }

    /// The number of bytes of a row of this many pixels, before decoding.
    fn row_bytes(&self, width: usize) -> usize {
        (width * self.bits()).div_ceil(8)
    }

    /// The passes that have pixels: first column and row, and the steps to the next column and row.
    fn passes(&self) -> impl Iterator<Item = [usize; 4]> + use<> {
        let (width, height) = (self.width, self.height);
        let passes: &[[usize; 4]] = if self.interlaced {
            &PASSES
        } else {
            &[[0, 0, 1, 1]]
        };
        passes
            .iter()
            .copied()
            .filter(move |&[x, y, ..]| x < width && y < height)
    }

    /// The number of decompressed bytes of all rows, filter bytes included.
    fn total(&self) -> usize {
        let pass = |[x, y, across, down]: [usize; 4]| {
            let columns = (self.width - x).div_ceil(across);
            (self.height - y).div_ceil(down) * (1 + self.row_bytes(columns))
        };
        self.passes().map(pass).sum()
    }
}

/// Decodes into the buffer `pixels`, whose old contents are ignored.
pub(super) fn decode(
    bytes: &[u8],
    mut pixels: Vec<u8>,
    accept_truncated: bool,
    limit: Limit,
) -> Result<Decoded, Fault> {
    let chunks = Chunks::read(bytes)?;
    let header = chunks.header;
    let (width, height) = (header.width, header.height);
    let length = width * height * header.colour.channels();
    let rows = Inflater::memory(&header) + 2 * header.row_bytes(width);
    let needed = (bytes.len() + length + rows) as u64;
    limit.check(width as u64, height as u64, Some(needed))?;
    pixels.clear();
    pixels.resize(length, 0);
    let is_complete = decode_rows(&chunks, &mut pixels)?;
    if !is_complete && !accept_truncated {
        return Err(Fault::Truncated);
    }
    if is_complete {
        chunks.check_rest()?;
    }
    finished(
        width,
        height,
        header.colour.channels(),
        pixels,
        !is_complete,
    )
}

/// Decodes all rows. Returns whether all data was present; rows after the stream's end count as present.
fn decode_rows(chunks: &Chunks, pixels: &mut [u8]) -> Result<bool, Fault> {
    let header = chunks.header;
    let mut inflater = Inflater::new(&header, &chunks.data);
    let mut filter = Filter::new(&header);
    let mut placer = Placer::new(&header, chunks.palette, pixels);
    let mut is_first = true;
    for [first, top, across, down] in header.passes() {
        let columns = (header.width - first).div_ceil(across);
        filter.start(header.row_bytes(columns));
        for y in (top..header.height).step_by(down) {
            let Some(row) = inflater.row(1 + header.row_bytes(columns))? else {
                // A stream that ends after a row omits the remaining rows.
                return Ok(inflater.ends_here() && !is_first);
            };
            is_first = false;
            placer.place(filter.undo(row)?, columns, y, first, across);
        }
    }
    Ok(true)
}
