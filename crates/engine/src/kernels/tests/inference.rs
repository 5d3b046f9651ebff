//! The kernels used only by inference.

use proptest::prelude::*;

use super::depthwise::{self, KERNELS};
use super::elementwise::activated;
use super::operand::{Matrix, NOTHING, Operand, per_channel};
use super::pooled::{averaged, multiplied};
use super::real::Noise;
use super::stem::{self, StemImages, in_planes, with_stem};
use super::{ACTIVATIONS, CHANNELS, grid, isas, layouts, properties};
use crate::isa::Isa;
use crate::kernels::{
    DepthwiseImages, DepthwiseRow, Images, Ring, TAPS, activate_values, convert_rows,
    depthwise_images, depthwise_row, image_averages, multiply_rows, pack_taps, panel_planes,
    stem_rows,
};
use crate::memory::{Buffer, Dst, Planes, Src, padded, planes};
use crate::simd::LANES;
use crate::spec::{Activation, Padding};

/// A depthwise convolution with bias and activation, and its expected output.
struct Depthwise {
    geometry: depthwise::Geometry,
    channels: usize,
    activation: Activation,
    source: Matrix,
    taps: Vec<f32>,
    bias: Vec<f32>,
    expected: Matrix,
}

impl Depthwise {
    fn noise(geometry: depthwise::Geometry, channels: usize, activation: Activation) -> Self {
        let mut noise = Noise((geometry.inputs() * 100 + channels) as u64);
        let source = Matrix::noise(&mut noise, geometry.inputs(), channels);
        let taps = Matrix::noise_f32(&mut noise, channels, geometry.taps());
        let bias: Vec<_> = (0..channels).map(|_| noise.value()).collect();
        let by_tap = Matrix::from_fn(geometry.taps(), channels, |tap, c| taps[(c, tap)]);
        let sums = geometry.convolve(&source, &by_tap);
        let sums = Matrix::from_fn(sums.rows, channels, |row, c| sums[(row, c)] + bias[c]);
        let mut packed = vec![NOTHING; padded(channels) * geometry.taps()];
        let (from, to) = (taps.dense(), Dst::of(&mut packed));
        // SAFETY: the target has space for the weights of whole planes.
        unsafe { pack_taps(channels, geometry.taps(), Src::of(&from), to) };
        Depthwise {
            geometry,
            channels,
            activation,
            source,
            taps: packed,
            bias: per_channel(&bias),
            expected: activated(&sums, activation),
        }
    }

    fn check_images(&self) {
        for isa in isas() {
            for from in layouts(isa) {
                self.check_images_from(isa, from);
            }
        }
    }

    /// Checks with the source in the memory layout of `from`.
    fn check_images_from(&self, isa: Isa, from: Isa) {
        let g = self.geometry;
        let source = Operand::of(from, &self.source);
        let target = Operand::blank(isa, g.outputs(), self.channels);
        let operands = DepthwiseImages {
            images: g.images,
            planes: planes(self.channels),
            height: g.height,
            width: g.width,
            kernel: g.kernel,
            stride: g.stride,
            zeros: g.zeros(),
            source: source.planes(),
            taps: Src::of(&self.taps),
            bias: Src::of(&self.bias),
            activation: self.activation,
            target: target.planes(),
        };
        // SAFETY: all operands have the shapes that the kernel requires.
        unsafe { depthwise_images(isa, &operands) };
        target.assert_near(&self.expected, &format!("{isa} from {from} {g:?}"));
    }

    /// Checks one image. Rows are written to the ring when they are needed.
    fn check_rows(&self) {
        let g = self.geometry;
        let (rows, columns) = (g.height.div_ceil(g.stride), g.width.div_ceil(g.stride));
        let planes = planes(self.channels);
        for isa in isas() {
            let source = Operand::of(isa, &self.source);
            let target = Operand::blank(isa, g.outputs(), self.channels);
            let mut scratch = vec![NOTHING; Ring::length(planes, g.width)];
            // SAFETY: the scratch has the ring's length, and all operands have the kernel's shapes.
            unsafe {
                let ring = Ring::new(Dst::of(&mut scratch), planes, g.width);
                let mut next = 0;
                for y in 0..rows {
                    while next < (y * g.stride + g.kernel - g.zeros().above).min(g.height) {
                        let from = source.planes().row(next * g.width);
                        convert_rows(isa, g.width, planes, from, ring.row(next));
                        next += 1;
                    }
                    let operands = DepthwiseRow {
                        planes,
                        height: g.height,
                        kernel: g.kernel,
                        stride: g.stride,
                        zeros: g.zeros(),
                        y,
                        columns,
                        ring,
                        taps: Src::of(&self.taps),
                        bias: Src::of(&self.bias),
                        activation: self.activation,
                        target: target.planes().row(y * columns),
                    };
                    depthwise_row(isa, &operands);
                }
            }
            target.assert_near(&self.expected, &format!("{isa} {g:?}, by rows"));
        }
    }
}

/// Checks every kernel and stride on feature maps of this size.
fn check_depthwise([images, height, width]: [usize; 3], index: usize) {
    for (kernel, stride, padding) in KERNELS {
        let geometry = depthwise::Geometry {
            images,
            height,
            width,
            kernel,
            stride,
            padding,
        };
        let activation = ACTIVATIONS[index / 3 % ACTIVATIONS.len()];
        let channels = [17, 16, 8][index % 3];
        Depthwise::noise(geometry, channels, activation).check_images();
        let one = depthwise::Geometry {
            images: 1,
            ..geometry
        };
        Depthwise::noise(one, channels, activation).check_rows();
    }
}

#[test]
fn depthwise_of_small_maps_and_many_images() {
    let maps = grid(&[1, 2, 4, 5, 8, 9, 15], &[1, 2, 3, 7], &[1, 2, 7]);
    maps.enumerate()
        .for_each(|(index, map)| check_depthwise(map, index));
}

#[test]
fn depthwise_of_every_width() {
    let widths: Vec<usize> = (1..=17).chain([28, 31, 56]).collect();
    let maps = grid(&[1], &[1, 5, 12], &widths);
    maps.enumerate()
        .for_each(|(index, map)| check_depthwise(map, index));
}

/// Checks some rows of an image, as one of several tasks computes them.
fn check_stem_rows(geometry: stem::Geometry, first: usize, bytes: bool, activation: Activation) {
    let stem::Geometry {
        width,
        height,
        stride,
        channels,
        ..
    } = geometry;
    let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
    let mut noise = Noise((geometry.pixels() * 100 + channels) as u64);
    let images = StemImages::noise(&mut noise, geometry.pixels());
    let taps = Matrix::noise_f32(&mut noise, channels, TAPS);
    let bias: Vec<_> = (0..channels).map(|_| noise.value()).collect();
    let sums = geometry.convolve(&images.values(bytes), &taps);
    let sums = Matrix::from_fn(sums.rows, channels, |row, c| sums[(row, c)] + bias[c]);
    let whole = activated(&sums, activation);
    let expected = Matrix::from_fn((rows - first) * columns, channels, |row, c| {
        whole[(first * columns + row, c)]
    });
    let (taps, bias) = (in_planes(&taps), per_channel(&bias));
    for isa in isas() {
        let target = Operand::blank(isa, expected.rows, channels);
        let (pixels, bias) = (images.pixels(bytes), Src::of(&bias));
        with_stem(geometry, &taps, |stem| {
            // SAFETY: all operands have the shapes that the kernel requires.
            unsafe {
                let (rows, target) = (first..rows, target.planes());
                stem_rows(isa, stem, pixels, rows, bias, activation, target);
            }
        });
        let what = format!("{isa} {geometry:?} from row {first}, bytes: {bytes}, {activation:?}");
        target.assert_near(&expected, &what);
    }
}

#[test]
fn stem_rows_from_any_row() {
    let widths: Vec<usize> = (1..=17).chain([28, 31, 56]).collect();
    for (index, [stride, height, width]) in grid(&[1, 2], &[1, 2, 5, 9], &widths).enumerate() {
        for padding in [Padding::Symmetric, Padding::Same] {
            let geometry = stem::Geometry {
                images: 1,
                height,
                width,
                stride,
                padding,
                channels: [16, 17, 8][index % 3],
            };
            for first in 0..height.div_ceil(stride) {
                let activation = ACTIVATIONS[(index / 2 + first) % ACTIVATIONS.len()];
                check_stem_rows(geometry, first, (index + first) % 2 == 1, activation);
            }
        }
    }
}

fn check_factors(images: usize, pixels: usize, channels: usize, activation: Activation) {
    let mut noise = Noise((images * 1000 + pixels * 50 + channels) as u64);
    let y = Matrix::noise(&mut noise, images * pixels, channels);
    let factors = Matrix::noise(&mut noise, images, channels);
    let averages = averaged(&y, images);
    let product = multiplied(&y, &factors);
    // A block that starts within the first image.
    let first = pixels / 2;
    let rows = images * pixels - first;
    let block = Images {
        first_row: first,
        pixels,
    };
    let expected = Matrix::from_fn(rows, channels, |row, c| {
        product[(first + row, c)].activate(activation)
    });
    let start = Matrix::from_fn(rows, channels, |row, c| y[(first + row, c)]);
    let count = planes(channels);
    for isa in isas() {
        let what = format!("{isa} {images} images, {pixels} pixels, {channels} channels");
        let source = Operand::of(isa, &y);
        for to in layouts(isa) {
            let target = Operand::blank(to, images, channels);
            let (from, to) = (source.planes(), target.planes());
            // SAFETY: all operands have the shapes that the kernel requires.
            unsafe { image_averages(isa, images, pixels, count, from, to) };
            target.assert_near(&averages, &what);
        }
        let (given, values) = (Operand::of(isa, &factors), Operand::of(isa, &start));
        // SAFETY: all operands have the shapes that the kernels require.
        unsafe {
            let (factors, values) = (given.planes(), values.planes());
            multiply_rows(isa, rows, count, block, factors, activation, values);
        }
        values.assert_near(&expected, &what);
        for activation in [Activation::Sigmoid, Activation::Hardsigmoid, activation] {
            let values = Operand::of(isa, &factors);
            // SAFETY: the operand has the shape that the kernel requires.
            unsafe { activate_values(isa, images, count, activation, values.planes()) };
            let gates = activated(&factors, activation);
            values.assert_near(&gates, &format!("{what}, {activation:?}"));
        }
    }
}

#[test]
fn averages_and_factors_of_every_shape() {
    let channels = [&CHANNELS[..], &[1280]].concat();
    for [images, pixels, channels] in grid(&[1, 2, 3], &[1, 2, 3, 4, 7, 49], &channels) {
        check_factors(
            images,
            pixels,
            channels,
            ACTIVATIONS[(images + pixels) % ACTIVATIONS.len()],
        );
    }
}

/// The activation of some numbers, on one instruction set.
fn activated_on(isa: Isa, activation: Activation, values: &[f32]) -> Vec<f32> {
    let rows = values.len().div_ceil(LANES);
    let all = Buffer::new(rows * LANES);
    let planes = Planes {
        start: all.dst(),
        stride: rows * LANES,
        pixel: LANES,
    };
    // SAFETY: the buffer has this many rows of one plane.
    unsafe {
        let place = all.dst().pointer(0, values.len());
        std::ptr::copy_nonoverlapping(values.as_ptr(), place, values.len());
        activate_values(isa, rows, 1, activation, planes);
    }
    all.as_slice()[..values.len()].to_vec()
}

#[test]
fn sigmoid_and_silu_have_a_small_relative_error() {
    let step = if cfg!(miri) { 4.0 } else { 1.0 / 512.0 };
    let count = (172.0 / step) as usize;
    let values: Vec<f32> = (0..count).map(|at| at as f32 * step - 86.0).collect();
    for isa in Isa::available() {
        for activation in [Activation::Sigmoid, Activation::Silu] {
            let results = activated_on(isa, activation, &values);
            for (&x, result) in values.iter().zip(results) {
                let sigmoid = 1.0 / (1.0 + (-f64::from(x)).exp());
                let exact = if activation == Activation::Silu {
                    f64::from(x) * sigmoid
                } else {
                    sigmoid
                };
                let off = (f64::from(result) - exact).abs();
                assert!(
                    off <= 1e-6 * exact.abs(),
                    "{isa} {activation:?}({x}): {result}"
                );
            }
        }
    }
}

#[test]
fn sigmoid_and_silu_of_extreme_numbers() {
    let nan = [0x7FC0_0000, 0x7FFF_FFFF, 0xFF80_0001].map(f32::from_bits);
    for isa in Isa::available() {
        let sigmoid = activated_on(isa, Activation::Sigmoid, &[1e30, f32::INFINITY, -1e30, 0.0]);
        assert_eq!(
            [sigmoid[0], sigmoid[1], sigmoid[3]],
            [1.0, 1.0, 0.5],
            "{isa}"
        );
        assert!((0.0..1e-37).contains(&sigmoid[2]), "{isa}: {sigmoid:?}");
        let silu = activated_on(isa, Activation::Silu, &[1e30, f32::INFINITY, -100.0, 0.0]);
        assert_eq!(silu[..2], [1e30, f32::INFINITY], "{isa}");
        assert!(silu[2].abs() < 1e-35 && silu[3] == 0.0, "{isa}: {silu:?}");
        for activation in [
            Activation::Sigmoid,
            Activation::Silu,
            Activation::Hardsigmoid,
        ] {
            let values = activated_on(isa, activation, &nan);
            assert!(
                values.iter().all(|x| x.is_nan()),
                "{isa} {activation:?}: {values:?}"
            );
        }
    }
}

#[test]
fn panels_cover_every_plane_once() {
    for isa in isas() {
        for vectors in 1..30 {
            let covered: Vec<usize> = panel_planes(isa, vectors).into_iter().flatten().collect();
            assert_eq!(covered, (0..vectors).collect::<Vec<_>>(), "{isa}");
        }
    }
}

proptest! {
    #![proptest_config(properties(32))]
    #[test]
    #[cfg_attr(miri, ignore = "too large to interpret")]
    fn any_shape(
        images in 1usize..20,
        height in 1usize..12,
        width in 1usize..30,
        channels in 1usize..50,
    ) {
        check_depthwise([images, height, width], channels);
        check_factors(images, height * width, channels, ACTIVATIONS[width % ACTIVATIONS.len()]);
    }
}
