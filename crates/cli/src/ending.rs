//! The summary at the end of a run, in plain words.

use std::path::Path;

use trainer::{ClassReport, EpochReport, Evaluation, Interval, Measured};

/// Fewer images allow no verdict.
const FEW: u64 = 20;
/// A class is weak if its recall is below the accuracy by more than this.
const WEAK: f64 = 0.05;
/// The most weak classes that are named.
const NAMED: usize = 3;
/// If training accuracy exceeds validation accuracy by this much, the run overfits.
const OVERFITTED: f64 = 0.15;

/// The lines after the scores.
pub(crate) fn of_scores(scores: &Evaluation, measured: Measured) -> Vec<String> {
    let Interval { low, high } = scores.accuracy_interval;
    let chance = chance(&scores.classes);
    let kind = measured.name();
    let mut lines = vec![format!(
        "{:.1} % of {} {kind} images are classified correctly; the true accuracy is probably between {:.1} and {:.1} % \
         (95 % interval). Always answering with the most frequent class gives {:.1} %.",
        100.0 * scores.accuracy,
        scores.images,
        100.0 * low,
        100.0 * high,
        100.0 * chance
    )];
    if measured == Measured::Validation {
        lines.push(
            "These images have chosen the best epoch, so the figure is somewhat too good; a test split gives a fair one."
                .to_owned(),
        );
    }
    if scores.images < FEW {
        lines.push(format!(
            "{} images are too few to judge the network by.",
            scores.images
        ));
        return lines;
    }
    lines.push(format!(
        "Macro F1 is {:.3}: the F1 score (precision and recall in one number), averaged over the classes, so rare classes \
         count as much as frequent ones.",
        scores.macro_f1
    ));
    if low <= chance {
        lines.push(
            "That is no better than guessing. Check that each folder holds images of its class, train longer \
             (--time-budget 30m), or add images."
                .to_owned(),
        );
    }
    lines.extend(weak_classes(scores));
    lines
}

/// The line about overfitting, from the epoch with the chosen weights and the number of validation images.
pub(crate) fn overfitting(epochs: &[EpochReport], best: usize, validated: usize) -> Option<String> {
    let report = epochs.iter().find(|report| report.epoch == best)?;
    let scores = report.ema.unwrap_or_else(|| report.scores());
    let gap = report.train_accuracy - scores.accuracy;
    (gap > OVERFITTED && validated as u64 >= FEW).then(|| {
        format!(
            "It knows its training images better ({:.0} %) than new ones ({:.0} % in validation): it is overfitted. \
             More images help most; then stronger augmentation or fewer epochs.",
            100.0 * report.train_accuracy,
            100.0 * scores.accuracy
        )
    })
}

/// The files of a run and the next command.
pub(crate) fn next(weights: &Path, wrong: Option<&Path>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(wrong) = wrong {
        lines.push(format!(
            "Wrong answers, with their second choices: {}",
            wrong.display()
        ));
    }
    lines.push(format!(
        "To classify other images:\n  classify predict --weights {} --out predictions FOLDER",
        report::quoted(weights)
    ));
    lines
}

/// The accuracy of always guessing the most frequent class.
fn chance(classes: &[ClassReport]) -> f64 {
    let all: u64 = classes.iter().map(|class| class.support).sum();
    let most = classes.iter().map(|class| class.support).max();
    most.unwrap_or(0) as f64 / all.max(1) as f64
}

fn weak_classes(test: &Evaluation) -> Option<String> {
    let occurring = test.classes.iter().enumerate();
    let mut weak: Vec<(usize, &ClassReport)> = occurring
        .filter(|(_, class)| class.support > 0 && class.recall < test.accuracy - WEAK)
        .collect();
    weak.sort_by(|(_, a), (_, b)| a.recall.total_cmp(&b.recall));
    let named = weak.iter().take(NAMED).map(|&(label, class)| {
        let row = &test.confusion[label];
        let other = (0..row.len()).filter(|&other| other != label && row[other] > 0);
        let taken = other.max_by_key(|&other| (row[other], std::cmp::Reverse(other)));
        let taken = taken.map_or(String::new(), |other| {
            format!(", mostly taken for {}", test.classes[other].name)
        });
        format!(
            "{} ({:.0} % found{taken})",
            class.name,
            100.0 * class.recall
        )
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| format!("Weakest classes: {}.", named.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(confusion: Vec<Vec<u64>>) -> Evaluation {
        let names = ["cat", "dog", "emu"];
        let support = |label: usize| confusion[label].iter().sum::<u64>();
        let images: u64 = (0..3).map(support).sum();
        let right: u64 = (0..3).map(|label| confusion[label][label]).sum();
        let classes: Vec<_> = (0..3)
            .map(|label| {
                serde_json::json!({
                    "name": names[label], "support": support(label), "precision": 0.5, "f1": 0.5,
                    "recall": confusion[label][label] as f64 / support(label) as f64,
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "images": images, "skipped": 0, "accuracy": right as f64 / images as f64, "loss": 1.0,
            "accuracy_interval": Interval::wilson(right, images),
            "macro_precision": 0.5, "macro_recall": 0.5, "macro_f1": 0.5,
            "classes": classes, "confusion": confusion,
        }))
        .unwrap()
    }

    #[test]
    fn weak_classes_come_with_their_confusion() {
        let lines = of_scores(
            &test(vec![vec![9, 1, 0], vec![2, 3, 5], vec![0, 0, 10]]),
            Measured::Test,
        );
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0].starts_with("73.3 % of 30 test images"),
            "{}",
            lines[0]
        );
        assert!(lines[0].contains("gives 33.3 %"), "{}", lines[0]);
        assert_eq!(
            lines[2],
            "Weakest classes: dog (30 % found, mostly taken for emu)."
        );
        let lines = of_scores(&test(vec![vec![3, 3, 3]; 3]), Measured::Validation);
        assert!(lines[1].contains("somewhat too good"), "{lines:?}");
        assert!(lines[3].contains("no better than guessing"), "{lines:?}");
        let lines = of_scores(&test(vec![vec![1, 1, 1]; 3]), Measured::Test);
        assert_eq!(
            lines[1..],
            ["9 images are too few to judge the network by."]
        );
    }

    #[test]
    fn overfitting_is_a_gap_of_the_chosen_epoch() {
        let epoch = |epoch, train_accuracy, val_accuracy| EpochReport {
            epoch,
            train_loss: 0.1,
            train_accuracy,
            val_loss: 0.1,
            val_accuracy,
            val_macro_f1: 0.5,
            learning_rate: 0.1,
            images_per_second: 1.0,
            seconds: 1.0,
            times: Default::default(),
            ema: None,
            loss_scale: None,
            unreadable: Default::default(),
        };
        let epochs = [epoch(1, 0.6, 0.6), epoch(2, 0.99, 0.7)];
        assert_eq!(overfitting(&epochs, 1, 50), None);
        assert!(overfitting(&epochs, 2, 50).unwrap().contains("(99 %)"));
        assert_eq!(overfitting(&epochs, 3, 50), None);
        assert_eq!(overfitting(&epochs, 2, 5), None);
    }
}
