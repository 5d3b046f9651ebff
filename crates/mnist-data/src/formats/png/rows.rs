//! Conversion of decompressed rows to pixels.

use super::{Colour, Header};
use crate::fault::Fault;
use crate::formats::{Palette, palette_of};

/// Undoes the filters of rows.
pub(super) struct Filter {
    /// Bytes of a pixel, at least 1.
    step: usize,
    row: Vec<u8>,
    above: Vec<u8>,
}

impl Filter {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            step: header.bits().div_ceil(8),
            row: Vec::new(),
            above: Vec::new(),
        }
    }

    /// Starts a pass with rows of this many bytes.
    pub(super) fn start(&mut self, length: usize) {
        for row in [&mut self.row, &mut self.above] {
            row.clear();
            row.resize(length, 0);
        }
    }

    /// Undoes the filter of a row; its first byte is the filter's number.
    pub(super) fn undo(&mut self, filtered: &[u8]) -> Result<&[u8], Fault> {
        std::mem::swap(&mut self.row, &mut self.above);
        let (row, above) = (self.row.as_mut_slice(), self.above.as_slice());
        let (kind, bytes) = (filtered[0], &filtered[1..]);
        row.copy_from_slice(bytes);
        match (kind, self.step) {
            (0, _) => {}
            (2, _) => {
                for (byte, &up) in row.iter_mut().zip(above) {
                    *byte = byte.wrapping_add(up);
                }
            }
            (1 | 3 | 4, 1) => undo_by_pixel::<1>(kind, row, above),
            (1 | 3 | 4, 2) => undo_by_pixel::<2>(kind, row, above),
            (1 | 3 | 4, 3) => undo_by_pixel::<3>(kind, row, above),
            (1 | 3 | 4, 4) => undo_by_pixel::<4>(kind, row, above),
            (1 | 3 | 4, 6) => undo_by_pixel::<6>(kind, row, above),
            (1 | 3 | 4, _) => undo_by_pixel::<8>(kind, row, above),
            _ => {
                return Err(Fault::Damaged(format!(
                    "a row has the unknown filter {kind}"
                )));
            }
        }
        Ok(&self.row)
    }
}

fn undo_by_pixel<const STEP: usize>(kind: u8, row: &mut [u8], above: &[u8]) {
    match kind {
        1 => undo_with::<STEP>(row, above, |left, _, _| left),
        3 => undo_with::<STEP>(row, above, |left, up, _| {
            ((u16::from(left) + u16::from(up)) / 2) as u8
        }),
        _ => undo_with::<STEP>(row, above, paeth),
    }
}

#[inline(always)]
fn undo_with<const STEP: usize>(row: &mut [u8], above: &[u8], predict: impl Fn(u8, u8, u8) -> u8) {
    let (mut left, mut corner) = ([0; STEP], [0; STEP]);
    let pixels = row.as_chunks_mut::<STEP>().0.iter_mut();
    for (pixel, up) in pixels.zip(above.as_chunks::<STEP>().0) {
        for i in 0..STEP {
            pixel[i] = pixel[i].wrapping_add(predict(left[i], up[i], corner[i]));
        }
        (left, corner) = (*pixel, *up);
    }
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(corner));
    let (to_a, to_b, to_c) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
    if to_a <= to_b && to_a <= to_c {
        left
    } else if to_b <= to_c {
        up
    } else {
        corner
    }
}

/// Writes the pixels of rows to their final positions.
pub(super) struct Placer<'a> {
    colour: Colour,
    depth: usize,
    width: usize,
    palette: Palette,
    pixels: &'a mut [u8],
}

impl<'a> Placer<'a> {
    pub(super) fn new(header: &Header, colours: &[u8], pixels: &'a mut [u8]) -> Self {
        Self {
            colour: header.colour,
            depth: header.depth,
            width: header.width,
            palette: palette_of(colours),
            pixels,
        }
    }

    /// Writes the pixels of a row into row `y`, from column `first` on, `step` columns apart.
    pub(super) fn place(&mut self, row: &[u8], count: usize, y: usize, first: usize, step: usize) {
        let channels = self.colour.channels();
        let start = (y * self.width + first) * channels;
        let end = (y + 1) * self.width * channels;
        let out = &mut self.pixels[start..end];
        match (self.colour, self.depth, step) {
            (Colour::Gray, 8, 1) | (Colour::Rgb, 8, 1) => out.copy_from_slice(row),
            (Colour::Gray, 8, _) => spread::<1, 1>(row, out, step, |pixel| *pixel),
            // Scaled; Pillow clips.
            (Colour::Gray, 16, _) => spread::<2, 1>(row, out, step, |&[high, low]| {
                let value = u32::from(u16::from_be_bytes([high, low]));
                [((value * 255 + 32_767) / 65_535) as u8]
            }),
            (Colour::GrayAlpha, 8, _) => spread::<2, 1>(row, out, step, |&[gray, _]| [gray]),
            (Colour::GrayAlpha, ..) => spread::<4, 1>(row, out, step, |&[gray, ..]| [gray]),
            (Colour::Rgb, 8, _) => spread::<3, 3>(row, out, step, |pixel| *pixel),
            (Colour::Rgb, ..) => spread::<6, 3>(row, out, step, |&[r, _, g, _, b, _]| [r, g, b]),
            (Colour::Rgba, 8, _) => spread::<4, 3>(row, out, step, |&[r, g, b, _]| [r, g, b]),
            (Colour::Rgba, ..) => spread::<8, 3>(row, out, step, |&[r, _, g, _, b, ..]| [r, g, b]),
            (Colour::Gray, depth, _) => {
                let white = 255 / ((1_u16 << depth) - 1) as u8;
                let grays = samples(row, depth).take(count);
                for (pixel, gray) in out.chunks_mut(step).zip(grays) {
                    pixel[0] = gray * white;
                }
            }
            (Colour::Palette, depth, _) => {
                let numbers = samples(row, depth).take(count);
                for (pixel, number) in out.chunks_mut(3 * step).zip(numbers) {
                    pixel[..3].copy_from_slice(&self.palette[usize::from(number)]);
                }
            }
        }
    }
}

#[inline(always)]
fn spread<const IN: usize, const OUT: usize>(
    row: &[u8],
    out: &mut [u8],
    step: usize,
    pixel: impl Fn(&[u8; IN]) -> [u8; OUT],
) {
    let row = row.as_chunks::<IN>().0;
    if step == 1 {
        for (out, sample) in out.as_chunks_mut::<OUT>().0.iter_mut().zip(row) {
            *out = pixel(sample);
        }
    } else {
        for (out, sample) in out.chunks_mut(OUT * step).zip(row) {
            out[..OUT].copy_from_slice(&pixel(sample));
        }
    }
}

/// Samples of 1, 2, 4 or 8 bits, the first in the highest ones.
pub(crate) fn samples(row: &[u8], depth: usize) -> impl Iterator<Item = u8> {
    let mask = (0xFF_u16 >> (8 - depth)) as u8;
    let shifts = (0..8 / depth).rev();
    row.iter().flat_map(move |&byte| {
        shifts
            .clone()
            .map(move |shift| byte >> (shift * depth) & mask)
    })
}
