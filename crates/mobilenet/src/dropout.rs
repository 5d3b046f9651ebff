//! Dropout masks. They are the same for every executor and on every machine.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::TrainingStep;

/// Number of values per task.
const PIECE: usize = 8 * 1024;

/// A dropout mask: each value is zero with probability `dropout`, and otherwise
/// `1 / (1 - dropout)`, as in `torch.nn.Dropout`. Every step has a different mask. The probability
/// is exact to 2^-32.
pub(crate) fn dropout_mask(length: usize, dropout: f64, step: TrainingStep) -> Vec<f32> {
    let kept = (1.0 / (1.0 - dropout)) as f32;
    let threshold = (dropout * 2.0_f64.powi(32)) as u32;
    let mut mask = vec![0.0; length];
    let pieces = mask.par_chunks_mut(PIECE).enumerate();
    pieces.for_each(|(index, piece)| {
        let mut random = ChaCha8Rng::seed_from_u64(step.dropout_seed);
        random.set_stream(step.step);
        random.set_word_pos((index * PIECE) as u128);
        for number in piece {
            if random.next_u32() >= threshold {
                *number = kept;
            }
        }
    });
    mask
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
        let mask = dropout_mask(100_000, 0.2, step(0));
        let zeros = mask.iter().filter(|&&m| m == 0.0).count() as f64 / 1e5;
        assert!((zeros - 0.2).abs() < 0.005, "{zeros}");
        assert!(mask.iter().all(|&m| m == 0.0 || m == 1.25));
        assert_eq!(mask, dropout_mask(100_000, 0.2, step(0)));
        assert_ne!(mask, dropout_mask(100_000, 0.2, step(1)));
    }
}
