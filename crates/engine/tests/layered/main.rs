//! Tests the general engine against a network in double precision, on every instruction set of this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod infer;
mod networks;
mod reference;
mod train;

use std::sync::Arc;

use engine::{FusedOptions, Isa, Layered, Plan, Role};

/// Reproducible random numbers (Steele et al. 2014, SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A random number in [-1, 1).
    pub(crate) fn number(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

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

    pub(crate) fn engine(&self, isa: Isa, threads: usize) -> Layered {
        let options = FusedOptions {
            threads: Some(threads),
            isa: Some(isa),
        };
        Layered::new(Arc::clone(&self.plan), options).unwrap()
    }
}

/// Asserts that the distance between both vectors is small relative to the length of the expected one.
pub(crate) fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let pairs = actual.iter().zip(expected);
    let squares = pairs.map(|(a, e)| (f64::from(*a) - e).powi(2));
    let length: f64 = expected.iter().map(|e| e.powi(2)).sum();
    let relative = (squares.sum::<f64>() / length.max(1e-30)).sqrt();
    assert!(
        relative <= tolerance,
        "{what}: off by {relative:e} of its length, more than {tolerance:e}"
    );
}
