use proptest::prelude::*;

use super::operand::{ExpectedSums, Matrix, Mix, NOTHING, Norm, Operand, per_channel};
use super::real::{Noise, Real};
use super::{ACTIVATIONS, STEP, properties};
use crate::isa::Isa;
use crate::kernels::{Before, Behind, Reading};
use crate::layered::conv::{
    ConvBackward, ConvForward, ConvShape, InputTarget, Part, Scratch, conv_backward, conv_forward,
};
use crate::memory::{Dst, Src};
use crate::network::{Conv, Pad, Window};

/// A convolution and the images that it reads.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) conv: Conv,
    pub(super) images: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Which of the kernel's options are used.
    pub(super) way: usize,
}

/// Channels of a group in and out, and number of groups.
const CHANNELS: [[usize; 3]; 12] = [
    [1, 1, 1],
    [16, 16, 1],
    [3, 40, 1],
    [33, 17, 1],
    [18, 70, 1],
    [4, 4, 5],
    [8, 8, 4],
    [24, 24, 3],
    [16, 16, 3],
    [6, 10, 4],
    [32, 16, 2],
    [1, 1, 20],
];

/// Side of the window, stride and padding.
pub(super) const WINDOWS: [(usize, usize, Pad); 14] = [
    (3, 1, Pad::Zeros(1)),
    (3, 2, Pad::Zeros(1)),
    (3, 2, Pad::Same),
    (1, 1, Pad::Zeros(0)),
    (1, 2, Pad::Zeros(0)),
    (3, 1, Pad::Zeros(0)),
    (3, 2, Pad::Zeros(0)),
    (5, 1, Pad::Zeros(2)),
    (5, 2, Pad::Same),
    (7, 2, Pad::Zeros(3)),
    (4, 4, Pad::Zeros(0)),
    (2, 3, Pad::Zeros(0)),
    (2, 1, Pad::Zeros(1)),
    (1, 1, Pad::Zeros(2)),
];

/// Height and width of the input, and number of images.
pub(super) const SIDES: [[usize; 3]; 6] = [
    [7, 7, 2],
    [5, 9, 1],
    [1, 1, 3],
    [8, 3, 1],
    [2, 17, 2],
    [13, 30, 1],
];

impl Case {
    pub(super) fn new(
        [inputs, outputs, groups]: [usize; 3],
        (kernel, stride, pad): (usize, usize, Pad),
        [height, width, images]: [usize; 3],
        way: usize,
    ) -> Option<Case> {
        let window = Window {
            kernel,
            stride,
            pad,
            ceil: false,
        };
        let case = Case {
            conv: Conv {
                in_channels: inputs * groups,
                out_channels: outputs * groups,
                window,
                groups,
                weight: 0,
                bias: None,
            },
            images,
            height,
            width,
            way,
        };
        (window.outputs(height) > 0 && window.outputs(width) > 0).then_some(case)
    }

    pub(super) fn rows(&self) -> usize {
        self.conv.window.outputs(self.height)
    }

    pub(super) fn columns(&self) -> usize {
        self.conv.window.outputs(self.width)
    }

    pub(super) fn taps(&self) -> usize {
        self.conv.window.kernel.pow(2)
    }

    /// Calls `f` with pixel of the output, pixel of the input, output channel, input channel and place of the weight,
    /// for every product of the convolution.
    pub(super) fn each(&self, mut f: impl FnMut([usize; 2], [usize; 2], [usize; 2])) {
        let Window { kernel, stride, .. } = self.conv.window;
        let zeros = self.conv.window.zeros((self.height, self.width));
        let groups = self.conv.groups;
        let (inputs, outputs) = (
            self.conv.in_channels / groups,
            self.conv.out_channels / groups,
        );
        for image in 0..self.images {
            for (y, x) in (0..self.rows()).flat_map(|y| (0..self.columns()).map(move |x| (y, x))) {
                let pixel = (image * self.rows() + y) * self.columns() + x;
                for (row, column) in (0..kernel).flat_map(|r| (0..kernel).map(move |c| (r, c))) {
                    let (from_y, from_x) = (
                        (y * stride + row).wrapping_sub(zeros.above),
                        (x * stride + column).wrapping_sub(zeros.left),
                    );
                    if from_y >= self.height || from_x >= self.width {
                        continue;
                    }
                    let from = (image * self.height + from_y) * self.width + from_x;
                    for output in 0..self.conv.out_channels {
                        for input in 0..inputs {
                            let weight = (input * kernel + row) * kernel + column;
                            let channel = output / outputs * inputs + input;
                            f([pixel, output], [from, channel], [output, weight]);
                        }
                    }
                }
            }
        }
    }
}

/// The instruction sets of kernels whose activations are always f32.
pub(super) fn isas() -> Vec<Isa> {
    super::isas()
        .into_iter()
        .filter(|isa| *isa == isa.with_f32())
        .collect()
}

/// The geometries of a convolution on the instruction sets whose products are in bf16, or on the others.
fn shapes(case: &Case, bf16: bool) -> Vec<(Isa, ConvShape)> {
    let isas = super::isas()
        .into_iter()
        .filter(|isa| (isa.rank() > 1) == bf16);
    let shape = |isa: Isa| ConvShape::new(isa, &case.conv, case.height, case.width);
    let shapes = isas.map(|isa| (isa.with_f32(), shape(isa)));
    // Convolutions in groups compute in f32.
    shapes
        .filter(|(_, shape)| (shape.isa.rank() > 1) == bf16)
        .collect()
}

fn check(case: &Case) {
    for bf16 in [false, true] {
        check_forward(case, bf16);
        check_backward(case, bf16);
    }
}

fn check_forward(case: &Case, bf16: bool) {
    let (way, conv) = (case.way, &case.conv);
    let mut noise = Noise(way as u64 * 977 + conv.in_channels as u64);
    let z = Matrix::noise(
        &mut noise,
        case.images * case.height * case.width,
        conv.in_channels,
    );
    let depth = conv.in_channels / conv.groups * case.taps();
    let weights = Matrix::noise(&mut noise, conv.out_channels, depth);
    let pixels = case.images * case.rows() * case.columns();
    let norm = (way % 2 == 1).then(|| Norm::noise(&mut noise, conv.in_channels));
    let activation = ACTIVATIONS[way / 2 % ACTIVATIONS.len()];
    let bias: Option<Vec<_>> =
        (way % 3 == 1).then(|| (0..conv.out_channels).map(|_| noise.value()).collect());
    let addend = (way % 5 < 2).then(|| Matrix::noise(&mut noise, pixels, conv.out_channels));
    let last = ACTIVATIONS[way / 3 % ACTIVATIONS.len()];

    let x = norm.as_ref().map_or(z.clone(), |norm| norm.apply(&z));
    let x = Matrix::from_fn(x.rows, x.channels, |row, channel| {
        x[(row, channel)].activate(activation).operand(bf16)
    });
    let mut y = Matrix::from_fn(pixels, conv.out_channels, |_, output| {
        bias.as_ref().map_or(Real::default(), |bias| bias[output])
    });
    case.each(|[pixel, output], [from, input], [row, column]| {
        y[(pixel, output)] += x[(from, input)] * weights[(row, column)];
    });
    let y = Matrix::from_fn(pixels, conv.out_channels, |row, channel| {
        let at = (row, channel);
        let addend = addend.as_ref().map_or(Real::default(), |matrix| matrix[at]);
        (y[at] + addend).activate(last)
    });
    let before = ExpectedSums::noise(&mut noise, conv.out_channels);
    let mut expected = before.clone();
    y.add_sums(&y, &mut expected, 0);

    for (isa, shape) in shapes(case, bf16) {
        let what = format!("{} {case:?}", shape.isa);
        let (z, dense) = (Operand::of(isa, &z), weights.dense());
        let mut packed = vec![NOTHING; shape.forward_length()];
        let bias = bias.as_ref().map(|bias| per_channel(bias));
        let addend = addend.as_ref().map(|matrix| Operand::of(isa, matrix));
        let mut scratch = Scratch::default();
        // All at once, and in parts.
        for cut in [false, true] {
            let target = Operand::blank(isa, pixels, conv.out_channels);
            let mut sums = before.before();
            let half = [shape.rows / 2, shape.panels() / 2];
            let parts = [0..half[0], half[0]..shape.rows]
                .into_iter()
                .flat_map(|rows| {
                    [0..half[1], half[1]..shape.panels()].map(|panels| Part {
                        rows: rows.clone(),
                        panels,
                    })
                });
            let parts: Vec<_> = parts.map(Some).collect();
            let parts = if cut { parts } else { vec![None] };
            for part in parts {
                // SAFETY: all operands have the shapes that the kernels require.
                unsafe {
                    shape.pack_forward(Src::of(&dense), Dst::of(&mut packed));
                    let operands = ConvForward {
                        shape: &shape,
                        images: case.images,
                        source: Reading {
                            z: z.planes(),
                            norm: norm.as_ref().map(Norm::affine),
                            activation,
                        },
                        weights: Src::of(&packed),
                        target: target.planes(),
                        bias: bias.as_ref().map(|bias| Src::of(bias)),
                        addend: addend.as_ref().map(Operand::planes),
                        activation: last,
                        part,
                    };
                    conv_forward(&operands, &mut scratch, Some(&mut sums));
                }
            }
            target.assert_near(&y, &what);
            expected.assert_near(&sums, &what);
        }
    }
}

fn check_backward(case: &Case, bf16: bool) {
    let (way, conv) = (case.way, &case.conv);
    let mut noise = Noise(way as u64 * 1009 + conv.out_channels as u64);
    let seen = case.images * case.height * case.width;
    let pixels = case.images * case.rows() * case.columns();
    let z = Matrix::noise(&mut noise, seen, conv.in_channels);
    let depth = conv.in_channels / conv.groups * case.taps();
    let weights = Matrix::noise(&mut noise, conv.out_channels, depth);
    let norm = Norm::noise(&mut noise, conv.in_channels);
    let normed = way % 2 == 1;
    let activation = ACTIVATIONS[way / 2 % ACTIVATIONS.len()];
    let d = Matrix::noise(&mut noise, pixels, conv.out_channels);
    let out = Matrix::noise(&mut noise, pixels, conv.out_channels);
    let mix = (way % 3 > 0).then(|| Mix::noise(&mut noise, conv.out_channels));
    let before = (way % 4 > 1).then_some(activation);
    let addend = (way % 5 < 2).then(|| Matrix::noise(&mut noise, seen, conv.in_channels));
    let scale: Option<Vec<_>> =
        (way % 7 == 3).then(|| (0..conv.in_channels).map(|_| noise.value()).collect());

    let normalised = norm.apply(&z);
    let x = Matrix::from_fn(seen, conv.in_channels, |row, channel| {
        let at = (row, channel);
        let value = if normed { normalised[at] } else { z[at] };
        value.activate(activation).operand(bf16)
    });
    let behind = mix.as_ref().map_or(d.clone(), |mix| mix.apply(&d, &out));
    let behind = Matrix::from_fn(pixels, conv.out_channels, |row, channel| {
        behind[(row, channel)].operand(bf16)
    });
    let mut dw = Matrix::zeros(conv.out_channels, depth);
    let mut dx = Matrix::zeros(seen, conv.in_channels);
    case.each(|output, input, weight| {
        let weight = (weight[0], weight[1]);
        let (output, input) = ((output[0], output[1]), (input[0], input[1]));
        dw[weight] += behind[output] * x[input];
        dx[input] += behind[output] * weights[weight];
    });
    let dx = Matrix::from_fn(seen, conv.in_channels, |row, channel| {
        let at = (row, channel);
        let mut value = dx[at];
        if let Some(activation) = before {
            value = value * normalised[at].slope(activation);
        }
        value
    });
    let add = |dx: &Matrix| {
        Matrix::from_fn(seen, conv.in_channels, |row, channel| {
            let at = (row, channel);
            let addend = addend.as_ref().map_or(Real::default(), |addend| addend[at]);
            dx[at] + addend
        })
    };
    let start = ExpectedSums::noise(&mut noise, conv.in_channels);
    let mut expected = start.clone();
    // With a scale, the sums are those of the product.
    let dx = if let Some(scale) = &scale {
        dx.add_sums(&z, &mut expected, 0);
        add(&Matrix::from_fn(seen, conv.in_channels, |row, channel| {
            dx[(row, channel)] * scale[channel]
        }))
    } else {
        let dx = add(&dx);
        dx.add_sums(&z, &mut expected, 0);
        dx
    };
    let scale = scale.as_ref().map(|scale| per_channel(scale));

    for (isa, shape) in shapes(case, bf16) {
        let what = format!("{} {case:?}", shape.isa);
        let [z, d] = [&z, &d].map(|matrix| Operand::of(isa, matrix));
        let out = mix.as_ref().map(|_| Operand::of(isa, &out));
        let dense = weights.dense();
        let mut packed = vec![NOTHING; shape.backward_length()];
        // The gradient may be added to itself.
        let target = addend.as_ref().map_or_else(
            || Operand::blank(isa, seen, conv.in_channels),
            |addend| Operand::of(isa, addend),
        );
        let mut scratch = Scratch::default();
        let mut sums = start.before();
        for with_target in [false, true] {
            let mut gradient = vec![NOTHING; dense.len()];
            // SAFETY: all operands have the shapes that the kernels require.
            unsafe {
                shape.pack_backward(Src::of(&dense), Dst::of(&mut packed));
                let operands = ConvBackward {
                    shape: &shape,
                    images: case.images,
                    source: Reading {
                        z: z.planes(),
                        norm: normed.then(|| norm.affine()),
                        activation,
                    },
                    behind: Behind {
                        d: d.planes(),
                        z: out.as_ref().map_or(d.planes(), Operand::planes),
                        norm: mix.as_ref().map(Mix::operand),
                    },
                    weights: Src::of(&packed),
                    gradient: Dst::of(&mut gradient),
                    target: with_target.then(|| InputTarget {
                        target: target.planes(),
                        before: before.map(|activation| Before {
                            z: z.planes(),
                            norm: norm.affine(),
                            activation,
                        }),
                        scale: scale.as_ref().map(|scale| Src::of(scale)),
                        addend: addend.as_ref().map(|_| target.planes()),
                        sums_with: Some(z.planes()),
                    }),
                };
                conv_backward(&operands, &mut scratch, Some(&mut sums));
            }
            dw.assert_dense(&gradient, &what);
        }
        target.assert_near(&dx, &what);
        expected.assert_near(&sums, &what);
    }
}

#[test]
fn adversarial_shapes() {
    let mut way = 0;
    let channels = if cfg!(miri) {
        &CHANNELS[..1]
    } else {
        &CHANNELS
    };
    for (index, &window) in WINDOWS.iter().enumerate() {
        for (other, &channels) in channels.iter().enumerate() {
            way += 11;
            let side = SIDES[(index + other) % SIDES.len()];
            if let Some(case) = Case::new(channels, window, side, way) {
                check(&case);
            }
        }
    }
}

#[test]
fn every_option() {
    // In groups products are f32.
    for channels in [[5, 18, 2], [21, 18, 1]] {
        for way in (0..120).step_by(STEP) {
            let window = WINDOWS[way % 2];
            if let Some(case) = Case::new(channels, window, [6, 5, 2], way) {
                check(&case);
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too large to interpret")]
fn images_that_are_cut_into_bands() {
    for (channels, window, side) in [
        ([256, 32, 1], WINDOWS[0], [40, 17, 1]),
        ([130, 48, 1], WINDOWS[1], [61, 24, 1]),
        ([64, 60, 4], WINDOWS[0], [30, 20, 2]),
        ([40, 300, 1], WINDOWS[2], [40, 30, 1]),
        ([200, 20, 1], WINDOWS[3], [9, 9, 13]),
    ] {
        let case = Case::new(channels, window, side, 5).unwrap();
        check(&case);
    }
}

proptest! {
    #![proptest_config(properties(32))]
    #[test]
    #[cfg_attr(miri, ignore = "too large to interpret")]
    fn any_shape(
        channels in [1usize..40, 1usize..40, 1usize..4],
        window in (1usize..6, 1usize..4, 0usize..4),
        side in [1usize..12, 1usize..20, 1usize..4],
        way in 0usize..120,
    ) {
        let (kernel, stride, pad) = window;
        let pad = if pad == 3 { Pad::Same } else { Pad::Zeros(pad) };
        if let Some(case) = Case::new(channels, (kernel, stride, pad), side, way) {
            check(&case);
        }
    }
}
