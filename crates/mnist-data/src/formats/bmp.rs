//! Windows bitmaps, decoded as in Pillow (`BmpImagePlugin.py`).

use super::bytes::Bytes;
use super::png::samples;
use super::{Palette, finished, side};
use crate::decode::Decoded;
use crate::fault::{Fault, Limit};

/// Compression methods.
const RAW: u32 = 0;
const RLE8: u32 = 1;
const RLE4: u32 = 2;
const BITFIELDS: u32 = 3;

/// The layout of a pixel's bits.
#[derive(Clone, Copy)]
enum Layout {
    /// Grays of 1 or 8 bits.
    Gray(usize),
    /// Palette indices of 1, 4 or 8 bits.
    Palette(usize),
    /// 16 bits per pixel, with this number of bits for green.
    Packed(u32),
    /// Whole bytes: their number per pixel, and the offsets of red, green and blue among them.
    Bytes(usize, [usize; 3]),
}

impl Layout {
    fn bits(self) -> usize {
        match self {
            Self::Gray(bits) | Self::Palette(bits) => bits,
            Self::Packed(_) => 16,
            Self::Bytes(count, _) => 8 * count,
        }
    }

    fn channels(self) -> usize {
        if matches!(self, Self::Gray(_)) { 1 } else { 3 }
    }
}

struct Bitmap {
    width: usize,
    height: usize,
    from_top: bool,
    layout: Layout,
    compression: u32,
    /// Bytes from one row to the next.
    stride: usize,
    palette: Palette,
    /// The offset of the pixels in the file.
    offset: usize,
}

/// Decodes into the buffer `pixels`, whose old contents are ignored.
pub(super) fn decode(
    bytes: &[u8],
    mut pixels: Vec<u8>,
    accept_truncated: bool,
    limit: Limit,
) -> Result<Decoded, Fault> {
    let bitmap = Bitmap::read(bytes)?;
    let (width, height, channels) = (bitmap.width, bitmap.height, bitmap.layout.channels());
    let is_rle = matches!(bitmap.compression, RLE8 | RLE4);
    let length = width * height * channels;
    let unpacked = if is_rle { width * height } else { 0 };
    limit.check(
        width as u64,
        height as u64,
        Some((bytes.len() + length + unpacked) as u64),
    )?;
    pixels.clear();
    pixels.resize(length, 0);
    let mut data = Bytes::new(bytes);
    data.seek(bitmap.offset);
    let is_whole = match is_rle {
        true => {
            let indices = run_lengths(data, width, height, bitmap.compression == RLE4);
            bitmap.rows(&indices, width, &mut pixels)
        }
        false => bitmap.rows(data.rest(), bitmap.stride, &mut pixels),
    };
    if !is_whole && !accept_truncated {
        return Err(Fault::Truncated);
    }
    finished(width, height, channels, pixels, !is_whole)
}

impl Bitmap {
    fn read(file: &[u8]) -> Result<Self, Fault> {
        let mut bytes = Bytes::new(file);
        bytes.seek(10);
        let offset = bytes.u32_le()? as usize;
        let header_size = bytes.u32_le()? as usize;
        if !matches!(header_size, 12 | 40 | 52 | 56 | 64 | 108 | 124) {
            return Err(Fault::Damaged(format!(
                "a header of {header_size} bytes is unknown"
            )));
        }
        let header = bytes.take(header_size - 4)?;
        let mut of = Bytes::new(header);
        let is_old = header_size == 12;
        let (width, mut height) = match is_old {
            true => (of.u16_le()?.into(), of.u16_le()?.into()),
            false => (of.u32_le()?, of.u32_le()?),
        };
        let from_top = !is_old && header[7] == 0xFF;
        if from_top {
            height = height.wrapping_neg();
        }
        let (_planes, bits) = (of.u16_le()?, of.u16_le()?);
        let (mut compression, mut colours, entry) = (RAW, 0, if is_old { 3 } else { 4 });
        if !is_old {
            compression = of.u32_le()?;
            of.seek(28);
            colours = of.u32_le()? as usize;
        }
        let masks = match compression {
            BITFIELDS if header.len() >= 48 => Some(&header[36..header.len().min(52)]),
            BITFIELDS => Some(bytes.take(12)?),
            _ => None,
        };
        if colours == 0 {
            colours = 1_usize.checked_shl(bits.into()).unwrap_or(0);
        }
        let (width, height) = (side(width)?, side(height)?);
        let mut at = offset;
        if offset == 14 + header_size && bits <= 8 {
            at = offset.saturating_add(entry * colours);
        }
        let mut palette = [[0; 3]; 256];
        let layout = match (bits, masks) {
            (1 | 4 | 8, None) => {
                if !(1..=65_536).contains(&colours) {
                    return Err(Fault::Damaged(format!(
                        "a palette of {colours} colours is too large"
                    )));
                }
                let given = bytes.up_to(entry * colours);
                for (colour, given) in palette.iter_mut().zip(given.chunks_exact(entry)) {
                    *colour = [given[2], given[1], given[0]];
                }
                let is_gray = is_gray(given, entry, colours);
                if !is_gray && given.len() / entry > palette.len() {
                    return Err(Fault::damaged("its palette has more than 256 colours"));
                }
                match is_gray {
                    true if colours <= 2 => Layout::Gray(1),
                    true => Layout::Gray(8),
                    false => Layout::Palette(bits.into()),
                }
            }
            (bits, masks) => Layout::of(bits, masks)?,
        };
        if !matches!(compression, RAW | RLE8 | RLE4 | BITFIELDS) {
            return Err(Fault::Damaged(format!(
                "its compression {compression} is unknown"
            )));
        }
        let stride = (width * usize::from(bits)).div_ceil(32) * 4;
        if stride < (width * layout.bits()).div_ceil(8) {
            return Err(Fault::damaged("its grays have more bits than its pixels"));
        }
        let offset = if at == 0 { bytes.at() } else { at };
        Ok(Self {
            width,
            height,
            from_top,
            layout,
            compression,
            stride,
            palette,
            offset,
        })
    }

    /// Converts rows in the file's order to pixels. Returns whether all rows were present.
    fn rows(&self, data: &[u8], stride: usize, pixels: &mut [u8]) -> bool {
        let is_rle = matches!(self.compression, RLE8 | RLE4);
        // Run-length encoded rows are already expanded to a byte per pixel.
        let layout = match self.layout {
            Layout::Gray(_) if is_rle => Layout::Gray(8),
            Layout::Palette(_) if is_rle => Layout::Palette(8),
            layout => layout,
        };
        let used = (self.width * layout.bits()).div_ceil(8);
        let row_bytes = self.width * layout.channels();
        for y in 0..self.height {
            let row = data.get(y * stride..).and_then(|rest| rest.get(..used));
            let Some(row) = row else {
                return false;
            };
            let y = if self.from_top {
                y
            } else {
                self.height - 1 - y
            };
            self.row(layout, row, &mut pixels[y * row_bytes..(y + 1) * row_bytes]);
        }
        true
    }

    fn row(&self, layout: Layout, row: &[u8], out: &mut [u8]) {
        let pixels = out.as_chunks_mut::<3>().0.iter_mut();
        match layout {
            Layout::Gray(8) => out.copy_from_slice(row),
            Layout::Gray(bits) => out
                .iter_mut()
                .zip(samples(row, bits))
                .for_each(|(out, bit)| *out = bit * 255),
            Layout::Palette(bits) => {
                pixels
                    .zip(samples(row, bits))
                    .for_each(|(out, index)| *out = self.palette[usize::from(index)]);
            }
            Layout::Packed(green) => {
                for (out, pixel) in pixels.zip(row.as_chunks().0) {
                    let pixel = u32::from(u16::from_le_bytes(*pixel));
                    let scaled = |shift: u32, bits: u32| {
                        let most = (1 << bits) - 1;
                        ((pixel >> shift & most) * 255 / most) as u8
                    };
                    *out = [scaled(5 + green, 5), scaled(5, green), scaled(0, 5)];
                }
            }
            Layout::Bytes(count, places) => {
                for (out, pixel) in pixels.zip(row.chunks_exact(count)) {
                    *out = places.map(|place| pixel[place]);
                }
            }
        }
    }
}

/// Whether a palette is the gray ramp: colour `i` is gray level `i`.
fn is_gray(palette: &[u8], entry: usize, colours: usize) -> bool {
    let gray = |number: usize| {
        if colours == 2 {
            (number * 255) as u8
        } else {
            number as u8
        }
    };
    palette.len() == entry * colours
        && palette
            .chunks_exact(entry)
            .enumerate()
            .all(|(number, colour)| colour[..3] == [gray(number); 3])
}

impl Layout {
    /// The layout of pixels without a palette.
    fn of(bits: u16, masks: Option<&[u8]>) -> Result<Self, Fault> {
        const BGR: [usize; 3] = [2, 1, 0];
        let unknown =
            || Fault::Damaged(format!("pixels of {bits} bits with such masks are unknown"));
        let Some(masks) = masks else {
            return match bits {
                16 => Ok(Self::Packed(5)),
                24 => Ok(Self::Bytes(3, BGR)),
                32 => Ok(Self::Bytes(4, BGR)),
                _ => Err(Fault::Damaged(format!("pixels of {bits} bits are unknown"))),
            };
        };
        let mut of = Bytes::new(masks);
        let rgb = [of.u32_le()?, of.u32_le()?, of.u32_le()?];
        let alpha = of.u32_le().unwrap_or(0);
        Ok(match (bits, rgb, alpha) {
            (32, [0xFF_0000, 0xFF00, 0xFF], 0 | 0xFF00_0000) | (32, [0, 0, 0], 0) => {
                Self::Bytes(4, BGR)
            }
            (32, [0xFF00_0000, 0xFF_0000, 0xFF00], 0 | 0xFF) => Self::Bytes(4, [3, 2, 1]),
            (32, [0xFF00_0000, 0xFF00, 0xFF], 0 | 0xFF_0000) => Self::Bytes(4, [3, 1, 0]),
            (32, [0xFF, 0xFF00, 0xFF_0000], 0xFF00_0000) => Self::Bytes(4, [0, 1, 2]),
            (24, [0xFF_0000, 0xFF00, 0xFF], _) => Self::Bytes(3, BGR),
            (16, [0xF800, 0x7E0, 0x1F], _) => Self::Packed(6),
            (16, [0x7C00, 0x3E0, 0x1F], _) => Self::Packed(5),
            _ => return Err(unknown()),
        })
    }
}

/// Expands run-length encoded pixels to a byte each, up to the end of the data.
fn run_lengths(mut data: Bytes, width: usize, height: usize, is_rle4: bool) -> Vec<u8> {
    let length = width * height;
    let mut out: Vec<u8> = Vec::with_capacity(length);
    let mut x = 0;
    while out.len() < length {
        let Ok([count, value]) = data.array() else {
            break;
        };
        let halves = [value >> 4, value & 15];
        let room = length - out.len();
        match (count, value) {
            (0, 0) => {
                out.resize(out.len().next_multiple_of(width), 0);
                x = 0;
            }
            (0, 1) => break,
            (0, 2) => {
                let Ok([right, up]) = data.array() else {
                    break;
                };
                let skipped = usize::from(right) + usize::from(up) * width;
                out.resize(out.len() + skipped.min(room), 0);
                x = out.len() % width;
            }
            (0, _) => {
                let count = room.min(value.into());
                let stored = if is_rle4 { count.div_ceil(2) } else { count };
                let taken = data.up_to(stored);
                match is_rle4 {
                    true => out.extend(samples(taken, 4).take(count)),
                    false => out.extend(taken),
                }
                if taken.len() < stored || out.len() == length {
                    break;
                }
                x += usize::from(value);
                data.seek(data.at().next_multiple_of(2));
            }
            _ => {
                let count = usize::from(count).min(width.saturating_sub(x));
                match is_rle4 {
                    true => out.extend((0..count).map(|index| halves[index % 2])),
                    false => out.resize(out.len() + count, value),
                }
                x += count;
            }
        }
    }
    out
}
