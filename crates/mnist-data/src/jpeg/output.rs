//! Converts samples to pixels: upsampling and colour conversion, row by row, as in libjpeg-turbo (jdsample.c,
//! jdcolor.c).

use super::frame::{Component, Frame};
use super::reduced;
use crate::decode::Original;

/// The colour space of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    Gray,
    Rgb,
    YCbCr,
    Cmyk,
    /// CMYK whose inverted cyan, magenta and yellow are stored as YCbCr.
    Ycck,
}

impl Colours {
    /// The colour space by the JFIF and Adobe markers, or else by the colours' numbers: `default_decompress_parms` of
    /// jdapimin.c.
    pub(super) fn of(frame: &Frame, jfif: bool, adobe: Option<u8>) -> Self {
        match (frame.components.as_slice(), adobe) {
            ([_], _) => Self::Gray,
            ([_, _, _, _], None | Some(0)) => Self::Cmyk,
            ([_, _, _, _], Some(_)) => Self::Ycck,
            _ if jfif => Self::YCbCr,
            (_, Some(0)) => Self::Rgb,
            ([r, g, b], None) if [r.id, g.id, b.id] == *b"RGB" => Self::Rgb,
            _ => Self::YCbCr,
        }
    }

    /// Bytes per output pixel.
    pub(super) fn channels(self) -> usize {
        if self == Self::Gray { 1 } else { 3 }
    }
}

/// The sizes of an image whose blocks are decoded to `side` × `side` samples: 8 at full size, otherwise fewer.
pub(super) struct Shape {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) side: usize,
    mcus_wide: usize,
    mcus_high: usize,
    h: usize,
    v: usize,
    planes: Vec<PlaneShape>,
}

/// The sampling factors and the size of a colour.
struct PlaneShape {
    h: usize,
    v: usize,
    width: usize,
    height: usize,
    /// The samples per side of a block. A colour that is stored at half of the image's size may have larger blocks than
    /// the image, so that it needs no upsampling. Its factors are then the image's.
    side: usize,
}

impl PlaneShape {
    /// The largest blocks that need no downsampling, as in `jpeg_calc_output_dimensions` of jdmaster.c.
    fn new(frame: &Frame, component: &Component, side: usize) -> Self {
        let fits = |&scale: &usize| {
            side * scale <= reduced::WHOLE
                && frame.h.is_multiple_of(component.h * scale)
                && frame.v.is_multiple_of(component.v * scale)
        };
        let scale = [4, 2].into_iter().find(fits).unwrap_or(1);
        let (h, v) = (component.h * scale, component.v * scale);
        Self {
            h,
            v,
            width: (frame.width * h * side).div_ceil(reduced::WHOLE * frame.h),
            height: (frame.height * v * side).div_ceil(reduced::WHOLE * frame.v),
            side: side * scale,
        }
    }
}

impl Shape {
    pub(super) fn new(frame: &Frame, side: usize) -> Self {
        let planes = frame.components.iter();
        let planes = planes.map(|component| PlaneShape::new(frame, component, side));
        Self {
            width: (frame.width * side).div_ceil(reduced::WHOLE),
            height: (frame.height * side).div_ceil(reduced::WHOLE),
            side,
            mcus_wide: frame.mcus_wide(),
            mcus_high: frame.mcus_high(),
            h: frame.h,
            v: frame.v,
            planes: planes.collect(),
        }
    }

    /// The whole image, if this is a reduced size.
    pub(super) fn original(&self, frame: &Frame) -> Option<Original> {
        let eighths = |side: usize| (side * self.side) as f64 / reduced::WHOLE as f64;
        (self.side < reduced::WHOLE).then(|| Original {
            width: frame.width as u32,
            height: frame.height as u32,
            area: [0.0, 0.0, eighths(frame.width), eighths(frame.height)],
        })
    }

    /// The memory of [`Output`] besides the pixels, in bytes.
    pub(super) fn memory(&self) -> u64 {
        let planes = self.planes.iter();
        let samples = planes.map(|plane| {
            let stride = self.mcus_wide * plane.h * self.side + PADDING;
            stride * plane.v * self.kept_mcus() * self.side
        });
        (samples.sum::<usize>() + (self.width + 64) * (self.planes.len() + 2)) as u64
    }

    /// The rows of MCUs whose samples are kept. Upsampling needs the rows of samples above and below it; if MCUs are a
    /// single row, both are in other MCUs.
    fn kept_mcus(&self) -> usize {
        if self.side == 1 { 3 } else { 2 }
    }
}

/// The bytes after each row of samples, since small blocks are written in whole vectors.
const PADDING: usize = 8;

/// The samples of one colour, for the rows of MCUs decoded last.
pub(super) struct Ring {
    pub(super) samples: Vec<u8>,
    pub(super) stride: usize,
    /// Rows of samples.
    rows: usize,
    /// The number of samples per side of a block.
    pub(super) side: usize,
}

impl Ring {
    fn new(plane: &PlaneShape, shape: &Shape) -> Self {
        let stride = shape.mcus_wide * plane.h * shape.side + PADDING;
        let rows = shape.kept_mcus() * plane.v * shape.side;
        Self {
            samples: vec![0; stride * rows],
            stride,
            rows,
            side: plane.side,
        }
    }

    /// The position of a block, by its row and column among the blocks of its colour.
    #[inline(always)]
    pub(super) fn block(&mut self, row: usize, column: usize) -> &mut [u8] {
        let place = (row * self.side % self.rows) * self.stride + column * self.side;
        &mut self.samples[place..]
    }

    fn row(&self, row: usize, width: usize) -> &[u8] {
        let place = row % self.rows * self.stride;
        &self.samples[place..place + width]
    }
}

/// The upsampling of a colour to the size of the image.
#[derive(Clone, Copy)]
enum Upsampling {
    None,
    /// Twice as wide, with a triangle filter.
    Wide,
    /// Twice as high, with a triangle filter.
    High,
    /// Twice as wide and high, with a triangle filter.
    WideAndHigh,
    /// Each sample is repeated this many times horizontally, and rows are repeated vertically.
    Box(usize),
}

impl Upsampling {
    fn of(plane: &PlaneShape, shape: &Shape) -> Self {
        match (shape.h / plane.h, shape.v / plane.v) {
            (1, 1) => Self::None,
            (2, 1) if plane.width > 2 => Self::Wide,
            (1, 2) => Self::High,
            (2, 2) if plane.width > 2 => Self::WideAndHigh,
            (h, _) => Self::Box(h),
        }
    }
}

/// Converts samples to rows of pixels as soon as all their inputs are present.
pub(super) struct Output<'a> {
    shape: &'a Shape,
    colours: Colours,
    pub(super) rings: Vec<Ring>,
    upsampling: Vec<Upsampling>,
    /// One upsampled row of each colour, as wide as the image.
    wide: Vec<Vec<u8>>,
    /// The weighted sums of two rows, for vertical upsampling.
    sums: Vec<u16>,
    pixels: &'a mut [u8],
    /// The number of finished rows of pixels.
    done: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(shape: &'a Shape, colours: Colours, pixels: &'a mut [u8]) -> Self {
        let planes = shape.planes.iter();
        Self {
            rings: planes
                .clone()
                .map(|plane| Ring::new(plane, shape))
                .collect(),
            upsampling: planes.map(|plane| Upsampling::of(plane, shape)).collect(),
            wide: vec![vec![0; shape.width.next_multiple_of(4)]; shape.planes.len()],
            sums: vec![0; shape.width],
            shape,
            colours,
            pixels,
            done: 0,
        }
    }

    /// Call this when the samples of `rows` rows of MCUs are present. The last row of samples must wait, since
    /// upsampling needs the row below it.
    #[inline(always)]
    pub(super) fn advance(&mut self, rows: usize) {
        let ready = match rows >= self.shape.mcus_high {
            true => self.shape.height,
            false => (self.shape.side * rows - 1) * self.shape.v,
        };
        while self.done < ready {
            self.make_row(self.done);
            self.done += 1;
        }
    }

    #[inline(always)]
    fn make_row(&mut self, y: usize) {
        let width = self.shape.width;
        for (index, plane) in self.shape.planes.iter().enumerate() {
            let ring = &self.rings[index];
            let row = |row: usize| ring.row(row, plane.width);
            let near = y * plane.v / self.shape.v;
            // The upper output row of a sample also depends on the row above, the lower one on the row below.
            let far = match y % 2 {
                0 => near.saturating_sub(1),
                _ => (near + 1).min(plane.height - 1),
            };
            let wide = &mut self.wide[index];
            match self.upsampling[index] {
                Upsampling::None => {}
                Upsampling::Wide => widen(row(near), wide),
                Upsampling::High => heighten(row(near), row(far), y % 2, wide),
                Upsampling::WideAndHigh => {
                    widen_and_heighten(row(near), row(far), &mut self.sums, wide);
                }
                Upsampling::Box(h) => {
                    for (samples, &sample) in wide.chunks_mut(h).zip(row(near)) {
                        samples.fill(sample);
                    }
                }
            }
        }
        let rows = |index: usize| match self.upsampling[index] {
            Upsampling::None => self.rings[index].row(y, width),
            _ => &self.wide[index][..width],
        };
        let channels = self.colours.channels();
        let pixels = &mut self.pixels[y * width * channels..][..width * channels];
        match self.colours {
            Colours::Gray => pixels.copy_from_slice(rows(0)),
            Colours::Rgb => interleave(pixels, [rows(0), rows(1), rows(2)]),
            Colours::YCbCr => colour(pixels, [rows(0), rows(1), rows(2)]),
            Colours::Cmyk => {
                interleave(pixels, [rows(0), rows(1), rows(2)]);
                // Adobe's files contain inverted values: 255 is no ink.
                blacken(pixels, rows(3), |ink| ink);
            }
            Colours::Ycck => {
                colour(pixels, [rows(0), rows(1), rows(2)]);
                blacken(pixels, rows(3), |ink| 255 - ink);
            }
        }
    }
}

/// `h2v1_fancy_upsample`, for at least three samples.
#[inline(always)]
fn widen(row: &[u8], wide: &mut [u8]) {
    let of =
        |near: u8, far: u8, bias: u16| ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
    let last = row.len() - 1;
    wide[0] = row[0];
    for (pair, two) in wide[1..]
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .zip(row.windows(2))
    {
        *pair = [of(two[0], two[1], 2), of(two[1], two[0], 1)];
    }
    if let Some(end) = wide.get_mut(2 * last + 1) {
        *end = row[last];
    }
}

/// `h1v2_fancy_upsample`.
#[inline(always)]
fn heighten(near: &[u8], far: &[u8], half: usize, wide: &mut [u8]) {
    let bias = 1 + half as u16;
    for (sample, (&near, &far)) in wide.iter_mut().zip(near.iter().zip(far)) {
        *sample = ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
    }
}

/// `h2v2_fancy_upsample`, for at least three samples.
#[inline(always)]
fn widen_and_heighten(near: &[u8], far: &[u8], sums: &mut [u16], wide: &mut [u8]) {
    let sums = &mut sums[..near.len()];
    for (sum, (&near, &far)) in sums.iter_mut().zip(near.iter().zip(far)) {
        *sum = 3 * u16::from(near) + u16::from(far);
    }
    let last = sums.len() - 1;
    wide[0] = ((sums[0] * 4 + 8) >> 4) as u8;
    for (pair, two) in wide[1..]
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .zip(sums.windows(2))
    {
        *pair = [
            ((3 * two[0] + two[1] + 7) >> 4) as u8,
            ((3 * two[1] + two[0] + 8) >> 4) as u8,
        ];
    }
    if let Some(end) = wide.get_mut(2 * last + 1) {
        *end = ((sums[last] * 4 + 7) >> 4) as u8;
    }
}

#[inline(always)]
fn interleave(pixels: &mut [u8], [r, g, b]: [&[u8]; 3]) {
    let rows = r.iter().zip(g).zip(b);
    for (pixel, ((&r, &g), &b)) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(rows) {
        *pixel = [r, g, b];
    }
}

/// Constants with 16 fractional bits. A whole number is subtracted from each so that it fits 16 bits.
const R_OF_CR: i16 = 26_345;
const B_OF_CB: i16 = -14_942;
const G_OF_CR: i16 = 18_734;
const G_OF_CB: i16 = -22_554;

/// `ycc_rgb_convert`, in 16 bits as the SIMD code (jdcolext-avx2.asm) does it.
#[inline(always)]
fn colour(pixels: &mut [u8], [y, cb, cr]: [&[u8]; 3]) {
    let product = |a: i16, b: i16| i32::from(a) * i32::from(b);
    // The rounded product of a value and a constant.
    let part = |value: i16, of: i16| (((product(2 * value, of) >> 16) as i16) + 1) >> 1;
    let rows = y.iter().zip(cb).zip(cr);
    for (pixel, ((&y, &cb), &cr)) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(rows) {
        let (y, cb, cr) = (i16::from(y), i16::from(cb) - 128, i16::from(cr) - 128);
        let green = (product(cb, G_OF_CB) + product(cr, G_OF_CR) + (1 << 15)) >> 16;
        let byte = |value: i16| value.clamp(0, 255) as u8;
        *pixel = [
            byte(y + cr + part(cr, R_OF_CR)),
            byte(y - cr + green as i16),
            byte(y + 2 * cb + part(cb, B_OF_CB)),
        ];
    }
}

/// Converts inverted CMYK to RGB, as PIL's `convert("RGB")` does.
#[inline(always)]
fn blacken(pixels: &mut [u8], black: &[u8], ink: impl Fn(u8) -> u8) {
    for (pixel, &black) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(black) {
        let white = i32::from(black);
        for value in pixel {
            let ink = i32::from(255 - ink(*value));
            let product = ink * white + 128;
            let ink = ((product >> 8) + product) >> 8;
            *value = (white - ink).clamp(0, 255) as u8;
        }
    }
}
