//! 95 % intervals of scores.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Binomial, Distribution};
use rayon::prelude::*;

use super::{ConfusionMatrix, Interval};

/// The number of bootstrap samples.
const SAMPLES: u64 = 1000;
/// The seed of the bootstrap samples. Each sample has its own stream of random numbers.
const SEED: u64 = 0;

impl Interval {
    /// Wilson's 95 % interval of a share (Wilson, 1927), of `right` among `all`. Without any, 0 to 1.
    pub fn wilson(right: u64, all: u64) -> Self {
        if all == 0 {
            return Self::default();
        }
        let (n, z) = (all as f64, 1.959_963_984_540_054);
        let share = right as f64 / n;
        let centre = share + z * z / (2.0 * n);
        let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + z * z / n;
        Self {
            low: ((centre - spread) / scale).max(0.0),
            high: ((centre + spread) / scale).min(1.0),
        }
    }

    /// The 95 % interval of the macro F1: percentiles of the macro F1 of 1000 bootstrap samples, each of as many images,
    /// drawn with replacement. Without images, 0 to 1.
    pub(super) fn of_macro_f1(confusion: &ConfusionMatrix) -> Self {
        let cells = Cells::of(confusion);
        if cells.total == 0 {
            return Self::default();
        }
        let sample = |number| {
            let mut random = ChaCha8Rng::seed_from_u64(SEED);
            random.set_stream(number);
            macro_f1(cells.classes, cells.sample(&mut random))
        };
        let mut scores: Vec<f64> = (0..SAMPLES).into_par_iter().map(sample).collect();
        scores.sort_by(f64::total_cmp);
        Self {
            low: quantile(&scores, 0.025),
            high: quantile(&scores, 0.975),
        }
    }
}

/// The cells of a confusion matrix that are not empty.
struct Cells {
    classes: usize,
    total: u64,
    /// True class, predicted class, and number of images.
    cells: Vec<([usize; 2], u64)>,
}

impl Cells {
    fn of(confusion: &ConfusionMatrix) -> Self {
        Self {
            classes: confusion.classes(),
            total: confusion.total(),
            cells: confusion.cells().collect(),
        }
    }

    /// Draws as many images as there are, with replacement: a multinomial sample of the cells, one binomial after the
    /// other.
    fn sample(&self, random: &mut ChaCha8Rng) -> impl Iterator<Item = ([usize; 2], u64)> {
        let (mut to_draw, mut left) = (self.total, self.total);
        self.cells.iter().map(move |&(place, count)| {
            // The share of this cell among the cells that are left is at most 1.
            let binomial = Binomial::new(to_draw, count as f64 / left as f64);
            let drawn = binomial.map_or(0, |binomial| binomial.sample(random));
            to_draw -= drawn;
            left -= count;
            (place, drawn)
        })
    }
}

/// The macro F1 of cells, as [`ConfusionMatrix::macro_scores`].
fn macro_f1(classes: usize, cells: impl Iterator<Item = ([usize; 2], u64)>) -> f64 {
    let (mut hits, mut ends) = (vec![0_u64; classes], vec![0_u64; classes]);
    for ([label, prediction], count) in cells {
        ends[label] += count;
        ends[prediction] += count;
        if label == prediction {
            hits[label] += count;
        }
    }
    let occurring = hits.iter().zip(&ends).filter(|&(_, &ends)| ends > 0);
    let (mut sum, mut number) = (0.0, 0);
    for (&hits, &ends) in occurring {
        sum += 2.0 * hits as f64 / ends as f64;
        number += 1;
    }
    sum / f64::from(number.max(1))
}

/// The quantile of sorted values with linear interpolation, as numpy's default.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(counts: &[[u64; 3]; 3]) -> ConfusionMatrix {
        let mut confusion = ConfusionMatrix::new(3);
        for (label, row) in counts.iter().enumerate() {
            for (prediction, &count) in row.iter().enumerate() {
                let repeated = |class: usize| vec![class as u32; count as usize];
                confusion
                    .add(&repeated(label), &repeated(prediction))
                    .unwrap();
            }
        }
        confusion
    }

    #[test]
    fn a_sample_has_as_many_images_and_the_shares_of_the_matrix() {
        let confusion = matrix(&[[50, 3, 0], [1, 20, 0], [0, 0, 1]]);
        let cells = Cells::of(&confusion);
        assert_eq!(macro_f1(3, confusion.cells()), confusion.macro_scores().f1);
        let (mut sums, samples) = (vec![0; cells.cells.len()], 2_000);
        for number in 0..samples {
            let mut random = ChaCha8Rng::seed_from_u64(number);
            let drawn: Vec<u64> = cells.sample(&mut random).map(|(_, count)| count).collect();
            assert_eq!(drawn.iter().sum::<u64>(), 75);
            sums.iter_mut()
                .zip(drawn)
                .for_each(|(sum, drawn)| *sum += drawn);
        }
        for (sum, &(place, count)) in sums.iter().zip(&cells.cells) {
            let (mean, expected) = (*sum as f64 / samples as f64, count as f64);
            // Five standard errors of a binomial mean.
            let allowed = 5.0 * (expected * (1.0 - expected / 75.0) / samples as f64).sqrt();
            assert!(
                (mean - expected).abs() < allowed,
                "{place:?}: {mean} {expected}"
            );
        }
    }

    #[test]
    fn an_interval_is_the_same_each_time_and_contains_the_score() {
        let confusion = matrix(&[[50, 3, 0], [1, 20, 4], [2, 0, 11]]);
        let interval = Interval::of_macro_f1(&confusion);
        let score = confusion.macro_scores().f1;
        assert!(
            interval.low < score && score < interval.high,
            "{interval:?}"
        );
        assert_eq!(Interval::of_macro_f1(&confusion), interval);
        let all_right = Interval::of_macro_f1(&matrix(&[[5, 0, 0], [0, 5, 0], [0, 0, 0]]));
        assert_eq!((all_right.low, all_right.high), (1.0, 1.0));
        assert_eq!(
            Interval::of_macro_f1(&matrix(&[[0; 3]; 3])),
            Interval::default()
        );
    }

    #[test]
    fn quantiles_are_interpolated() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 1.0), 4.0);
        assert_eq!(quantile(&[7.0], 0.025), 7.0);
    }
}
