//! The confusion matrix, the source of every count-based score.

use serde::{Deserialize, Serialize};

/// Counts images by true class and predicted class, and averages their loss.
///
/// ```
/// let mut confusion = trainer::ConfusionMatrix::new(3);
/// confusion.add(&[0, 1, 2, 2], &[0, 1, 2, 0])?;
/// confusion.add_loss(0.5, 4.0);
/// assert_eq!(confusion.accuracy(), 0.75);
/// assert_eq!(confusion.mean_loss(), 0.5);
/// assert_eq!(confusion.class_scores()[2].recall, 0.5);
/// # Ok::<(), trainer::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
    /// The sum of `counts`, and of its diagonal. They are read after each batch, and there may be a million counts.
    total: u64,
    right: u64,
    loss_sum: f64,
    weight_sum: f64,
}

/// Precision, recall and F1 of one class, or the unweighted means over several classes.
///
/// A ratio with denominator 0 is 0, as with scikit-learn's `zero_division=0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// Precision: the share of the class's images among those predicted as this class.
    pub precision: f64,
    /// Recall: the share of the class's images that are predicted as this class.
    pub recall: f64,
    /// F1: the harmonic mean of precision and recall.
    pub f1: f64,
}

/// The saved state of a [`ConfusionMatrix`]: only the counts that are not 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    cells: Vec<(usize, u64)>,
    loss_sum: f64,
    weight_sum: f64,
}

impl ConfusionMatrix {
    /// The counts, to be saved.
    pub(crate) fn state(&self) -> Counts {
        let cells = self.counts.iter().copied().enumerate();
        Counts {
            cells: cells.filter(|&(_, count)| count > 0).collect(),
            loss_sum: self.loss_sum,
            weight_sum: self.weight_sum,
        }
    }

    /// The matrix of `classes` classes with saved counts. `None` if there are other classes among them.
    pub(crate) fn with(classes: usize, saved: &Counts) -> Option<Self> {
        let mut matrix = Self::new(classes);
        for &(cell, count) in &saved.cells {
            *matrix.counts.get_mut(cell)? = count;
            matrix.total += count;
            let [label, prediction] = matrix.place(cell);
            if label == prediction {
                matrix.right += count;
            }
        }
        (matrix.loss_sum, matrix.weight_sum) = (saved.loss_sum, saved.weight_sum);
        Some(matrix)
    }

    /// An empty confusion matrix of `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; classes * classes],
            total: 0,
            right: 0,
            loss_sum: 0.0,
            weight_sum: 0.0,
        }
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The cells that are not empty: true class and predicted class, and the number of images.
    pub(crate) fn cells(&self) -> impl Iterator<Item = ([usize; 2], u64)> {
        let cells = self.counts.iter().copied().enumerate();
        cells
            .filter(|&(_, count)| count > 0)
            .map(|(cell, count)| (self.place(cell), count))
    }

    /// The true class and the predicted class of a cell.
    fn place(&self, cell: usize) -> [usize; 2] {
        [cell / self.classes, cell % self.classes]
    }

    /// Adds images by their true and predicted classes.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Shape`] if the slices differ in length or contain an unknown class.
    pub fn add(&mut self, labels: &[u32], predictions: &[u32]) -> crate::Result<()> {
        if labels.len() != predictions.len() {
            return Err(crate::Error::Shape(format!(
                "{} labels but {} predictions; expected one prediction per label",
                labels.len(),
                predictions.len()
            )));
        }
        if let Some(class) = labels
            .iter()
            .chain(predictions)
            .find(|class| **class as usize >= self.classes)
        {
            return Err(crate::Error::Shape(format!(
                "class {class} in a confusion of {} classes; expected 0 to {}",
                self.classes,
                self.classes.saturating_sub(1)
            )));
        }
        for (label, prediction) in labels.iter().zip(predictions) {
            self.counts[*label as usize * self.classes + *prediction as usize] += 1;
            self.right += u64::from(label == prediction);
        }
        self.total += labels.len() as u64;
        Ok(())
    }

    /// Adds a batch's mean loss with its total weight (the number of images if all weights are 1).
    pub fn add_loss(&mut self, mean: f64, weight: f64) {
        self.loss_sum += mean * weight;
        self.weight_sum += weight;
    }

    /// Number of images counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The mean loss over the images (not over the batches); 0 without images.
    pub fn mean_loss(&self) -> f64 {
        ratio(self.loss_sum, self.weight_sum)
    }

    /// The share of the images predicted correctly; 0 without images.
    pub fn accuracy(&self) -> f64 {
        ratio(self.right() as f64, self.total() as f64)
    }

    /// The number of images predicted correctly.
    pub fn right(&self) -> u64 {
        self.right
    }

    /// Recall averaged over the classes with images: scikit-learn's `balanced_accuracy_score`. `None` without images.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        let recall = |class| {
            let support = self.support(class);
            (support > 0).then(|| self.count(class, class) as f64 / support as f64)
        };
        let recalls: Vec<f64> = (0..self.classes).filter_map(recall).collect();
        (!recalls.is_empty()).then(|| recalls.iter().sum::<f64>() / recalls.len() as f64)
    }

    /// Cohen's kappa of labels and predictions (Cohen, 1960): scikit-learn's `cohen_kappa_score`. `None` where
    /// it is undefined: without images, or if all labels and predictions are of one class.
    pub fn cohen_kappa(&self) -> Option<f64> {
        let all = u128::from(self.total());
        let wrong = all - u128::from(self.right());
        let product = |class| u128::from(self.support(class)) * u128::from(self.predicted(class));
        let by_chance = all * all - (0..self.classes).map(product).sum::<u128>();
        (by_chance > 0).then(|| 1.0 - (wrong * all) as f64 / by_chance as f64)
    }

    /// The specificity of each class: the share of the other classes' images that are not predicted as this class.
    /// `None` if there are no such images.
    pub fn specificities(&self) -> Vec<Option<f64>> {
        let all = self.total();
        let specificity = |class| {
            let others = all - self.support(class);
            let taken = self.predicted(class) - self.count(class, class);
            (others > 0).then(|| (others - taken) as f64 / others as f64)
        };
        (0..self.classes).map(specificity).collect()
    }

    /// Precision, recall and F1 of each class.
    pub fn class_scores(&self) -> Vec<ClassScores> {
        (0..self.classes)
            .map(|class| {
                let hits = self.count(class, class) as f64;
                let actual = self.support(class) as f64;
                let predicted = self.predicted(class) as f64;
                ClassScores {
                    precision: ratio(hits, predicted),
                    recall: ratio(hits, actual),
                    // 2PR / (P + R), computed from the counts with one division.
                    f1: ratio(2.0 * hits, actual + predicted),
                }
            })
            .collect()
    }

    /// The unweighted mean of the scores of all classes that occur as labels or as predictions: scikit-learn's
    /// `average="macro"`.
    pub fn macro_scores(&self) -> ClassScores {
        let scores = self.class_scores().into_iter().enumerate();
        let occurring = scores.filter(|(class, _)| self.occurs(*class));
        let scores: Vec<ClassScores> = occurring.map(|(_, scores)| scores).collect();
        let mean = |figure: fn(&ClassScores) -> f64| {
            ratio(scores.iter().map(figure).sum(), scores.len() as f64)
        };
        ClassScores {
            precision: mean(|s| s.precision),
            recall: mean(|s| s.recall),
            f1: mean(|s| s.f1),
        }
    }

    /// The number of images of class `label` predicted as `prediction`; 0 for unknown classes.
    pub fn count(&self, label: usize, prediction: usize) -> u64 {
        if prediction >= self.classes {
            return 0;
        }
        self.counts
            .get(label * self.classes + prediction)
            .copied()
            .unwrap_or(0)
    }

    /// The number of images of class `label`.
    pub fn support(&self, label: usize) -> u64 {
        (0..self.classes)
            .map(|prediction| self.count(label, prediction))
            .sum()
    }

    /// The number of images predicted as class `prediction`.
    fn predicted(&self, prediction: usize) -> u64 {
        (0..self.classes)
            .map(|label| self.count(label, prediction))
            .sum()
    }

    /// Whether any image belongs to this class or is predicted as this class.
    pub fn occurs(&self, class: usize) -> bool {
        self.support(class) + self.predicted(class) > 0
    }

    /// The confusion matrix: one row per true class, one column per predicted class.
    pub fn confusion(&self) -> Vec<Vec<u64>> {
        self.counts
            .chunks(self.classes.max(1))
            .map(<[u64]>::to_vec)
            .collect()
    }
}

fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator == 0.0 {
        0.0
    } else {
        numerator / denominator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With two classes, both count the same: neither is "the positive class".
    #[test]
    fn two_classes_are_averaged_like_any_other_number() {
        let mut confusion = ConfusionMatrix::new(2);
        confusion.add(&[0, 0, 0, 1], &[0, 0, 0, 0]).unwrap();
        assert!((confusion.macro_scores().f1 - (6.0 / 7.0) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn batches_of_unequal_size_weigh_by_their_images() {
        let mut confusion = ConfusionMatrix::new(2);
        confusion.add(&[0, 0, 0], &[0, 0, 0]).unwrap();
        confusion.add_loss(1.0, 3.0);
        confusion.add(&[1], &[0]).unwrap();
        confusion.add_loss(5.0, 1.0);
        assert_eq!(confusion.mean_loss(), 2.0);
        assert_eq!(confusion.confusion(), vec![vec![3, 0], vec![1, 0]]);
        assert_eq!(confusion.support(1), 1);
    }

    #[test]
    fn an_empty_matrix_and_wrong_input_do_not_panic() {
        let mut confusion = ConfusionMatrix::new(2);
        assert_eq!(confusion.accuracy(), 0.0);
        assert_eq!(confusion.mean_loss(), 0.0);
        assert!(confusion.add(&[0], &[0, 1]).is_err());
        assert!(
            confusion
                .add(&[2], &[0])
                .unwrap_err()
                .to_string()
                .contains("class 2")
        );
        assert_eq!(confusion.count(7, 7), 0);
        assert_eq!(
            ConfusionMatrix::new(0).macro_scores(),
            ClassScores::default()
        );
    }
}
