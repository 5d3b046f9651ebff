//! `train.precision = "auto"` in the training loop. `tests/e2e/precision.rs` tests it with other measured speeds.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use mobilenet::Precision;
use trainer::config::PrecisionChoice;
use trainer::{Event, FoldsConfig, Recorder, RunConfig, RunDir, Splits};

use crate::resume::{files, run};
use crate::scene::Scene;

fn written(run: &Path) -> PrecisionChoice {
    let text = std::fs::read_to_string(run.join("config.toml")).unwrap();
    let config = RunConfig::from_toml(&text, "config.toml").unwrap();
    config.train.precision
}

/// Whatever is the fastest here, one of these precisions is another one.
#[test]
fn a_run_goes_on_in_the_precision_of_its_state() {
    let scene = Scene::new();
    let bf16 = Precision::bf16_of_this_processor();
    for precision in [Precision::F32].into_iter().chain(bf16) {
        let mut config = scene.config.clone();
        config.train.precision = precision.into();
        let [whole, cut] =
            ["whole", "cut"].map(|name| scene.dir.path().join(format!("{name}-{precision}")));
        run(&config, &whole, usize::MAX).unwrap();
        run(&config, &cut, 9).unwrap();
        config.train.precision = PrecisionChoice::Auto;
        run(&config, &cut, usize::MAX).unwrap();
        assert_eq!(written(&cut), precision.into());
        assert_eq!(files(&cut), files(&whole));
    }
}

/// A run may go on where its instructions are missing: with others, or in f32.
#[test]
fn a_run_goes_on_on_a_processor_without_its_instructions() {
    let scene = Scene::new();
    for precision in [Precision::Bf16Amx, Precision::Bf16Avx512] {
        let mut config = scene.config.clone();
        let path = scene.dir.path().join(precision.to_string());
        config.train.precision = precision.available().into();
        run(&config, &path, 9).unwrap();
        config.train.precision = precision.into();
        run(&config, &path, usize::MAX).unwrap();
        assert_eq!(written(&path), precision.available().into());
        // A run that begins must have the instructions.
        let begun = run(&config, &path.with_extension("new"), 9);
        assert_eq!(begun.is_ok(), precision.isa().is_ok());
    }
}

#[test]
fn the_choice_is_told_once_and_written() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    scene.config.train.precision = PrecisionChoice::Auto;
    let chosen = |recorder: &Recorder| -> Vec<PrecisionChoice> {
        let events = recorder.events.iter();
        let chosen = events.filter_map(|event| match event {
            Event::PrecisionChosen(chosen) => Some(chosen.precision.into()),
            _ => None,
        });
        chosen.collect()
    };
    let (_, recorder) = scene.run();
    assert_eq!(
        chosen(&recorder),
        [written(&scene.dir.path().join("run-001"))]
    );

    // All folds of a cross-validation have one precision.
    let dir = scene.dir.path().join("folds");
    let folds = RunDir::create(&dir).unwrap();
    let splits = Splits::open_for_folds(&scene.config).unwrap();
    let division = FoldsConfig { count: 2, seed: 1 };
    let (mut recorder, no) = (Recorder::default(), AtomicBool::new(false));
    trainer::cross_validate(
        &scene.config,
        &splits,
        &division,
        &folds,
        None,
        &mut recorder,
        &no,
    )
    .unwrap();
    let once = chosen(&recorder);
    assert_eq!(once.len(), 1);
    for run in [dir.clone(), dir.join("fold-1"), dir.join("fold-2")] {
        assert_eq!(written(&run), once[0]);
    }
}
