//! Expected calibration error.

use super::{Bin, Calibration};

/// The number of bins.
const BINS: usize = 15;

/// Images by confidence, their largest probability.
#[derive(Clone, Debug, Default)]
pub(super) struct Confidences {
    bins: [Sums; BINS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    images: u64,
    right: u64,
    confidence: f64,
}

impl Confidences {
    /// Adds an image.
    pub(super) fn add(&mut self, confidence: f32, is_right: bool) {
        let confidence = f64::from(confidence);
        let is_above = |edge: usize| confidence > edge as f64 / BINS as f64;
        let bin = (1..BINS).take_while(|&edge| is_above(edge)).count();
        let sums = &mut self.bins[bin];
        sums.images += 1;
        sums.right += u64::from(is_right);
        sums.confidence += confidence;
    }

    /// The calibration of the images so far; `None` without images.
    pub(super) fn calibration(&self) -> Option<Calibration> {
        let images: u64 = self.bins.iter().map(|sums| sums.images).sum();
        let bin = |(index, sums): (usize, &Sums)| {
            let mean = |sum: f64| sum / sums.images.max(1) as f64;
            Bin {
                low: index as f64 / BINS as f64,
                high: (index + 1) as f64 / BINS as f64,
                images: sums.images,
                confidence: mean(sums.confidence),
                accuracy: mean(sums.right as f64),
            }
        };
        let bins: Vec<Bin> = self.bins.iter().enumerate().map(bin).collect();
        let gap = |bin: &Bin| bin.images as f64 * (bin.accuracy - bin.confidence).abs();
        (images > 0).then(|| Calibration {
            expected_error: bins.iter().map(gap).sum::<f64>() / images as f64,
            bins,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_belongs_to_the_bin_below() {
        let mut all = Confidences::default();
        for confidence in [0.0, 0.01, 0.99, 1.0] {
            all.add(confidence, true);
        }
        // As a double, the float 0.2 lies above 3/15.
        all.add(0.2, false);
        let bins = all.calibration().unwrap().bins;
        let images: Vec<u64> = bins.iter().map(|bin| bin.images).collect();
        assert_eq!(images, [2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(
            (bins[3].confidence, bins[3].accuracy),
            (f64::from(0.2_f32), 0.0)
        );
        assert_eq!((bins[1].confidence, bins[1].accuracy), (0.0, 0.0));
        assert_eq!(Confidences::default().calibration(), None);
    }
}
