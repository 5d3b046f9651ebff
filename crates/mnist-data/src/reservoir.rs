//! Draws some items of a stream whose length is unknown.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::shuffle::below;

/// A uniform draw without replacement from a stream, in memory for the drawn items alone (Vitter's algorithm R, 1985).
///
/// The draw depends on the seed and on the number of items, and is the same on every machine.
///
/// ```
/// use mnist_data::Reservoir;
///
/// let mut drawn = Reservoir::new(3, 0);
/// (0..1000).for_each(|number| drawn.offer(|| number));
/// let drawn = drawn.into_items();
/// assert_eq!(drawn.len(), 3);
/// assert!(drawn.is_sorted());
/// ```
#[derive(Clone, Debug)]
pub struct Reservoir<T> {
    /// The drawn items, each with its place in the stream.
    drawn: Vec<(u64, T)>,
    count: usize,
    offered: u64,
    rng: ChaCha8Rng,
}

impl<T> Reservoir<T> {
    /// A draw of `count` items, or of all items if there are fewer.
    #[must_use]
    pub fn new(count: usize, seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            drawn: Vec::new(),
            count,
            offered: 0,
            rng: ChaCha8Rng::from_seed(key),
        }
    }

    /// Offers the next item of the stream. `make` is called only if the item is drawn; a later item may replace it.
    pub fn offer(&mut self, make: impl FnOnce() -> T) {
        let place = self.offered;
        self.offered += 1;
        if self.drawn.len() < self.count {
            self.drawn.push((place, make()));
            return;
        }
        let slot = below(&mut self.rng, self.offered);
        if let Some(slot) = usize::try_from(slot)
            .ok()
            .and_then(|slot| self.drawn.get_mut(slot))
        {
            *slot = (place, make());
        }
    }

    /// The number of items that were offered.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.offered
    }

    /// The drawn items, in the order of the stream.
    #[must_use]
    pub fn into_items(mut self) -> Vec<T> {
        self.drawn.sort_unstable_by_key(|&(place, _)| place);
        self.drawn.into_iter().map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(count: usize, of: u64, seed: u64) -> Vec<u64> {
        let mut reservoir = Reservoir::new(count, seed);
        (0..of).for_each(|number| reservoir.offer(|| number));
        assert_eq!(reservoir.offered(), of);
        reservoir.into_items()
    }

    #[test]
    fn every_item_is_equally_likely() {
        let mut counts = [0_u32; 10];
        for seed in 0..4000 {
            let items = drawn(3, 10, seed);
            assert!(
                items.len() == 3 && items.is_sorted_by(|a, b| a < b),
                "{items:?}"
            );
            items.iter().for_each(|&item| counts[item as usize] += 1);
        }
        // Expected are 1200; the bounds are six standard deviations, sqrt(4000 · 0.3 · 0.7) = 29 each.
        assert!(
            counts.iter().all(|count| (1026..1374).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn the_seed_decides_and_short_streams_are_drawn_whole() {
        assert_eq!(drawn(5, 1000, 7), drawn(5, 1000, 7));
        assert_ne!(drawn(5, 1000, 7), drawn(5, 1000, 8));
        assert_eq!(drawn(5, 3, 0), [0, 1, 2]);
        assert_eq!(drawn(0, 3, 0), [0; 0]);
    }
}
