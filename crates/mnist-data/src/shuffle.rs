//! Shuffles that are the same on every machine and for every version of the random-number crates:
//! ChaCha8 with an explicit key, and our own unbiased Fisher–Yates.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Shuffles `items`. Each `(seed, stream)` gives a different shuffle.
pub(crate) fn shuffle<T>(items: &mut [T], seed: u64, stream: u64) {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(stream);
    shuffle_by(items, &mut rng);
}

/// Shuffles `items` with the next numbers of `rng`.
pub(crate) fn shuffle_by<T>(items: &mut [T], rng: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        let other = below(rng, last as u64 + 1);
        items.swap(last, other as usize);
    }
}

/// A uniform number below `bound`. Numbers beyond the largest multiple of `bound` are drawn again.
pub(crate) fn below(rng: &mut impl Rng, bound: u64) -> u64 {
    let fair = u64::MAX - u64::MAX % bound;
    loop {
        let drawn = rng.next_u64();
        if drawn < fair {
            return drawn % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(count: usize, seed: u64, stream: u64) -> Vec<usize> {
        let mut items: Vec<usize> = (0..count).collect();
        shuffle(&mut items, seed, stream);
        items
    }

    #[test]
    fn is_a_permutation_that_seed_and_stream_decide() {
        let one = shuffled(100, 7, 0);
        let mut sorted = one.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(one, shuffled(100, 7, 0));
        assert_ne!(one, shuffled(100, 7, 1));
        assert_ne!(one, shuffled(100, 8, 0));
    }

    #[test]
    fn never_changes_from_version_to_version() {
        // The expected order is from another implementation of ChaCha8, in Python. A run must be repeatable years
        // later.
        assert_eq!(shuffled(10, 42, 3), [8, 3, 9, 4, 5, 0, 2, 7, 1, 6]);
    }

    #[test]
    fn every_place_is_equally_likely() {
        let mut first = [0_u32; 4];
        for seed in 0..4000 {
            first[shuffled(4, seed, 0)[0]] += 1;
        }
        // The bounds are six standard deviations around 1000.
        assert!(
            first.iter().all(|&count| (836..1164).contains(&count)),
            "{first:?}"
        );
    }
}
