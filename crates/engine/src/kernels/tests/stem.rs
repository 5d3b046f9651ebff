use proptest::prelude::*;

use super::differences::{assert_gradient, weighted};
use super::operand::{ExpectedSums, Matrix, Mix, NOTHING, Operand};
use super::real::Noise;
use super::{grid, isas, properties};
use crate::kernels::{Pixels, Stem, TAPS, stem_backward, stem_forward};
use crate::memory::{Dst, Src, planes};
use crate::simd::LANES;
use crate::spec::{Padding, Zeros};

const COLOURS: usize = 3;

#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) images: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
    pub(super) padding: Padding,
    pub(super) channels: usize,
}

impl Geometry {
    fn zeros(self) -> Zeros {
        let size = (self.height, self.width);
        self.padding.zeros(size, 3, self.stride)
    }

    pub(super) fn pixels(self) -> usize {
        self.images * self.height * self.width
    }

    pub(super) fn outputs(self) -> usize {
        let Geometry {
            height,
            width,
            stride,
            ..
        } = self;
        self.images * height.div_ceil(stride) * width.div_ceil(stride)
    }

    /// Calls `visit` for each product of the convolution, with the pixel and its colour, the weight
    /// index and the output row.
    fn products(self, mut visit: impl FnMut((usize, usize), usize, usize)) {
        let Geometry {
            height,
            width,
            stride,
            ..
        } = self;
        let Zeros { above, left } = self.zeros();
        let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
        for output in 0..self.outputs() {
            let (image, place) = (output / (rows * columns), output % (rows * columns));
            for tap in 0..TAPS {
                let (colour, row, column) = (tap / 9, tap / 3 % 3, tap % 3);
                let y = (place / columns * stride + row).wrapping_sub(above);
                let x = (place % columns * stride + column).wrapping_sub(left);
                if y < height && x < width {
                    visit(((image * height + y) * width + x, colour), tap, output);
                }
            }
        }
    }

    /// The convolution of `pixels`, `[pixels][3]`, with `taps`, `[channels][27]`.
    pub(super) fn convolve(self, pixels: &Matrix, taps: &Matrix) -> Matrix {
        let mut output = Matrix::zeros(self.outputs(), taps.rows);
        self.products(|pixel, tap, to| {
            for channel in 0..taps.rows {
                output[(to, channel)] += pixels[pixel] * taps[(channel, tap)];
            }
        });
        output
    }

    /// Computes the gradient of the weights from the gradient `d` of the output, and adds it to
    /// `gradient`.
    fn add_taps_gradient(self, pixels: &Matrix, d: &Matrix, gradient: &mut Matrix) {
        self.products(|pixel, tap, from| {
            for channel in 0..d.channels {
                gradient[(channel, tap)] += d[(from, channel)] * pixels[pixel];
            }
        });
    }
}

/// Images in the two formats that callers can pass: f32 and bytes.
pub(super) struct StemImages {
    floats: Vec<f32>,
    bytes: Vec<u8>,
    table: [[f32; 256]; COLOURS],
    /// The values that the table gives for the bytes.
    looked_up: Matrix,
}

impl StemImages {
    pub(super) fn noise(noise: &mut Noise, pixels: usize) -> Self {
        let table = [(); COLOURS].map(|()| [(); 256].map(|()| noise.value().value as f32));
        let values = Matrix::noise_f32(noise, pixels, COLOURS);
        let floats = values.dense();
        // The result is in [0, 255].
        let byte = |value: &f32| ((value + 4.0) * 32.0) as u8;
        let bytes: Vec<u8> = floats.iter().map(byte).collect();
        let looked_up = Matrix::from_fn(pixels, COLOURS, |pixel, colour| {
            f64::from(table[colour][usize::from(bytes[pixel * COLOURS + colour])]).into()
        });
        StemImages {
            floats,
            bytes,
            table,
            looked_up,
        }
    }

    pub(super) fn pixels(&self, bytes: bool) -> Pixels<'_> {
        if bytes {
            Pixels::U8(&self.bytes, &self.table)
        } else {
            Pixels::F32(&self.floats)
        }
    }

    /// The values of these images, `[pixels][3]`.
    pub(super) fn values(&self, bytes: bool) -> Matrix {
        if bytes {
            return self.looked_up.clone();
        }
        Matrix::from_fn(self.looked_up.rows, COLOURS, |pixel, colour| {
            f64::from(self.floats[pixel * COLOURS + colour]).into()
        })
    }
}

/// Runs `call` with the operands of a kernel.
pub(super) fn with_stem(geometry: Geometry, taps: &[f32], call: impl FnOnce(&Stem)) {
    let mut scratch = vec![NOTHING; Stem::scratch_length(geometry.width)];
    call(&Stem {
        images: geometry.images,
        height: geometry.height,
        width: geometry.width,
        stride: geometry.stride,
        zeros: geometry.zeros(),
        planes: planes(geometry.channels),
        taps: Src::of(taps),
        scratch: Dst::of(&mut scratch),
    });
}

/// Rearranges `[channels][27]` to `[plane][27][16]`, with [`NOTHING`] beyond the last channel.
pub(super) fn in_planes(taps: &Matrix) -> Vec<f32> {
    let mut packed = vec![NOTHING; planes(taps.rows) * TAPS * LANES];
    for channel in 0..taps.rows {
        for tap in 0..TAPS {
            let at = (channel / LANES * TAPS + tap) * LANES + channel % LANES;
            packed[at] = taps[(channel, tap)].value as f32;
        }
    }
    packed
}

fn out_of_planes(packed: &[f32], channels: usize) -> Vec<f32> {
    let at = |channel, tap| (channel / LANES * TAPS + tap) * LANES + channel % LANES;
    (0..channels * TAPS)
        .map(|index| packed[at(index / TAPS, index % TAPS)])
        .collect()
}

fn check(geometry: Geometry, bytes: bool) {
    let channels = geometry.channels;
    let mut noise = Noise((geometry.pixels() * 100 + channels) as u64);
    let images = StemImages::noise(&mut noise, geometry.pixels());
    let (pixels, values) = (images.pixels(bytes), images.values(bytes));
    let taps = Matrix::noise_f32(&mut noise, channels, TAPS);
    let before = ExpectedSums::noise(&mut noise, channels);
    let d = Matrix::noise(&mut noise, geometry.outputs(), channels);
    let z = Matrix::noise(&mut noise, geometry.outputs(), channels);
    let norm = Mix::noise(&mut noise, channels);
    let taps_before = Matrix::noise_f32(&mut noise, channels, TAPS);

    let expected = geometry.convolve(&values, &taps);
    let mut expected_sums = before.clone();
    expected.add_sums(&expected, &mut expected_sums, 0);
    let mut expected_taps = taps_before.clone();
    geometry.add_taps_gradient(&values, &norm.apply(&d, &z), &mut expected_taps);

    let taps = in_planes(&taps);
    for isa in isas() {
        let what = format!("{isa} {geometry:?}, bytes: {bytes}");
        let (d, z) = (Operand::of(isa, &d), Operand::of(isa, &z));
        let target = Operand::blank(isa, geometry.outputs(), channels);
        let mut sums = before.before();
        with_stem(geometry, &taps, |stem| {
            // SAFETY: all operands have the shapes that the kernel requires.
            unsafe { stem_forward(isa, stem, pixels, target.planes(), &mut sums) };
        });
        target.assert_near(&expected, &what);
        expected_sums.assert_near(&sums, &what);

        let mut gradient = in_planes(&taps_before);
        let (d, z, norm) = (d.planes(), z.planes(), norm.operand());
        with_stem(geometry, &taps, |stem| {
            let gradient = Dst::of(&mut gradient);
            // SAFETY: all operands have the shapes that the kernel requires.
            unsafe { stem_backward(isa, stem, pixels, d, z, norm, gradient) };
        });
        expected_taps.assert_dense(&out_of_planes(&gradient, channels), &what);
    }
}

/// Checks images of this size with both strides and both paddings.
fn check_strides([images, height, width]: [usize; 3], channels: usize, bytes: bool) {
    for (stride, padding) in [
        (1, Padding::Symmetric),
        (2, Padding::Symmetric),
        (2, Padding::Same),
    ] {
        let geometry = Geometry {
            images,
            height,
            width,
            stride,
            padding,
            channels,
        };
        check(geometry, bytes);
    }
}

#[test]
fn every_width() {
    let widths: Vec<usize> = (1..=17).chain([28, 31, 56]).collect();
    for (way, map) in grid(&[2], &[1, 2, 5], &widths).enumerate() {
        check_strides(map, [16, 8, 40][way % 3], way % 2 == 1);
    }
}

#[test]
fn every_way() {
    for map in grid(&[1, 2, 3], &[1, 2, 9], &[1, 2, 7, 8]) {
        for bytes in [false, true] {
            check_strides(map, 17, bytes);
        }
    }
}

proptest! {
    #![proptest_config(properties(32))]
    #[test]
    #[cfg_attr(miri, ignore = "too large to interpret")]
    fn any_shape(
        images in 1usize..4,
        height in 1usize..14,
        width in 1usize..36,
        channels in 1usize..50,
        bytes: bool,
    ) {
        check_strides([images, height, width], channels, bytes);
    }
}

#[test]
#[cfg_attr(miri, ignore = "safe code, and much of it")]
fn the_reference_is_the_gradient_of_the_convolution() {
    let mut noise = Noise(7);
    for stride in [1, 2] {
        let geometry = Geometry {
            images: 2,
            height: 5,
            width: 4,
            stride,
            padding: Padding::Same,
            channels: 2,
        };
        let pixels = Matrix::fill(geometry.pixels(), COLOURS, || noise.smooth());
        let taps = Matrix::fill(2, TAPS, || noise.smooth());
        let d = Matrix::fill(geometry.outputs(), 2, || noise.smooth());
        let mut gradient = Matrix::zeros(2, TAPS);
        geometry.add_taps_gradient(&pixels, &d, &mut gradient);
        assert_gradient(&taps, &gradient, |taps| {
            weighted(&geometry.convolve(&pixels, taps), &d)
        });
    }
}
