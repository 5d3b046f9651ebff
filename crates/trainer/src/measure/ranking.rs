//! Scores of a ranking of the images by the probability of one class: ROC and precision–recall curves and their areas.

/// The most points of a curve.
pub(super) const POINTS: usize = 200;

/// The images of one class against all others, ranked by the probability of that class. Images with equal
/// probabilities share a step.
pub(super) struct Ranking {
    /// After each step, from the largest probability down: the number of images so far of other classes and of the
    /// class.
    steps: Vec<[u64; 2]>,
}

impl Ranking {
    /// Ranks images, each given by its probability and whether it is of the class.
    pub(super) fn of(images: impl Iterator<Item = (f32, bool)>) -> Self {
        // The bits of numbers from 0 to 1 rise with the numbers. `+ 0.0` makes a negative zero positive.
        let key = |(value, is_of_class): (f32, bool)| {
            ((value.clamp(0.0, 1.0) + 0.0).to_bits() << 1) | u32::from(is_of_class)
        };
        let mut keys: Vec<u32> = images.map(key).collect();
        keys.sort_unstable();
        let mut steps = Vec::new();
        let mut counts = [0; 2];
        for (index, &key) in keys.iter().enumerate().rev() {
            counts[(key & 1) as usize] += 1;
            let is_last = index == 0 || keys[index - 1] >> 1 != key >> 1;
            if is_last {
                steps.push(counts);
            }
        }
        Self { steps }
    }

    /// The number of images of other classes, and of the class.
    fn totals(&self) -> [u64; 2] {
        self.steps.last().copied().unwrap_or_default()
    }

    /// The area under the ROC curve: the share of pairs of an image of the class and another one in which the first has
    /// the larger probability; equal ones count half. `None` without such pairs.
    pub(super) fn roc_auc(&self) -> Option<f64> {
        let [others, own] = self.totals();
        let (mut twice, mut before) = (0_u128, [0, 0]);
        for &step in &self.steps {
            twice += u128::from(step[0] - before[0]) * u128::from(step[1] + before[1]);
            before = step;
        }
        let pairs = u128::from(others) * u128::from(own);
        (pairs > 0).then(|| twice as f64 / (2 * pairs) as f64)
    }

    /// Average precision: the sum over the steps of the gain in recall times the precision. `None` if no image is of the
    /// class.
    pub(super) fn average_precision(&self) -> Option<f64> {
        let [_, own] = self.totals();
        let (mut sum, mut before) = (0.0, 0);
        for &[others, hits] in &self.steps {
            sum += (hits - before) as f64 * (hits as f64 / (hits + others) as f64);
            before = hits;
        }
        (own > 0).then(|| sum / own as f64)
    }

    /// The ROC curve, (false-positive rate, true-positive rate) from (0, 0) to (1, 1). Empty where it is undefined, as
    /// [`roc_auc`](Self::roc_auc).
    pub(super) fn roc(&self) -> Vec<[f64; 2]> {
        let [others, own] = self.totals();
        if others == 0 || own == 0 {
            return Vec::new();
        }
        let rate = |&[a, b]: &[u64; 2]| [a as f64 / others as f64, b as f64 / own as f64];
        let curve = [[0.0, 0.0]].into_iter().chain(self.steps.iter().map(rate));
        thinned(curve.collect(), |[x, y]| x + y)
    }

    /// The precision–recall curve, (recall, precision) by rising recall from (0, 1). Empty where it is undefined, as
    /// [`average_precision`](Self::average_precision).
    pub(super) fn precision_recall(&self) -> Vec<[f64; 2]> {
        let [_, own] = self.totals();
        if own == 0 {
            return Vec::new();
        }
        let of = |&[others, hits]: &[u64; 2]| {
            [
                hits as f64 / own as f64,
                hits as f64 / (hits + others) as f64,
            ]
        };
        let curve = [[0.0, 1.0]].into_iter().chain(self.steps.iter().map(of));
        thinned(curve.collect(), |[recall, _]| recall)
    }
}

/// At most [`POINTS`] points of a curve, evenly spaced by `place`, which never falls along the curve. Of points with
/// the same place, the first is kept.
fn thinned(curve: Vec<[f64; 2]>, place: impl Fn([f64; 2]) -> f64) -> Vec<[f64; 2]> {
    let (true, Some(&last)) = (curve.len() > POINTS, curve.last()) else {
        return curve;
    };
    let end = place(last);
    let mut next = 0;
    let mut kept = Vec::with_capacity(POINTS);
    for point in curve {
        if place(point) >= end * next as f64 / (POINTS - 1) as f64 && next < POINTS {
            while next < POINTS && place(point) >= end * next as f64 / (POINTS - 1) as f64 {
                next += 1;
            }
            kept.push(point);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use rand::RngExt;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    /// Images whose probabilities have `levels` values, so that few levels give many ties.
    fn images(count: usize, levels: u32, share: f64, seed: u64) -> Vec<(f32, bool)> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let image = |_| {
            let is_of_class = random.random_bool(share);
            let value = random.random_range(0..=levels) as f32 / levels as f32;
            (if is_of_class { value.sqrt() } else { value }, is_of_class)
        };
        (0..count).map(image).collect()
    }

    /// The statistic of Mann and Whitney, counted pair by pair.
    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        for seed in 0..30 {
            let levels = [1, 3, 10, 1 << 20][seed as usize % 4];
            let images = images(60, levels, 0.3, seed);
            let of = |wanted| images.iter().filter(move |image| image.1 == wanted);
            let (mut twice, mut pairs) = (0, 0);
            for (own, _) in of(true) {
                for (other, _) in of(false) {
                    pairs += 1;
                    twice += if own > other {
                        2
                    } else {
                        i32::from(own == other)
                    };
                }
            }
            let ranking = Ranking::of(images.iter().copied());
            let expected = (pairs > 0).then(|| f64::from(twice) / f64::from(2 * pairs));
            assert_eq!(ranking.roc_auc(), expected, "seed {seed}");
        }
    }

    #[test]
    fn a_class_without_images_or_without_others_has_no_area() {
        let only = |is_of_class| Ranking::of([(0.5, is_of_class), (0.25, is_of_class)].into_iter());
        assert_eq!(only(false).roc_auc(), None);
        assert_eq!(only(false).average_precision(), None);
        assert_eq!(only(true).roc_auc(), None);
        assert_eq!(only(true).average_precision(), Some(1.0));
        assert!(only(false).roc().is_empty() && only(false).precision_recall().is_empty());
        assert!(only(true).roc().is_empty());
        let none = Ranking::of(std::iter::empty());
        assert_eq!((none.roc_auc(), none.average_precision()), (None, None));
    }

    #[test]
    fn a_negative_zero_is_zero() {
        let ranking = Ranking::of([(-0.0, true), (0.0, false), (1.0, true)].into_iter());
        assert_eq!(ranking.roc_auc(), Some(0.75));
    }

    /// Long curves are thinned to some of their own points, and keep both ends.
    #[test]
    fn a_thinned_curve_stays_on_the_curve() {
        for (count, share) in [(5_000, 0.4), (3_000, 0.002), (150, 0.5)] {
            let images = images(count, 1 << 20, share, 7);
            let ranking = Ranking::of(images.iter().copied());
            let [others, own] = ranking.totals().map(|total| total as f64);
            assert!(own > 0.0);
            let whole: Vec<[f64; 2]> = ranking
                .steps
                .iter()
                .map(|step| step.map(|n| n as f64))
                .collect();
            let roc = ranking.roc();
            assert!(
                roc.len() <= POINTS && roc.len() > 50.min(count),
                "{}",
                roc.len()
            );
            assert_eq!((roc[0], roc[roc.len() - 1]), ([0.0, 0.0], [1.0, 1.0]));
            let is_on_roc =
                |point: &[f64; 2]| whole.iter().any(|&[a, b]| [a / others, b / own] == *point);
            assert!(roc[1..].iter().all(is_on_roc));
            assert!(roc.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1]));
            let curve = ranking.precision_recall();
            assert!(curve.len() <= POINTS);
            assert_eq!(curve[0], [0.0, 1.0]);
            assert_eq!(curve[curve.len() - 1][0], 1.0);
            let is_on =
                |point: &[f64; 2]| whole.iter().any(|&[a, b]| [b / own, b / (a + b)] == *point);
            assert!(curve[1..].iter().all(is_on));
            assert!(curve.is_sorted_by(|a, b| a[0] <= b[0]));
        }
    }
}
