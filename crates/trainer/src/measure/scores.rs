//! The scores of a network's answers, image by image.

use std::collections::BTreeMap;

use mobilenet::ClassOrder;
use rayon::prelude::*;

use super::calibration::Confidences;
use super::ranking::Ranking;
use super::{ClassCurves, ClassReport, ConfusionMatrix, Evaluation, Interval, TopK};
use crate::mistakes::largest;
use crate::{Error, Result};

/// The most probabilities that are kept, 256 MB. Of more, neither ROC AUC nor average precision nor curves are computed.
const MOST_VALUES: u64 = 64_000_000;
/// The values of k of top-k accuracy.
const TOP: [usize; 3] = [2, 3, 5];
/// Up to so many classes, each has its curves.
const MOST_CURVES: usize = 20;
/// Of more classes, so many with the lowest ROC AUC have their curves.
const WORST_CURVES: usize = 10;

/// Collects answers, and scores them.
///
/// The memory of an image is 4 bytes per class, for the scores that need a ranking of all images. All other scores are
/// counted.
pub(crate) struct Scores {
    confusion: ConfusionMatrix,
    confidences: Confidences,
    /// The number of images whose class is among the k most probable, for each k of [`TOP`].
    hits: [u64; 3],
    labels: Vec<u32>,
    /// `[images][classes]`; empty if there would be more than [`MOST_VALUES`].
    probabilities: Vec<f32>,
    /// The most values of `probabilities`.
    most: u64,
}

impl Scores {
    /// No answers yet, of about so many images.
    pub(crate) fn new(classes: usize, images: usize) -> Self {
        Self::with_limit(classes, images, MOST_VALUES)
    }

    fn with_limit(classes: usize, images: usize, most: u64) -> Self {
        let values = images.saturating_mul(classes);
        Self {
            confusion: ConfusionMatrix::new(classes),
            confidences: Confidences::default(),
            hits: [0; 3],
            labels: Vec::new(),
            probabilities: Vec::with_capacity(if values as u64 <= most { values } else { 0 }),
            most,
        }
    }

    /// Adds images with their probabilities, one row each, from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if labels and rows differ in number, or a label or a row does not fit the classes.
    pub(crate) fn add(&mut self, labels: &[u32], rows: &[Vec<f32>]) -> Result<()> {
        let classes = self.confusion.classes();
        if let Some(row) = rows.iter().find(|row| row.len() != classes) {
            return Err(Error::Shape(format!(
                "{} probabilities of an image for {classes} classes",
                row.len()
            )));
        }
        let first = |row: &Vec<f32>| largest(row, None).unwrap_or_default();
        let firsts: Vec<(usize, f32)> = rows.iter().map(first).collect();
        let predicted: Vec<u32> = firsts.iter().map(|&(class, _)| class as u32).collect();
        self.confusion.add(labels, &predicted)?;
        for ((&label, row), (class, confidence)) in labels.iter().zip(rows).zip(firsts) {
            self.confidences.add(confidence, class == label as usize);
            let rank = rank(row, label as usize);
            for (hits, k) in self.hits.iter_mut().zip(TOP) {
                *hits += u64::from(rank < k);
            }
        }
        let all = self.confusion.total().saturating_mul(classes as u64);
        if all > self.most {
            self.labels = Vec::new();
            self.probabilities = Vec::new();
            return Ok(());
        }
        self.labels.extend(labels);
        rows.iter().for_each(|row| self.probabilities.extend(row));
        Ok(())
    }

    /// Adds the loss of an image.
    pub(crate) fn add_loss(&mut self, loss: f64) {
        self.confusion.add_loss(loss, 1.0);
    }

    /// The counts of the answers.
    pub(crate) fn confusion(&self) -> &ConfusionMatrix {
        &self.confusion
    }

    /// The scores of all answers. `skipped` has the number of unreadable images of each label.
    pub(crate) fn evaluation(
        &self,
        names: &[String],
        class_order: ClassOrder,
        skipped: &BTreeMap<usize, usize>,
    ) -> Evaluation {
        let confusion = &self.confusion;
        let averages = confusion.macro_scores();
        let areas = self.areas();
        let left_out = (0..names.len()).filter(|class| !confusion.occurs(*class));
        Evaluation {
            images: confusion.total(),
            skipped: skipped.values().sum(),
            accuracy: confusion.accuracy(),
            accuracy_interval: Interval::wilson(confusion.right(), confusion.total()),
            loss: confusion.mean_loss(),
            macro_precision: averages.precision,
            macro_recall: averages.recall,
            macro_f1: averages.f1,
            macro_f1_interval: Interval::of_macro_f1(confusion),
            balanced_accuracy: confusion.balanced_accuracy(),
            cohen_kappa: confusion.cohen_kappa(),
            top_k: self.top_k(),
            macro_roc_auc: mean(areas.iter().map(|areas| areas.roc_auc)),
            macro_average_precision: mean(areas.iter().map(|areas| areas.average_precision)),
            calibration: self.confidences.calibration(),
            temperature: None,
            classes_left_out: left_out.map(|class| names[class].clone()).collect(),
            class_order,
            classes: self.classes(names, &areas, skipped),
            confusion: confusion.confusion(),
            curves: self.curves(&areas),
            mistakes: Vec::new(),
        }
    }

    fn classes(
        &self,
        names: &[String],
        areas: &[Areas],
        skipped: &BTreeMap<usize, usize>,
    ) -> Vec<ClassReport> {
        let confusion = &self.confusion;
        let specificities = confusion.specificities();
        let scores = confusion.class_scores().into_iter().zip(specificities);
        let classes = names.iter().zip(scores).enumerate();
        let report = |(label, (name, (scores, specificity))): (usize, (&String, _))| {
            let scores: super::ClassScores = scores;
            let areas = areas.get(label).copied().unwrap_or_default();
            ClassReport {
                name: name.clone(),
                support: confusion.support(label),
                skipped: skipped.get(&label).copied().unwrap_or(0),
                precision: scores.precision,
                recall: scores.recall,
                f1: scores.f1,
                specificity,
                roc_auc: areas.roc_auc,
                average_precision: areas.average_precision,
            }
        };
        classes.map(report).collect()
    }

    fn top_k(&self) -> Vec<TopK> {
        let images = self.confusion.total();
        let counted = TOP.into_iter().zip(self.hits);
        let counted = counted.filter(|&(k, _)| k < self.confusion.classes() && images > 0);
        let share = |(k, hits)| TopK {
            k,
            accuracy: hits as f64 / images as f64,
        };
        counted.map(share).collect()
    }

    /// The images ranked by the probability of one class.
    fn ranking(&self, class: usize) -> Ranking {
        let rows = self.probabilities.chunks_exact(self.confusion.classes());
        let images = self.labels.iter().zip(rows);
        Ranking::of(images.map(|(&label, row)| (row[class], label as usize == class)))
    }

    /// The areas of each class; all `None` if the probabilities were too many to be kept.
    fn areas(&self) -> Vec<Areas> {
        let areas = |class| {
            let ranking = self.ranking(class);
            Areas {
                roc_auc: ranking.roc_auc(),
                average_precision: ranking.average_precision(),
            }
        };
        (0..self.confusion.classes())
            .into_par_iter()
            .map(areas)
            .collect()
    }

    /// The curves of all classes if they are few, or else of those with the lowest ROC AUC, the lowest first. Classes
    /// without images have none.
    fn curves(&self, areas: &[Areas]) -> Vec<ClassCurves> {
        let defined = areas.iter().enumerate();
        let mut classes: Vec<usize> = defined
            .filter(|(_, areas)| areas.average_precision.is_some())
            .map(|(class, _)| class)
            .collect();
        if areas.len() > MOST_CURVES {
            let auc = |class: &usize| areas[*class].roc_auc.unwrap_or(1.0);
            classes.sort_by(|a, b| auc(a).total_cmp(&auc(b)));
            classes.truncate(WORST_CURVES);
        }
        let curves = |class| {
            let ranking = self.ranking(class);
            ClassCurves {
                class,
                roc: ranking.roc(),
                precision_recall: ranking.precision_recall(),
            }
        };
        classes.into_iter().map(curves).collect()
    }
}

impl Evaluation {
    /// Whether ROC AUC, average precision and curves were left out, since more than 64 million probabilities would have
    /// been kept for them.
    pub fn leaves_out_rankings(&self) -> bool {
        self.images.saturating_mul(self.classes.len() as u64) > MOST_VALUES
    }
}

/// The areas under the curves of a class.
#[derive(Clone, Copy, Default)]
struct Areas {
    roc_auc: Option<f64>,
    average_precision: Option<f64>,
}

/// The mean of the defined values.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The number of classes that come before a class in the order of probabilities. Of equal ones, the later class comes
/// first, as in scikit-learn's `top_k_accuracy_score`.
fn rank(row: &[f32], class: usize) -> usize {
    let Some(&own) = row.get(class) else {
        return row.len();
    };
    let others = row.iter().enumerate();
    others
        .filter(|&(other, &value)| value > own || (value == own && other > class))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_only_rankings_are_left_out() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let rows = vec![
            vec![0.5, 0.3, 0.2],
            vec![0.1, 0.2, 0.7],
            vec![0.3, 0.4, 0.3],
            vec![0.2, 0.2, 0.6],
        ];
        let labels = [0, 1, 1, 2];
        let of = |most| {
            let mut scores = Scores::with_limit(3, 4, most);
            for (label, row) in labels.iter().zip(&rows) {
                scores.add(&[*label], std::slice::from_ref(row)).unwrap();
            }
            assert!(scores.probabilities.capacity() as u64 <= most);
            scores.evaluation(&names, ClassOrder::Named, &BTreeMap::new())
        };
        let (whole, bounded) = (of(12), of(11));
        assert_eq!(whole.curves.len(), 3);
        assert!(whole.macro_roc_auc.is_some() && whole.macro_average_precision.is_some());
        let mut expected = whole.clone();
        expected.curves = Vec::new();
        (expected.macro_roc_auc, expected.macro_average_precision) = (None, None);
        for class in &mut expected.classes {
            (class.roc_auc, class.average_precision) = (None, None);
        }
        assert_eq!(bounded, expected);
        assert!(!whole.leaves_out_rankings());
        let large = Evaluation {
            images: 21_333_334,
            ..whole
        };
        assert!(large.leaves_out_rankings());
    }

    /// Of more than 20 classes, the ten with the lowest area have curves, the lowest first.
    #[test]
    fn of_many_classes_the_worst_have_curves() {
        let classes = 30;
        let mut scores = Scores::new(classes, 60);
        for image in 0..60_u32 {
            let label = image % 30;
            let mut row = vec![0.01; classes];
            // The larger the class, the less it is recognised.
            row[label as usize] = 0.01 * (30 - label) as f32 * 0.1;
            scores.add(&[label], &[row]).unwrap();
        }
        let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        let evaluation = scores.evaluation(&names, ClassOrder::Named, &BTreeMap::new());
        let found: Vec<usize> = evaluation
            .curves
            .iter()
            .map(|curves| curves.class)
            .collect();
        let auc = |class: usize| evaluation.classes[class].roc_auc.unwrap();
        assert_eq!(found.len(), 10);
        assert!(found.is_sorted_by(|a, b| auc(*a) <= auc(*b)));
        let worst = found.iter().map(|class| auc(*class)).fold(0.0, f64::max);
        assert!((0..30).all(|class| found.contains(&class) || auc(class) >= worst));
    }

    #[test]
    fn answers_that_do_not_fit_are_refused() {
        let mut scores = Scores::new(2, 1);
        assert!(scores.add(&[0], &[vec![0.5; 3]]).is_err());
        assert!(scores.add(&[2], &[vec![0.5; 2]]).is_err());
        assert!(scores.add(&[0, 1], &[vec![0.5; 2]]).is_err());
        let none = scores.evaluation(
            &["a".into(), "b".into()],
            ClassOrder::Named,
            &BTreeMap::new(),
        );
        assert_eq!(
            (none.images, none.balanced_accuracy, none.cohen_kappa),
            (0, None, None)
        );
        assert_eq!((none.calibration, none.top_k), (None, Vec::new()));
        assert_eq!(none.macro_roc_auc, None);
    }
}
