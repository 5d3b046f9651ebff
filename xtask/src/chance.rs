//! Random numbers.

use std::ops::Range;
use std::time::Duration;

/// Random numbers that depend on the seed only: SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `range`, which is not empty.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// A time below `most`.
    pub(crate) fn time(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.within(0..1_000_000) as f64 / 1e6)
    }

    /// One of these, which are not empty.
    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }

    /// A number below `length`, or 0 if that is 0.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.within(0..length.max(1) as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_depends_on_the_seed_only() {
        // The first numbers of SplitMix64 with seed 0, from its reference implementation.
        let mut chance = Chance::new(0);
        assert_eq!(chance.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(chance.next(), 0x6e78_9e6a_a1b9_65f4);
        assert!((0..100).all(|_| (3..5).contains(&chance.within(3..5))));
    }
}
