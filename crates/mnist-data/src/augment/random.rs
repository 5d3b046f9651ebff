//! The random numbers of one image in one epoch.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Purpose;

/// The image and epoch of a random change: all inputs of its random numbers.
///
/// Threads, batches and the order of decoding are not inputs, so they change no pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The number of the epoch.
    pub epoch: u64,
    /// The number of the sample, or of the batch for changes of whole batches.
    pub index: u64,
}

impl Draw {
    /// A generator for one purpose. Seed, epoch and index are its key, the purpose its stream. The
    /// last part of the key differs from those of shuffles, which end in zeroes.
    pub(crate) fn numbers(self, purpose: Purpose) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        key[16..24].copy_from_slice(&self.index.to_le_bytes());
        key[24..].copy_from_slice(b"augment\0");
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(purpose as u64);
        rng
    }
}

/// A number in `low..high` (or `low` where both are the same), uniformly.
pub(crate) fn uniform(rng: &mut impl Rng, [low, high]: [f64; 2]) -> f64 {
    // 53 bits are the most that an f64 below 1 holds.
    let unit = (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    low + (high - low) * unit
}

/// A number in `-limit..limit`.
pub(crate) fn around_zero(rng: &mut impl Rng, limit: f64) -> f64 {
    uniform(rng, [-limit, limit])
}

/// `true` with probability `p`.
pub(crate) fn chance(rng: &mut impl Rng, p: f64) -> bool {
    uniform(rng, [0.0, 1.0]) < p
}

/// The exponential of a uniform number between the logarithms of `low` and `high`: a ratio and its
/// reciprocal are equally likely.
pub(crate) fn log_uniform(rng: &mut impl Rng, [low, high]: [f64; 2]) -> f64 {
    uniform(rng, [low.ln(), high.ln()]).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_draw_gives_other_numbers() {
        let draw = Draw {
            seed: 1,
            epoch: 2,
            index: 3,
        };
        let first = |draw: Draw, purpose| draw.numbers(purpose).next_u64();
        let one = first(draw, Purpose::Affine);
        assert_eq!(first(draw, Purpose::Affine), one);
        for other in [
            first(draw, Purpose::VerticalFlip),
            first(Draw { seed: 2, ..draw }, Purpose::Affine),
            first(Draw { epoch: 3, ..draw }, Purpose::Affine),
            first(Draw { index: 4, ..draw }, Purpose::Affine),
        ] {
            assert_ne!(other, one);
        }
    }

    #[test]
    fn numbers_lie_where_they_should_and_average_in_the_middle() {
        let mut rng = Draw {
            seed: 0,
            epoch: 0,
            index: 0,
        }
        .numbers(Purpose::Mix);
        let numbers: Vec<f64> = (0..10_000).map(|_| uniform(&mut rng, [2.0, 6.0])).collect();
        assert!(numbers.iter().all(|number| (2.0..6.0).contains(number)));
        // Six standard deviations of a mean of 10,000.
        let mean = numbers.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 4.0).abs() < 0.07, "{mean}");
        let hits = (0..10_000).filter(|_| chance(&mut rng, 0.2)).count();
        assert!((1760..2240).contains(&hits), "{hits}");
        let above = (0..10_000).filter(|_| log_uniform(&mut rng, [0.5, 2.0]) > 1.0);
        assert!((4700..5300).contains(&above.count()));
        assert_eq!(uniform(&mut rng, [3.0, 3.0]), 3.0);
    }
}
