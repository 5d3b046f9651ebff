//! TIFF, decoded by the `tiff` crate, with colours and orientation as in Pillow (`TiffImagePlugin.py`).

mod jpegs;
mod suited;

use std::io::Cursor;

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use suited::Suited;

use super::{Palette, finished, side};
use crate::decode::Decoded;
use crate::fault::{Fault, Limit};

/// The memory in bytes that the `tiff` crate needs besides the samples.
const BUFFERS: usize = 4 << 20;

/// Whether a file begins like a TIFF.
pub(super) fn is_tiff(bytes: &[u8]) -> bool {
    [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]
        .iter()
        .any(|magic| bytes.starts_with(*magic))
}

/// The colour format of samples.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    Gray,
    GrayAlpha,
    Rgb,
    Rgba,
    /// Red, green and blue are multiplied by alpha.
    Premultiplied,
    Palette,
    Cmyk,
}

impl Colour {
    fn samples(self) -> usize {
        match self {
            Self::Gray | Self::Palette => 1,
            Self::GrayAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Premultiplied | Self::Cmyk => 4,
        }
    }

    fn channels(self) -> usize {
        if matches!(self, Self::Gray | Self::GrayAlpha) {
            1
        } else {
            3
        }
    }
}

/// Decodes into the buffer `pixels`, whose old contents are ignored.
pub(super) fn decode(bytes: &[u8], mut pixels: Vec<u8>, limit: Limit) -> Result<Decoded, Fault> {
    let suited = Suited::new(bytes);
    let bytes = suited.file.as_deref().unwrap_or(bytes);
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(refused)?;
    let (width, height) = decoder.dimensions().map_err(refused)?;
    let (width, height) = (side(width)?, side(height)?);
    let (mut colour, depth) = colour(&mut decoder)?;
    if suited.has_palette && colour == Colour::Gray && depth <= 8 {
        colour = Colour::Palette;
    }
    let orientation = decoder
        .find_tag_unsigned(Tag::Orientation)
        .map_err(refused)?;
    let orientation: u16 = orientation.unwrap_or(1);
    let palette = match colour {
        Colour::Palette => Some(palette(&mut decoder, depth)?),
        _ => None,
    };
    let stored = (width * colour.samples() * depth).div_ceil(8) * height;
    let length = width * height * colour.channels();
    // Orientation and conversion need a second buffer.
    let copy = suited.file.as_ref().map_or(0, Vec::len);
    let jpegs = jpegs::check(&mut decoder, bytes)?;
    let needed = bytes.len() + copy + stored + length + jpegs + BUFFERS;
    limit.check(width as u64, height as u64, Some(needed as u64))?;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = stored;
    limits.intermediate_buffer_size = (limit.0 as usize).saturating_sub(needed);
    let mut decoder = decoder.with_limits(limits);
    let mut image = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut image).map_err(refused)?;
    let buffer = image.as_buffer(0);
    let samples = buffer.as_bytes();
    if samples.len() < stored || samples.len() < layout.complete_len {
        return Err(Fault::damaged("its planes are incomplete"));
    }
    pixels.clear();
    pixels.resize(length, 0);
    let plane = layout.plane_stride.map(|stride| stride.get());
    let rows = Rows {
        width,
        height,
        colour,
        depth,
        palette,
        plane: plane.filter(|_| layout.planes > 1),
        samples,
    };
    rows.convert(orientation, &mut pixels)?;
    let (width, height) = if orientation > 4 && orientation <= 8 {
        (height, width)
    } else {
        (width, height)
    };
    finished(width, height, colour.channels(), pixels, false)
}

fn refused(error: tiff::TiffError) -> Fault {
    match error {
        tiff::TiffError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Fault::Truncated
        }
        other => Fault::damaged(other),
    }
}

fn colour(decoder: &mut Decoder<Cursor<&[u8]>>) -> Result<(Colour, usize), Fault> {
    let kind = decoder.colortype().map_err(refused)?;
    let formats = decoder
        .find_tag_unsigned_vec::<u16>(Tag::SampleFormat)
        .map_err(refused)?;
    let is_unsigned = formats
        .unwrap_or_default()
        .iter()
        .all(|&format| format == 1);
    let extra = decoder
        .find_tag_unsigned_vec::<u16>(Tag::ExtraSamples)
        .map_err(refused)?;
    let is_premultiplied = extra.unwrap_or_default().first() == Some(&1);
    Ok(match kind {
        _ if !is_unsigned => return Err(Fault::damaged("its samples are no unsigned integers")),
        ColorType::Gray(depth @ (1 | 2 | 4 | 8 | 16)) => (Colour::Gray, depth.into()),
        ColorType::GrayA(8)
        | ColorType::Multiband {
            bit_depth: 8,
            num_samples: 2,
        } => (Colour::GrayAlpha, 8),
        ColorType::RGB(depth @ (8 | 16)) => (Colour::Rgb, depth.into()),
        ColorType::RGBA(depth @ (8 | 16)) if is_premultiplied => {
            (Colour::Premultiplied, depth.into())
        }
        ColorType::RGBA(depth @ (8 | 16)) => (Colour::Rgba, depth.into()),
        ColorType::CMYK(depth @ (8 | 16)) => (Colour::Cmyk, depth.into()),
        other => {
            return Err(Fault::Damaged(format!(
                "colours of the kind {other:?} are not supported"
            )));
        }
    })
}

/// The palette of an image with this many bits per pixel. Of each 16-bit value only the high byte is used.
fn palette(decoder: &mut Decoder<Cursor<&[u8]>>, depth: usize) -> Result<Palette, Fault> {
    let map = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(refused)?;
    let count = 1 << depth;
    if map.len() < 3 * count {
        return Err(Fault::damaged("its palette is too short"));
    }
    let mut palette = [[0; 3]; 256];
    for (index, colour) in palette.iter_mut().enumerate().take(count) {
        *colour = [0, 1, 2].map(|channel| (map[channel * count + index] >> 8) as u8);
    }
    Ok(palette)
}

/// Decoded samples and their format.
struct Rows<'a> {
    width: usize,
    height: usize,
    colour: Colour,
    depth: usize,
    palette: Option<Palette>,
    /// Bytes from one colour's plane to the next, if colours have separate planes.
    plane: Option<usize>,
    samples: &'a [u8],
}

impl Rows<'_> {
    /// Writes the pixels in upright order, as ImageOps.exif_transpose does.
    fn convert(&self, orientation: u16, pixels: &mut [u8]) -> Result<(), Fault> {
        let channels = self.colour.channels();
        let (width, height) = (self.width, self.height);
        for y in 0..height {
            for x in 0..width {
                let (right, down) = (width - 1 - x, height - 1 - y);
                let place = match orientation {
                    2 => y * width + right,
                    3 => down * width + right,
                    4 => down * width + x,
                    5 => x * height + y,
                    6 => x * height + down,
                    7 => right * height + down,
                    8 => right * height + y,
                    _ => y * width + x,
                };
                let colour = self.pixel(x, y);
                pixels[place * channels..(place + 1) * channels]
                    .copy_from_slice(&colour[..channels]);
            }
        }
        Ok(())
    }

    /// A sample of at most 8 bits.
    fn sample(&self, x: usize, y: usize, channel: usize) -> u8 {
        let of_pixel = if self.plane.is_some() {
            1
        } else {
            self.colour.samples()
        };
        let (start, channel) = match self.plane {
            Some(stride) => (stride * channel, 0),
            None => (0, channel),
        };
        let row = start + y * (self.width * of_pixel * self.depth).div_ceil(8);
        let index = x * of_pixel + channel;
        match self.depth {
            8 => self.samples[row + index],
            16 => {
                let at = row + 2 * index;
                let value = u16::from_ne_bytes([self.samples[at], self.samples[at + 1]]);
                match self.colour {
                    // 16-bit gray is scaled to 8 bits here; Pillow clips it.
                    Colour::Gray => ((u32::from(value) * 255 + 32_767) / 65_535) as u8,
                    _ => (value >> 8) as u8,
                }
            }
            depth => {
                let bit = index * depth;
                let byte = self.samples[row + bit / 8];
                byte >> (8 - depth - bit % 8) & ((1 << depth) - 1)
            }
        }
    }

    fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let first = self.sample(x, y, 0);
        let of = |channel: usize| self.sample(x, y, channel);
        match self.colour {
            Colour::Gray if self.depth < 8 => {
                [first * (255 / ((1_u16 << self.depth) - 1) as u8); 3]
            }
            Colour::Gray | Colour::GrayAlpha => [first; 3],
            Colour::Rgb | Colour::Rgba => [first, of(1), of(2)],
            Colour::Premultiplied => {
                let alpha = u32::from(of(3));
                let divided = |value: u8| match alpha {
                    0 | 255 => value,
                    _ => (255 * u32::from(value) / alpha).min(255) as u8,
                };
                [first, of(1), of(2)].map(divided)
            }
            Colour::Palette => self
                .palette
                .as_ref()
                .map_or([first; 3], |palette| palette[usize::from(first)]),
            Colour::Cmyk => {
                let white = 255 - i32::from(of(3));
                [first, of(1), of(2)].map(|ink| {
                    let product = i32::from(ink) * white + 128;
                    (white - (((product >> 8) + product) >> 8)).clamp(0, 255) as u8
                })
            }
        }
    }
}
