//! Benchmarks of each kernel on every instruction set of this machine, at shapes of MobileNetV3:
//! `cargo bench -p engine`, or for one kernel `cargo bench -p engine -- product`. Private modules are compiled in here.

#![allow(unsafe_code, unreachable_pub, missing_docs, unused)]

#[path = "../src/fused/mod.rs"]
mod fused;
#[path = "../src/interface/mod.rs"]
mod interface;
#[path = "../src/isa.rs"]
mod isa;
#[path = "../src/kernels/mod.rs"]
mod kernels;
#[path = "../src/layered/mod.rs"]
mod layered;
#[path = "../src/memory.rs"]
mod memory;
#[path = "../src/network/mod.rs"]
mod network;
#[path = "../src/program/mod.rs"]
mod program;
#[path = "../src/sigmoid.rs"]
mod sigmoid;
#[path = "../src/simd/mod.rs"]
mod simd;
#[path = "../src/spec.rs"]
mod spec;
#[path = "../src/team.rs"]
mod team;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use isa::Isa;
use kernels::*;
use layered::conv::{ConvBackward, ConvForward, ConvShape, Scratch, conv_backward, conv_forward};
use memory::{Buffer, Planes, Src, Tensor, padded, planes};
use network::{Conv, Window};
use simd::LANES;
use spec::{Activation, Padding};

const ACTIVATION: Activation = Activation::Hardswish;

/// Measures `run` on every instruction set. `work` is the number of multiplications, or of values that `run` writes.
fn each_isa(criterion: &mut Criterion, name: &str, work: usize, mut run: impl FnMut(Isa)) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(work as u64));
    for isa in Isa::available() {
        group.bench_function(BenchmarkId::from_parameter(isa), |bench| {
            bench.iter(|| run(isa));
        });
    }
    group.finish();
}

/// Per-channel coefficients of a batch normalisation or of its backward pass.
struct Channels(Buffer);

impl Channels {
    fn new(channels: usize) -> Self {
        Channels(Buffer::new(padded(channels)))
    }

    fn affine(&self) -> Affine {
        Affine {
            scale: self.0.src(),
            shift: self.0.src(),
        }
    }

    fn backward(&self) -> NormBackward {
        NormBackward {
            a: self.0.src(),
            b: self.0.src(),
            c: self.0.src(),
        }
    }
}

fn sums(channels: usize) -> Sums {
    let mut sums = Sums::default();
    sums.reset(padded(channels));
    sums
}

/// The 1×1 convolutions of a 14×14 block that expands 112 channels to 672.
fn products(criterion: &mut Criterion) {
    let (rows, narrow, wide) = (196, 112, 672);
    for (inputs, outputs) in [(narrow, wide), (wide, narrow)] {
        let shape = format!("{rows} x {inputs} x {outputs}");
        let work = rows * inputs * outputs;
        let (a, c) = (Tensor::new(inputs, rows), Tensor::new(outputs, rows));
        let packed = Buffer::new(padded(inputs) * padded(outputs));
        let weights = Buffer::new(inputs * outputs);
        let operands = Product {
            rows,
            depth: inputs,
            columns: outputs,
            a: a.planes(),
            b: Weights::Packed(packed.src()),
            c: c.planes(),
            next: NextRows::NONE,
        };
        // SAFETY, here and below: every operand has the shape that the kernel requires.
        each_isa(criterion, &format!("product {shape}"), work, |isa| unsafe {
            product(isa, &operands, &Epilogue::NONE);
        });
        let operands = WeightGradient {
            rows,
            inputs,
            outputs: (0, outputs),
            a: a.planes(),
            d: c.planes(),
            ranks: None,
            gradient: weights.dst(),
            accumulate: true,
            next: NextRows::NONE,
        };
        let name = format!("weight_gradient {shape}");
        each_isa(criterion, &name, work, |isa| unsafe {
            weight_gradient(isa, &operands);
        });
        let (from, to) = (weights.src(), packed.dst());
        let count = inputs * outputs;
        each_isa(
            criterion,
            &format!("pack_outputs {shape}"),
            count,
            |isa| unsafe {
                pack_outputs(isa, outputs, inputs, from, to);
            },
        );
        each_isa(
            criterion,
            &format!("pack_inputs {shape}"),
            count,
            |isa| unsafe {
                pack_inputs(isa, outputs, inputs, from, to);
            },
        );
    }
}

/// Batch normalisation and activation of a block of rows, as input of a matrix product.
fn elementwise(criterion: &mut Criterion) {
    let (rows, channels) = (48, 672);
    let (planes, work) = (planes(channels), rows * channels);
    let tensors = [(); 4].map(|()| Tensor::new(channels, rows));
    let [d, z, other, target] = tensors.each_ref().map(Tensor::planes);
    let numbers = Channels::new(channels);
    let (norm, mix) = (numbers.affine(), numbers.backward());
    let activate = ActivateRows {
        rows,
        planes,
        z,
        norm,
        activation: ACTIVATION,
        factors: None,
        target,
    };
    each_isa(criterion, "activate_rows", work, |isa| unsafe {
        activate_rows(isa, &activate);
    });
    let normalise = NormaliseRows {
        rows,
        planes,
        z,
        norm,
        residual: Some(other),
        target,
    };
    each_isa(criterion, "normalise_rows", work, |isa| unsafe {
        normalise_rows(isa, &normalise);
    });
    each_isa(criterion, "combine", work, |isa| unsafe {
        combine(isa, rows, planes, d, z, mix, target);
    });
    let backward = ActivationBackward {
        rows,
        planes,
        d,
        z,
        norm,
        activation: ACTIVATION,
        target,
    };
    let mut totals = sums(channels);
    each_isa(criterion, "activation_backward", work, |isa| unsafe {
        activation_backward(isa, &backward, &mut totals);
    });
    each_isa(criterion, "channel_sums", work, |isa| unsafe {
        channel_sums(isa, rows, planes, d, z, &mut totals);
    });
}

/// Squeeze-excite on four 14×14 feature maps.
fn pooled(criterion: &mut Criterion) {
    let (images, pixels, channels) = (4, 196, 672);
    let rows = images * pixels;
    let (planes, work) = (planes(channels), rows * channels);
    let tensors = [(); 3].map(|()| Tensor::new(channels, rows));
    let [d, z, target] = tensors.each_ref().map(Tensor::planes);
    let factors = [(); 2].map(|()| Tensor::new(channels, images));
    let [factors, averages] = factors.each_ref().map(Tensor::planes);
    let numbers = Channels::new(channels);
    let norm = numbers.affine();
    let mut totals = sums(channels);
    each_isa(criterion, "average", work, |isa| unsafe {
        average(isa, images, pixels, planes, z, norm, ACTIVATION, averages);
    });
    each_isa(criterion, "average_backward", work, |isa| unsafe {
        let (d, totals) = (averages, &mut totals);
        average_backward(
            isa, images, pixels, planes, d, z, norm, ACTIVATION, target, totals,
        );
    });
    let block = Images {
        first_row: 0,
        pixels,
    };
    each_isa(criterion, "factor_gradient", work, |isa| unsafe {
        factor_gradient(isa, rows, planes, block, d, z, norm, ACTIVATION, factors);
    });
    let backward = SqueezeBackward {
        images,
        pixels,
        planes,
        d,
        z,
        norm,
        activation: ACTIVATION,
        factors,
        averages,
        target,
    };
    each_isa(criterion, "squeeze_backward", work, |isa| unsafe {
        squeeze_backward(isa, &backward, &mut totals);
    });
    each_isa(criterion, "image_averages", work, |isa| unsafe {
        image_averages(isa, images, pixels, planes, z, averages);
    });
    each_isa(criterion, "multiply_rows", work, |isa| unsafe {
        multiply_rows(
            isa,
            rows,
            planes,
            block,
            factors,
            Activation::Identity,
            target,
        );
    });
}

/// Depthwise convolution of one plane (16 channels) of a feature map.
fn depthwise(criterion: &mut Criterion) {
    for (size, kernel, stride) in [
        (56_usize, 3, 1),
        (56, 5, 2),
        (14, 3, 1),
        (14, 5, 1),
        (7, 5, 1),
    ] {
        let shape = format!("{size} px {kernel} x {kernel} / {stride}");
        let outputs = size.div_ceil(stride) * size.div_ceil(stride);
        let work = outputs * kernel * kernel * LANES;
        let [source, target] = [(); 2].map(|()| Tensor::new(LANES, size * size));
        let [d, z] = [(); 2].map(|()| Tensor::new(LANES, outputs));
        let [taps, gradient] = [(); 2].map(|()| Buffer::new(kernel * kernel * LANES));
        let (numbers, ring) = (Channels::new(LANES), Buffer::new(ring_length(size)));
        let mut totals = sums(LANES);
        let forward = DepthwiseForward {
            images: 1,
            height: size,
            width: size,
            kernel,
            stride,
            zeros: Padding::Symmetric.zeros((size, size), kernel, stride),
            source: source.planes().src(),
            norm: Some(numbers.affine()),
            activation: ACTIVATION,
            taps: taps.src(),
            target: z.planes().start,
            stream: false,
            ring: ring.dst(),
        };
        each_isa(
            criterion,
            &format!("depthwise_forward {shape}"),
            work,
            |isa| unsafe {
                depthwise_forward(isa, &forward, &mut totals, 0);
            },
        );
        let backward = DepthwiseBackward {
            images: 1,
            height: size,
            width: size,
            kernel,
            stride,
            zeros: Padding::Symmetric.zeros((size, size), kernel, stride),
            source: source.planes().src(),
            norm: Some(numbers.affine()),
            activation: ACTIVATION,
            taps: taps.src(),
            d: d.planes().src(),
            z: z.planes().src(),
            output_norm: numbers.backward(),
            residual: None,
            target: target.planes().start,
            stream: false,
            taps_gradient: gradient.dst(),
            ring: ring.dst(),
        };
        each_isa(
            criterion,
            &format!("depthwise_backward {shape}"),
            2 * work,
            |isa| unsafe {
                depthwise_backward(isa, &backward, &mut totals, 0);
            },
        );
    }
}

/// Depthwise convolution of eight 2×2 feature maps at once, as in the last layers on small images.
fn depthwise_small(criterion: &mut Criterion) {
    let (images, size, kernel, channels) = (8, 2, 5, 960);
    let rows = images * size * size;
    let [source, target] = [(); 2].map(|()| Tensor::new(channels, rows));
    let taps = Buffer::new(padded(channels) * kernel * kernel);
    let bias = Buffer::new(padded(channels));
    let operands = DepthwiseImages {
        images,
        planes: planes(channels),
        height: size,
        width: size,
        kernel,
        stride: 1,
        zeros: Padding::Symmetric.zeros((size, size), kernel, 1),
        source: source.planes(),
        taps: taps.src(),
        bias: bias.src(),
        activation: ACTIVATION,
        target: target.planes(),
    };
    each_isa(
        criterion,
        "depthwise_images",
        rows * channels,
        |isa| unsafe {
            depthwise_images(isa, &operands);
        },
    );
}

/// The first convolution of a 224×224 image.
fn stem(criterion: &mut Criterion) {
    let (size, stride) = (224, 2);
    let outputs = (size / stride) * (size / stride);
    let work = outputs * TAPS * LANES;
    let pixels = vec![0.0; size * size * 3];
    let [d, z] = [(); 2].map(|()| Tensor::new(LANES, outputs));
    let [taps, gradient] = [(); 2].map(|()| Buffer::new(TAPS * LANES));
    let scratch = Buffer::new(Stem::scratch_length(size));
    let (numbers, mut totals) = (Channels::new(LANES), sums(LANES));
    let operands = Stem {
        images: 1,
        height: size,
        width: size,
        stride,
        zeros: Padding::Symmetric.zeros((size, size), 3, stride),
        planes: 1,
        taps: taps.src(),
        scratch: scratch.dst(),
    };
    let (d, z, pixels) = (d.planes(), z.planes(), Pixels::F32(&pixels));
    each_isa(criterion, "stem_forward", work, |isa| unsafe {
        stem_forward(isa, &operands, pixels, z, &mut totals);
    });
    each_isa(criterion, "stem_backward", work, |isa| unsafe {
        let (norm, gradient) = (numbers.backward(), gradient.dst());
        stem_backward(isa, &operands, pixels, d, z, norm, gradient);
    });
}

/// 3×3 convolutions of one image: of ResNet-50, and in groups of 8 of RegNet.
fn convolutions(criterion: &mut Criterion) {
    for (channels, groups) in [(256, 1), (208, 26)] {
        let conv = Conv {
            in_channels: channels,
            out_channels: channels,
            window: Window::new(3),
            groups,
            weight: 0,
            bias: None,
        };
        let name = format!("14 x 14 x {channels}, {groups} groups");
        let weights = 9 * channels * channels / groups;
        let work = 196 * weights;
        let [z, y] = [(); 2].map(|()| Tensor::new(channels, 196));
        // In groups, 8 of the 16 weights of a channel are 0.
        let [packed, gradient] = [2 * weights, weights].map(Buffer::new);
        let (d, mut scratch) = (y.planes(), Scratch::default());
        let behind = Behind {
            d,
            z: d,
            norm: None,
        };
        each_isa(criterion, &format!("conv {name}"), work, |isa| {
            let operands = ConvForward {
                shape: &ConvShape::new(isa, &conv, 14, 14),
                images: 1,
                source: Reading::plain(z.planes()),
                weights: packed.src(),
                target: y.planes(),
                bias: None,
                addend: None,
                activation: Activation::Identity,
                part: None,
            };
            unsafe { conv_forward(&operands, &mut scratch, None) };
        });
        each_isa(criterion, &format!("conv weights {name}"), work, |isa| {
            let operands = ConvBackward {
                shape: &ConvShape::new(isa, &conv, 14, 14),
                images: 1,
                source: Reading::plain(z.planes()),
                behind,
                weights: packed.src(),
                gradient: gradient.dst(),
                target: None,
            };
            unsafe { conv_backward(&operands, &mut scratch, None) };
        });
    }
}

criterion_group!(
    benches,
    products,
    elementwise,
    pooled,
    depthwise,
    depthwise_small,
    stem,
    convolutions
);
criterion_main!(benches);
