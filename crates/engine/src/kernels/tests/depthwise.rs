use proptest::prelude::*;

use super::differences::{assert_gradient, weighted};
use super::elementwise::{activated, derived};
use super::operand::{ExpectedSums, Matrix, Mix, NOTHING, Norm, Operand};
use super::real::Noise;
use super::{ACTIVATIONS, STEP, grid, isas, properties};
use crate::kernels::{
    DepthwiseBackward, DepthwiseForward, depthwise_backward, depthwise_forward, ring_length,
};
use crate::memory::{Dst, Src};
use crate::simd::LANES;
use crate::spec::{Activation, Padding, Zeros};

/// Size, stride and padding of the kernels; at stride 1 both paddings are the same.
pub(super) const KERNELS: [(usize, usize, Padding); 6] = [
    (3, 1, Padding::Symmetric),
    (3, 2, Padding::Symmetric),
    (5, 1, Padding::Symmetric),
    (5, 2, Padding::Symmetric),
    (3, 2, Padding::Same),
    (5, 2, Padding::Same),
];

#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) images: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: Padding,
}

impl Geometry {
    pub(super) fn zeros(self) -> Zeros {
        (self.padding).zeros((self.height, self.width), self.kernel, self.stride)
    }

    pub(super) fn inputs(self) -> usize {
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

    pub(super) fn taps(self) -> usize {
        self.kernel * self.kernel
    }

    /// Calls `visit` with the input row, the weight index and the output row of each product.
    fn products(self, mut visit: impl FnMut(usize, usize, usize)) {
        let Geometry {
            height,
            width,
            kernel,
            stride,
            ..
        } = self;
        let Zeros { above, left } = self.zeros();
        let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
        for output in 0..self.outputs() {
            let (image, place) = (output / (rows * columns), output % (rows * columns));
            for tap in 0..self.taps() {
                let y = place / columns * stride + tap / kernel;
                let x = place % columns * stride + tap % kernel;
                let (y, x) = (y.wrapping_sub(above), x.wrapping_sub(left));
                if y < height && x < width {
                    visit((image * height + y) * width + x, tap, output);
                }
            }
        }
    }

    pub(super) fn convolve(self, input: &Matrix, taps: &Matrix) -> Matrix {
        let mut output = Matrix::zeros(self.outputs(), input.channels);
        self.products(|from, tap, to| {
            for channel in 0..input.channels {
                output[(to, channel)] += input[(from, channel)] * taps[(tap, channel)];
            }
        });
        output
    }

    /// Converts the gradient of the output to the gradient of the input.
    fn input_gradient(self, d: &Matrix, taps: &Matrix) -> Matrix {
        let mut gradient = Matrix::zeros(self.inputs(), d.channels);
        self.products(|to, tap, from| {
            for channel in 0..d.channels {
                gradient[(to, channel)] += d[(from, channel)] * taps[(tap, channel)];
            }
        });
        gradient
    }

    /// Computes the gradient of the weights from the gradient `d` of the output, and adds it to
    /// `gradient`.
    fn add_taps_gradient(self, input: &Matrix, d: &Matrix, gradient: &mut Matrix) {
        self.products(|with, tap, from| {
            for channel in 0..d.channels {
                gradient[(tap, channel)] += d[(from, channel)] * input[(with, channel)];
            }
        });
    }
}

/// Options of a kernel call.
#[derive(Clone, Copy, Debug)]
struct Way {
    norm: bool,
    activation: Activation,
    /// Used in the backward pass only.
    residual: bool,
}

/// The number of different options.
const WAYS: usize = 4 * ACTIVATIONS.len();

impl Way {
    fn new(index: usize) -> Self {
        Way {
            norm: index % 2 == 1,
            residual: index / 2 % 2 == 1,
            activation: ACTIVATIONS[index / 4 % ACTIVATIONS.len()],
        }
    }
}

/// The plane's first channel in the sums.
const AT: usize = 16;
/// More channels than the plane has, to check that the others do not change.
const SUMMED: usize = 48;

fn check_forward(geometry: Geometry, way: Way) {
    let mut noise = Noise((geometry.inputs() * 10 + geometry.kernel) as u64);
    let source = Matrix::noise(&mut noise, geometry.inputs(), LANES);
    let taps = Matrix::noise_f32(&mut noise, geometry.taps(), LANES);
    let norm = Norm::noise(&mut noise, LANES);
    let before = ExpectedSums::noise(&mut noise, SUMMED);

    let y = if way.norm {
        norm.apply(&source)
    } else {
        source.clone()
    };
    let expected = geometry.convolve(&activated(&y, way.activation), &taps);
    let mut expected_sums = before.clone();
    expected.add_sums(&expected, &mut expected_sums, AT);

    let taps = taps.dense();
    for isa in isas() {
        let what = format!("{isa} forward {geometry:?} {way:?}");
        let source = Operand::of(isa, &source);
        let target = Operand::blank(isa, geometry.outputs(), LANES);
        let mut ring = vec![NOTHING; ring_length(geometry.width)];
        let mut sums = before.before();
        let operands = DepthwiseForward {
            images: geometry.images,
            height: geometry.height,
            width: geometry.width,
            kernel: geometry.kernel,
            stride: geometry.stride,
            zeros: geometry.zeros(),
            source: source.src(),
            norm: way.norm.then(|| norm.affine()),
            activation: way.activation,
            taps: Src::of(&taps),
            target: target.planes().start,
            stream: geometry.images % 2 == 1,
            ring: Dst::of(&mut ring),
        };
        // SAFETY: all operands have the shapes that the kernel requires.
        unsafe { depthwise_forward(isa, &operands, &mut sums, AT) };
        target.assert_near(&expected, &what);
        expected_sums.assert_near(&sums, &what);
    }
}

fn check_backward(geometry: Geometry, way: Way) {
    let mut noise = Noise((geometry.inputs() * 10 + geometry.kernel) as u64);
    let source = Matrix::noise(&mut noise, geometry.inputs(), LANES);
    let residual = Matrix::noise(&mut noise, geometry.inputs(), LANES);
    let taps = Matrix::noise_f32(&mut noise, geometry.taps(), LANES);
    let d = Matrix::noise(&mut noise, geometry.outputs(), LANES);
    let z = Matrix::noise(&mut noise, geometry.outputs(), LANES);
    let norm = Norm::noise(&mut noise, LANES);
    let output_norm = Mix::noise(&mut noise, LANES);
    let before = ExpectedSums::noise(&mut noise, SUMMED);
    let taps_before = Matrix::noise_f32(&mut noise, geometry.taps(), LANES);

    let y = if way.norm {
        norm.apply(&source)
    } else {
        source.clone()
    };
    let dz = output_norm.apply(&d, &z);
    let mut expected = derived(&y, &geometry.input_gradient(&dz, &taps), way.activation);
    if way.residual {
        expected = Matrix::from_fn(expected.rows, LANES, |row, channel| {
            expected[(row, channel)] + residual[(row, channel)]
        });
    }
    let mut expected_taps = taps_before.clone();
    geometry.add_taps_gradient(&activated(&y, way.activation), &dz, &mut expected_taps);
    let mut expected_sums = before.clone();
    expected.add_sums(&source, &mut expected_sums, AT);

    let taps = taps.dense();
    for isa in isas() {
        let what = format!("{isa} backward {geometry:?} {way:?}");
        let [source, residual, d, z] =
            [&source, &residual, &d, &z].map(|matrix| Operand::of(isa, matrix));
        let target = Operand::blank(isa, geometry.inputs(), LANES);
        let mut ring = vec![NOTHING; ring_length(geometry.width)];
        let mut taps_gradient = taps_before.dense();
        let mut sums = before.before();
        let operands = DepthwiseBackward {
            images: geometry.images,
            height: geometry.height,
            width: geometry.width,
            kernel: geometry.kernel,
            stride: geometry.stride,
            zeros: geometry.zeros(),
            source: source.src(),
            norm: way.norm.then(|| norm.affine()),
            activation: way.activation,
            taps: Src::of(&taps),
            d: d.src(),
            z: z.src(),
            output_norm: output_norm.operand(),
            residual: way.residual.then(|| residual.src()),
            target: target.planes().start,
            stream: geometry.images % 2 == 1,
            taps_gradient: Dst::of(&mut taps_gradient),
            ring: Dst::of(&mut ring),
        };
        // SAFETY: all operands have the shapes that the kernel requires.
        unsafe { depthwise_backward(isa, &operands, &mut sums, AT) };
        target.assert_near(&expected, &what);
        expected_taps.assert_dense(&taps_gradient, &what);
        expected_sums.assert_near(&sums, &what);
    }
}

/// Tests every kernel and stride on feature maps of this size, each with different options.
fn check([images, height, width]: [usize; 3], way: usize) {
    for (index, (kernel, stride, padding)) in KERNELS.into_iter().enumerate() {
        let geometry = Geometry {
            images,
            height,
            width,
            kernel,
            stride,
            padding,
        };
        // 35 has no divisor in common with the number of options, so successive cases cover all
        // options.
        let way = Way::new((way * KERNELS.len() + index) * 35);
        check_forward(geometry, way);
        check_backward(geometry, way);
    }
}

#[test]
fn maps_smaller_than_the_kernel() {
    let maps = grid(&[1, 2, 3], &[1, 2, 3, 4, 7], &[1, 2, 3, 4, 7]);
    maps.enumerate().for_each(|(way, map)| check(map, way));
}

#[test]
fn every_width() {
    let widths: Vec<usize> = (1..=17).chain([19, 21, 23, 28, 31, 35, 56]).collect();
    let maps = grid(&[1, 2], &[1, 4, 5], &widths);
    maps.enumerate().for_each(|(way, map)| check(map, way));
}

#[test]
fn heights_that_wrap_around_the_ring() {
    let maps = grid(&[2], &[8, 9, 16, 17, 28, 31], &[3]);
    maps.enumerate().for_each(|(way, map)| check(map, way));
}

#[test]
fn every_way() {
    for way in (0..WAYS).step_by(STEP) {
        for (kernel, stride, padding) in [KERNELS[0], KERNELS[3]] {
            let geometry = Geometry {
                images: 2,
                height: 5,
                width: 3,
                kernel,
                stride,
                padding,
            };
            check_forward(geometry, Way::new(way));
            check_backward(geometry, Way::new(way));
        }
    }
}

proptest! {
    #![proptest_config(properties(48))]
    #[test]
    #[cfg_attr(miri, ignore = "too large to interpret")]
    fn any_shape(
        images in 1usize..4,
        height in 1usize..20,
        width in 1usize..34,
        way in 0usize..WAYS,
    ) {
        check([images, height, width], way);
    }
}

#[test]
#[cfg_attr(miri, ignore = "safe code, and much of it")]
fn the_references_are_gradients() {
    let mut noise = Noise(6);
    for (kernel, stride, padding) in KERNELS {
        let geometry = Geometry {
            images: 2,
            height: 4,
            width: 3,
            kernel,
            stride,
            padding,
        };
        let mut matrix = |rows| Matrix::fill(rows, 2, || noise.smooth());
        let (y, taps) = (matrix(geometry.inputs()), matrix(geometry.taps()));
        let d = matrix(geometry.outputs());
        let activation = Activation::Hardswish;
        let gradient = derived(&y, &geometry.input_gradient(&d, &taps), activation);
        assert_gradient(&y, &gradient, |y| {
            weighted(&geometry.convolve(&activated(y, activation), &taps), &d)
        });
        let mut gradient = Matrix::zeros(taps.rows, taps.channels);
        geometry.add_taps_gradient(&y, &d, &mut gradient);
        assert_gradient(&taps, &gradient, |taps| {
            weighted(&geometry.convolve(&y, taps), &d)
        });
    }
}
