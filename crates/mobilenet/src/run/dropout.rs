//! Dropout masks. They are the same for every executor and on every machine.

use engine::Plan;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::TrainingStep;

/// Number of values per task.
const PIECE: usize = 8 * 1024;

/// The mask of a dropout in the head; see [`layer_mask`].
pub(crate) fn dropout_mask(length: usize, dropout: f64, step: TrainingStep) -> Vec<f32> {
    mask(length, dropout, step, 0)
}

/// The mask of layer `index`: each value is zero with probability `rate`, and otherwise
/// `1 / (1 - rate)`, as in `torch.nn.Dropout`, and with one value per image as in torchvision's
/// `StochasticDepth` of mode `row`. Every step and every layer has a different mask. The probability
/// is exact to 2^-32.
pub(crate) fn layer_mask(
    plan: &Plan,
    index: usize,
    length: usize,
    rate: f64,
    step: TrainingStep,
) -> Vec<f32> {
    // The random numbers of a step are one stream. Those of the head begin at 0, those of other
    // layers 2^40 numbers apart.
    let head = index > plan.features;
    let place = if head { 0 } else { (index as u128) << 40 };
    mask(length, rate, step, place)
}

fn mask(length: usize, rate: f64, step: TrainingStep, place: u128) -> Vec<f32> {
    let kept = (1.0 / (1.0 - rate)) as f32;
    let threshold = (rate * 2.0_f64.powi(32)) as u32;
    let mut values = vec![0.0; length];
    let pieces = values.par_chunks_mut(PIECE).enumerate();
    pieces.for_each(|(index, piece)| {
        let mut random = ChaCha8Rng::seed_from_u64(step.dropout_seed);
        random.set_stream(step.step);
        random.set_word_pos(place + (index * PIECE) as u128);
        let mut bytes = [0; 1024];
        for numbers in piece.chunks_mut(bytes.len() / 4) {
            random.fill_bytes(&mut bytes);
            for (number, word) in numbers.iter_mut().zip(bytes.as_chunks().0) {
                if u32::from_le_bytes(*word) >= threshold {
                    *number = kept;
                }
            }
        }
    });
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_zeros_and_the_mean_are_right() {
        let step = |step| TrainingStep {
            dropout_seed: 1,
            step,
            freeze_backbone: false,
        };
        let found = dropout_mask(100_000, 0.2, step(0));
        let zeros = found.iter().filter(|&&m| m == 0.0).count() as f64 / 1e5;
        assert!((zeros - 0.2).abs() < 0.005, "{zeros}");
        assert!(found.iter().all(|&m| m == 0.0 || m == 1.25));
        assert_eq!(found, dropout_mask(100_000, 0.2, step(0)));
        assert_ne!(found, dropout_mask(100_000, 0.2, step(1)));
        assert_ne!(found, mask(100_000, 0.2, step(0), 1 << 40));
    }
}
