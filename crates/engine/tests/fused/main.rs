//! Tests the fused engine against a network in double precision, on every instruction set of this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod efficient;
mod infer;
mod nan;
mod reference;
mod train;

use std::sync::Arc;

use engine::{
    Activation, BatchNormSpec, BlockSpec, Fused, FusedOptions, HeadSpec, ImagePixels, Images, Isa,
    Naming, NetworkSpec, Padding, Plan, Role, SqueezeSpec,
};

/// Reproducible random numbers (Steele et al. 2014, SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A random number in the range.
    pub(crate) fn in_range(&mut self, range: std::ops::RangeInclusive<usize>) -> usize {
        range.start() + (self.bits() % (range.end() - range.start() + 1) as u64) as usize
    }

    pub(crate) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.in_range(0..=values.len() - 1)]
    }

    /// A random number in [-1, 1).
    pub(crate) fn number(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
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
    let hidden = random.in_range(1..=70);
    NetworkSpec {
        name: "random".into(),
        naming: random.one_of(&[Naming::MobileNetV2, Naming::MobileNetV3]),
        stem_channels,
        stem_stride: random.in_range(1..=2),
        padding: random.one_of(&[Padding::Symmetric, Padding::Same]),
        activation: random.one_of(&ACTIVATIONS),
        blocks,
        features: random.in_range(1..=80),
        head: HeadSpec {
            hidden: random.one_of(&[None, Some(hidden)]),
            dropout: 0.2,
            classes: random.in_range(1..=20),
        },
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

/// A network with random values for all parameters and statistics.
pub(crate) struct Case {
    pub(crate) plan: Arc<Plan>,
    pub(crate) parameters: Vec<f32>,
    pub(crate) statistics: Vec<f32>,
}

impl Case {
    pub(crate) fn new(plan: Plan, random: &mut Random) -> Self {
        let mut parameters = vec![0.0; plan.parameters.len()];
        for segment in plan.parameters.segments() {
            let inputs: usize = segment.shape[1..].iter().product();
            for value in &mut parameters[segment.range.clone()] {
                *value = match segment.role {
                    Role::NormWeight => 1.0 + 0.3 * random.number(),
                    Role::NormBias | Role::Bias => 0.3 * random.number(),
                    _ => random.number() * (6.0 / inputs as f32).sqrt(),
                };
            }
        }
        let mut statistics = vec![0.0; plan.statistics.len()];
        for segment in plan.statistics.segments() {
            for value in &mut statistics[segment.range.clone()] {
                *value = match segment.role {
                    Role::RunningVariance => 1.0 + 0.6 * random.number(),
                    _ => 0.3 * random.number(),
                };
            }
        }
        Case {
            plan: Arc::new(plan),
            parameters,
            statistics,
        }
    }

    pub(crate) fn engine(&self, isa: Isa, threads: usize) -> Fused {
        let options = FusedOptions {
            threads: Some(threads),
            isa: Some(isa),
        };
        Fused::new(Arc::clone(&self.plan), options).unwrap()
    }
}

/// Every instruction set of this processor, paired with `exact`. If it has a bf16 variant, that one is included too,
/// paired with `near`.
pub(crate) fn isas<T: Copy>(exact: T, near: T) -> Vec<(Isa, T)> {
    let bf16 = Isa::best().with_bf16().ok().map(|isa| (isa, near));
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

/// Asserts that the distance between both vectors is small relative to the length of the expected one.
pub(crate) fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let relative = distance(actual.iter().copied().map(f64::from), expected);
    assert!(
        relative <= tolerance,
        "{what}: off by {relative:e} of its length, more than {tolerance:e}"
    );
}

/// The distance of two vectors, relative to the length of the second.
pub(crate) fn distance(actual: impl Iterator<Item = f64>, expected: &[f64]) -> f64 {
    let squares = actual.zip(expected).map(|(a, e)| (a - e).powi(2));
    let length: f64 = expected.iter().map(|e| e.powi(2)).sum();
    (squares.sum::<f64>() / length.max(1e-30)).sqrt()
}
