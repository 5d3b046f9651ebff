//! The record of a run.

use std::sync::atomic::AtomicBool;

use trainer::{Ending, Evaluation, RunDir, RunRecord, Splits};

use crate::resume;
use crate::scene::Scene;

#[test]
fn a_run_records_its_images_its_machine_and_its_end() {
    let scene = Scene::new();
    let dir = scene.dir.path().join("recorded");
    let outcome = resume::run(&scene.config, &dir, usize::MAX).unwrap();
    let record = RunRecord::read(&dir).unwrap().unwrap();
    assert_eq!(record.classes, ["0", "1"]);
    assert_eq!(
        (record.device.as_str(), record.monitor.as_str()),
        ("cpu", "val_accuracy")
    );
    assert_eq!(record.parameters, outcome.network.parameters().len());
    let splits: Vec<_> = record
        .splits
        .iter()
        .map(|split| (split.name.as_str(), split.images))
        .collect();
    assert_eq!(splits, [("train", 40), ("val", 16), ("test", 16)]);
    for split in &record.splits {
        assert_eq!(split.per_class, [split.images / 2; 2]);
        assert_eq!(split.fingerprint.len(), 64);
    }
    let best = outcome.best.unwrap();
    assert_eq!(record.ending, Some(Ending::Completed));
    assert_eq!(
        (record.best_epoch, record.best_score),
        (Some(best.epoch), Some(best.score))
    );
    assert!(dir.join(record.weights.unwrap()) == best.weights);
    assert!(record.finished.unwrap() >= record.started && record.started > 1_700_000_000);
    assert_eq!(Evaluation::of_run(&dir).unwrap(), None);
}

#[test]
fn a_resumed_run_keeps_its_start_and_other_images_have_another_fingerprint() {
    let scene = Scene::new();
    let dir = scene.dir.path().join("cut");
    let outcome = resume::run(&scene.config, &dir, 5).unwrap();
    assert_eq!(outcome.ending, Ending::Interrupted);
    let mut before = RunRecord::read(&dir).unwrap().unwrap();
    assert_eq!(before.ending, Some(Ending::Interrupted));
    // As if it had started long ago.
    before.started = 1;
    before.write(&dir).unwrap();
    resume::run(&scene.config, &dir, usize::MAX).unwrap();
    let after = RunRecord::read(&dir).unwrap().unwrap();
    assert_eq!((after.started, after.ending), (1, Some(Ending::Completed)));
    assert_eq!(after.splits, before.splits);

    scene.swap_validation();
    let splits = Splits::open(&scene.config).unwrap();
    let other = RunDir::create(&scene.dir.path().join("other")).unwrap();
    let never = AtomicBool::new(false);
    trainer::fit(&scene.config, &splits, &other, &mut (), &never).unwrap();
    let other = RunRecord::read(other.path()).unwrap().unwrap();
    let same: Vec<bool> = (0..3)
        .map(|split| other.splits[split].fingerprint == after.splits[split].fingerprint)
        .collect();
    assert_eq!(same, [true, false, true]);
}
