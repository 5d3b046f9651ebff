//! Tests the fused engine against a network in double precision, on every instruction set of this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod efficient;
mod infer;
mod nan;
mod reference;
#[allow(
    unsafe_code,
    reason = "it emulates instructions that this processor lacks"
)]
#[path = "../common/tiles.rs"]
mod tiles;
mod train;

use engine::{
    Activation, BatchNormSpec, BlockSpec, HeadSpec, ImagePixels, Images, Isa, Naming, NetworkSpec,
    Padding, Plan, SqueezeSpec,
};

use common::Random;

impl Random {
    /// A random number in the range.
    pub(crate) fn in_range(&mut self, range: std::ops::RangeInclusive<usize>) -> usize {
        range.start() + (self.bits() % (range.end() - range.start() + 1) as u64) as usize
    }

    pub(crate) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.in_range(0..=values.len() - 1)]
    }
}

const ACTIVATIONS: [Activation; 3] = [Activation::Relu, Activation::Relu6, Activation::Hardswish];

/// A small network with blocks of every kind.
fn random_spec(random: &mut Random) -> NetworkSpec {
    let stem_channels = random.in_range(1..=20);
    let mut channels = stem_channels;
    let blocks = (0..random.in_range(1..=5))
        .map(|_| {
            let in_channels = channels;
            let stride = random.in_range(1..=2);
            let expansion = random.one_of(&[true, true, false]);
            let expanded = if expansion {
                random.one_of(&[in_channels, in_channels + 9, random.0 as usize % 70 + 1])
            } else {
                in_channels
            };
            let out = random.in_range(1..=40);
            channels = if stride == 1 {
                random.one_of(&[in_channels, out])
            } else {
                out
            };
            let squeeze = SqueezeSpec {
                hidden: random.in_range(1..=20),
                before_activation: random.one_of(&[false, true]),
            };
            BlockSpec {
                in_channels,
                expansion,
                expanded,
                out_channels: channels,
                kernel: random.one_of(&[3, 5]),
                stride,
                squeeze: random.one_of(&[None, Some(squeeze)]),
                activation: random.one_of(&ACTIVATIONS),
            }
        })
        .collect();
    // The threads share the head's layers if they are wide.
    let [hidden, features] = [(); 2].map(|()| {
        let more = random.one_of(&[0, 0, 250]);
        more + random.in_range(1..=70)
    });
    NetworkSpec {
        name: "random".into(),
        naming: random.one_of(&[Naming::MobileNetV2, Naming::MobileNetV3]),
        stem_channels,
        stem_stride: random.in_range(1..=2),
        padding: random.one_of(&[Padding::Symmetric, Padding::Same]),
        activation: random.one_of(&ACTIVATIONS),
        blocks,
        features,
        head: HeadSpec {
            hidden: random.one_of(&[None, Some(hidden)]),
            dropout: 0.2,
            classes: random.in_range(1..=20),
        },
        drop_path: 0.0,
        batch_norm: BatchNormSpec {
            epsilon: 1e-3,
            momentum: 0.01,
        },
    }
}

/// A small network of this kind, or one of the kind of EfficientNet.
pub(crate) fn random_plan(random: &mut Random) -> Plan {
    if random.one_of(&[true, false]) {
        random_spec(random).plan().unwrap()
    } else {
        efficient::plan(random)
    }
}

/// Every instruction set of this processor, paired with `exact`, and those with activations in bf16, paired with `near`.
pub(crate) fn isas<T: Copy>(exact: T, near: T) -> Vec<(Isa, T)> {
    let bf16 = tiles::with_amx(Isa::best())
        .into_iter()
        .map(|isa| (isa, near));
    let f32 = Isa::available().into_iter().map(|isa| (isa, exact));
    f32.chain(bf16).collect()
}

/// Images as bytes, a table of each byte's value, and the resulting pixels.
pub(crate) struct Bytes {
    pub(crate) bytes: Vec<u8>,
    pub(crate) table: [[f32; 256]; 3],
    pub(crate) values: Vec<f32>,
}

impl Bytes {
    /// Random images of shape `(count, height, width)`.
    pub(crate) fn new(random: &mut Random, (count, height, width): (usize, usize, usize)) -> Self {
        let table: [[f32; 256]; 3] =
            std::array::from_fn(|_| std::array::from_fn(|_| 2.0 * random.number()));
        let bytes: Vec<u8> = (0..count * height * width * 3)
            .map(|_| random.in_range(0..=255) as u8)
            .collect();
        let values = (bytes.iter().enumerate())
            .map(|(index, byte)| table[index % 3][usize::from(*byte)])
            .collect();
        Bytes {
            bytes,
            table,
            values,
        }
    }
}

/// Images of shape `(count, height, width)` with these pixels.
pub(crate) fn images((count, height, width): (usize, usize, usize), pixels: &[f32]) -> Images<'_> {
    Images {
        count,
        height,
        width,
        pixels: ImagePixels::F32(pixels),
    }
}
