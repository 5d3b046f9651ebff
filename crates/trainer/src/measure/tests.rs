//! All scores against scikit-learn's, by golden cases of `tests/golden/generate_scores.py`.

use std::collections::BTreeMap;

use mobilenet::ClassOrder;

use super::ranking::Ranking;
use super::{ClassScores, Evaluation, Interval, Scores};

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    classes: usize,
    labels: Vec<u32>,
    predictions: Vec<u32>,
    /// Probabilities times `scale`.
    probabilities: Vec<Vec<u32>>,
    scale: u32,
    accuracy: f64,
    interval: [f64; 2],
    balanced_accuracy: Option<f64>,
    cohen_kappa: Option<f64>,
    top_k: BTreeMap<usize, f64>,
    expected_error: f64,
    macro_roc_auc: Option<f64>,
    macro_average_precision: Option<f64>,
    each: Vec<Each>,
    average: ClassScores,
    macro_f1_interval: Bootstrap,
}

#[derive(serde::Deserialize)]
struct Each {
    precision: f64,
    recall: f64,
    f1: f64,
    specificity: Option<f64>,
    roc_auc: Option<f64>,
    average_precision: Option<f64>,
}

/// Percentiles of many bootstrap samples of numpy, and the standard deviation of the score in them.
#[derive(serde::Deserialize)]
struct Bootstrap {
    low: f64,
    high: f64,
    std: f64,
}

impl Case {
    fn rows(&self) -> Vec<Vec<f32>> {
        let scale = self.scale as f32;
        let row = |row: &Vec<u32>| row.iter().map(|&value| value as f32 / scale).collect();
        self.probabilities.iter().map(row).collect()
    }

    fn evaluation(&self) -> Evaluation {
        let mut scores = Scores::new(self.classes, self.labels.len());
        // Batches of unequal size.
        let rows = self.rows();
        let half = rows.len() / 3;
        for range in [0..half, half..rows.len()] {
            scores
                .add(&self.labels[range.clone()], &rows[range])
                .unwrap();
        }
        let names: Vec<String> = (0..self.classes).map(|class| class.to_string()).collect();
        scores.evaluation(&names, ClassOrder::Named, &BTreeMap::new())
    }
}

fn cases() -> Vec<Case> {
    let golden = include_str!("../../tests/golden/scores.json");
    let cases: Vec<Case> = serde_json::from_str(golden).unwrap();
    assert!(cases.len() > 10);
    cases
}

fn close(ours: impl Into<Option<f64>>, theirs: impl Into<Option<f64>>, name: &str) {
    let (ours, theirs) = (ours.into(), theirs.into());
    let is_close = match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() < 1e-9,
        (ours, theirs) => ours == theirs,
    };
    assert!(is_close, "{name}: {ours:?} {theirs:?}");
}

#[test]
fn scores_are_those_of_scikit_learn() {
    for case in cases() {
        let (name, found) = (case.name.as_str(), case.evaluation());
        let of = |score: &str| format!("{name}: {score}");
        let counted: u64 = (0..case.labels.len())
            .filter(|&image| case.labels[image] == case.predictions[image])
            .count() as u64;
        let right: u64 = (0..case.classes)
            .map(|class| found.confusion[class][class])
            .sum();
        assert_eq!(right, counted, "{name}");
        close(found.accuracy, case.accuracy, &of("accuracy"));
        close(
            found.balanced_accuracy,
            case.balanced_accuracy,
            &of("balanced accuracy"),
        );
        close(found.cohen_kappa, case.cohen_kappa, &of("kappa"));
        close(
            found.macro_precision,
            case.average.precision,
            &of("macro precision"),
        );
        close(found.macro_recall, case.average.recall, &of("macro recall"));
        close(found.macro_f1, case.average.f1, &of("macro F1"));
        close(found.macro_roc_auc, case.macro_roc_auc, &of("macro AUC"));
        let precision = found.macro_average_precision;
        close(
            precision,
            case.macro_average_precision,
            &of("macro average precision"),
        );
        assert_eq!(found.classes.len(), case.each.len());
        for (ours, theirs) in found.classes.iter().zip(&case.each) {
            let of = |score: &str| format!("{name}: {score} of {}", ours.name);
            close(ours.precision, theirs.precision, &of("precision"));
            close(ours.recall, theirs.recall, &of("recall"));
            close(ours.f1, theirs.f1, &of("F1"));
            close(ours.specificity, theirs.specificity, &of("specificity"));
            close(ours.roc_auc, theirs.roc_auc, &of("AUC"));
            close(
                ours.average_precision,
                theirs.average_precision,
                &of("average precision"),
            );
        }
        let top: Vec<usize> = found.top_k.iter().map(|top| top.k).collect();
        assert_eq!(top, Vec::from_iter(case.top_k.keys().copied()), "{name}");
        for top in found.top_k {
            close(top.accuracy, case.top_k[&top.k], &of("top-k"));
        }
        let calibration = found.calibration.unwrap();
        close(
            calibration.expected_error,
            case.expected_error,
            &of("calibration error"),
        );
        let in_bins: u64 = calibration.bins.iter().map(|bin| bin.images).sum();
        assert_eq!(in_bins, found.images, "{name}");
    }
}

#[test]
fn intervals_are_those_of_scipy_and_numpy() {
    for case in cases() {
        let (name, found) = (&case.name, case.evaluation());
        let Interval { low, high } = found.accuracy_interval;
        close(low, case.interval[0], name);
        close(high, case.interval[1], name);
        // The percentiles of 1000 samples vary: by 0.09 standard deviations of the score.
        let Bootstrap { low, high, std } = case.macro_f1_interval;
        let ours = found.macro_f1_interval;
        let is_close = |ours: f64, theirs: f64| (ours - theirs).abs() <= 0.4 * std + 1e-12;
        assert!(
            is_close(ours.low, low) && is_close(ours.high, high),
            "{name}: {ours:?} {low} {high} {std}"
        );
    }
}

#[derive(serde::Deserialize)]
struct Curves {
    labels: Vec<bool>,
    probabilities: Vec<u32>,
    scale: u32,
    roc: Vec<[f64; 2]>,
    precision_recall: Vec<[f64; 2]>,
}

#[test]
fn short_curves_are_those_of_scikit_learn() {
    let golden = include_str!("../../tests/golden/curves.json");
    let cases: Vec<Curves> = serde_json::from_str(golden).unwrap();
    assert!(cases.len() > 2);
    for case in cases {
        let values = case
            .probabilities
            .iter()
            .map(|&value| value as f32 / case.scale as f32);
        let ranking = Ranking::of(values.zip(case.labels.iter().copied()));
        for (ours, theirs) in [
            (ranking.roc(), case.roc),
            (ranking.precision_recall(), case.precision_recall),
        ] {
            assert_eq!(ours.len(), theirs.len());
            for (a, b) in ours.iter().flatten().zip(theirs.iter().flatten()) {
                assert!((a - b).abs() < 1e-12, "{ours:?} {theirs:?}");
            }
        }
    }
}

/// Files of `evaluate --json` of earlier versions lack most scores.
#[test]
fn an_evaluation_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evaluation-test.json");
    for case in cases() {
        let evaluation = case.evaluation();
        evaluation.write(&path).unwrap();
        assert_eq!(
            Evaluation::read(&path).unwrap(),
            evaluation,
            "{}",
            case.name
        );
    }
    let found = Evaluation::of_run(dir.path()).unwrap().unwrap();
    assert_eq!(found.1, super::Measured::Test);
    let old = r#"{"images":1,"skipped":0,"accuracy":1.0,"loss":0.1,"macro_precision":1.0,"macro_recall":1.0,
        "macro_f1":1.0,"classes":[{"name":"a","support":1,"precision":1.0,"recall":1.0,"f1":1.0}],"confusion":[[1]]}"#;
    std::fs::write(&path, old).unwrap();
    let read = Evaluation::read(&path).unwrap();
    assert_eq!(
        read.accuracy_interval,
        Interval {
            low: 0.0,
            high: 1.0
        }
    );
    assert_eq!((read.calibration, read.classes[0].roc_auc), (None, None));
    std::fs::write(&path, "{\"images\":1}").unwrap();
    let error = Evaluation::read(&path).unwrap_err();
    assert!(matches!(error, crate::Error::BadFile { .. }), "{error}");
}
