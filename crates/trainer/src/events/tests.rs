use std::fs::File;
use std::io::Write as _;

use super::*;

pub(crate) fn report(epoch: usize) -> EpochReport {
    EpochReport {
        epoch,
        train_loss: 0.5,
        train_accuracy: 0.8,
        val_loss: 0.4,
        val_accuracy: 0.9,
        val_macro_f1: 0.85,
        learning_rate: 1e-3,
        images_per_second: 600.0,
        seconds: 12.0,
        times: EpochTimes {
            forward: 12.0,
            ..EpochTimes::default()
        },
        ema: None,
        loss_scale: None,
        unreadable: Unreadable::default(),
    }
}

#[test]
fn metrics_are_one_object_per_epoch_with_exactly_the_documented_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    for epoch in 1..=2 {
        let mut sinks = (MetricsFile::append(&path).unwrap(), Recorder::default());
        sinks
            .handle(&Event::EpochStarted {
                epoch,
                batches: 3,
                done: 0,
            })
            .unwrap();
        sinks.handle(&Event::EpochFinished(report(epoch))).unwrap();
        assert_eq!(sinks.1.epochs().len(), 1);
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["epoch"], 2);
    let mut keys: Vec<&str> = lines[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "epoch",
            "images_per_second",
            "learning_rate",
            "seconds",
            "times",
            "train_accuracy",
            "train_loss",
            "val_accuracy",
            "val_loss",
            "val_macro_f1"
        ]
    );
}

#[test]
fn images_that_could_not_be_read_are_counted_by_class() {
    let mut report = report(1);
    report.unreadable.train.insert("cat".to_owned(), 3);
    let line = serde_json::to_value(&report).unwrap();
    assert_eq!(
        line["unreadable"],
        serde_json::json!({ "train": { "cat": 3 } })
    );
    assert_eq!(serde_json::from_value::<EpochReport>(line).unwrap(), report);
    assert_eq!(report.unreadable.total(), 3);
}

#[test]
fn a_line_that_cannot_be_written_comes_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    let mut metrics = MetricsFile::append(&path).unwrap();
    let finish = |metrics: &mut MetricsFile, epoch| {
        metrics
            .handle(&Event::EpochFinished(report(epoch)))
            .unwrap();
    };
    let epochs = || {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .map(|report: EpochReport| report.epoch)
            .collect::<Vec<_>>()
    };
    finish(&mut metrics, 1);
    // A read-only handle.
    let works = metrics.file.replace(File::open(&path).unwrap());
    finish(&mut metrics, 2);
    assert_eq!(epochs(), [1]);
    metrics.file = works;
    // Half a line, as a full disk leaves it.
    metrics
        .file
        .as_mut()
        .unwrap()
        .write_all(b"{\"epoch\":")
        .unwrap();
    finish(&mut metrics, 3);
    assert_eq!(epochs(), [1, 2, 3]);
    let works = metrics.file.replace(File::open(&path).unwrap());
    finish(&mut metrics, 4);
    metrics.file = works;
    drop(metrics);
    assert_eq!(epochs(), [1, 2, 3, 4]);
}

#[test]
fn a_line_without_times_is_still_read() {
    let mut line = serde_json::to_value(report(1)).unwrap();
    line.as_object_mut().unwrap().remove("times");
    let read: EpochReport = serde_json::from_value(line).unwrap();
    assert_eq!((read.seconds, read.times.total()), (12.0, 0.0));
}
