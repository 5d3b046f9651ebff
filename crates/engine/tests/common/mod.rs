//! What the tests of both engines share: random networks, a map in double precision, comparisons.

use std::sync::Arc;

use engine::{CpuEngine, FusedOptions, Isa, Plan, Role};

/// Reproducible random numbers (Steele et al. 2014, SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A random number in [-1, 1).
    pub(crate) fn number(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Random numbers in [-scale, scale).
    pub(crate) fn numbers(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| scale * self.number()).collect()
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

    pub(crate) fn engine<E: CpuEngine>(&self, isa: Isa, threads: usize) -> E {
        let options = FusedOptions {
            threads: Some(threads),
            isa: Some(isa),
        };
        E::new(Arc::clone(&self.plan), options).unwrap()
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

/// Activations, `[images][height][width][channels]`.
#[derive(Clone)]
pub(crate) struct Map {
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) values: Vec<f64>,
}

impl Map {
    pub(crate) fn zeros(images: usize, (height, width): (usize, usize), channels: usize) -> Map {
        let values = vec![0.0; images * height * width * channels];
        Map {
            images,
            height,
            width,
            channels,
            values,
        }
    }

    pub(crate) fn at(&self, image: usize, y: usize, x: usize, channel: usize) -> usize {
        ((image * self.height + y) * self.width + x) * self.channels + channel
    }
}

/// The results of a forward pass.
pub(crate) struct Output {
    /// The logits, `[n][classes]`.
    pub(crate) logits: Vec<f64>,
    /// Pooled features, `[n][features]`.
    pub(crate) features: Vec<f64>,
    /// The values of all running statistics after the pass: updated in training, unchanged in
    /// evaluation.
    pub(crate) statistics: Vec<f64>,
}
