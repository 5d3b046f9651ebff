//! `train.precision = "auto"`: the choice by measured speeds, which a run keeps.

use std::path::PathBuf;

use serde_json::Value;

use crate::bench::{Bench, Run, SMALL_FOLDER_RUN};

fn speeds(bench: &Bench) -> PathBuf {
    bench.path("cache/classify/speeds/training-speeds.json")
}

/// Replaces the measured speeds: f32 has this one, and every bf16 has 300.
fn set_f32(bench: &Bench, images_per_second: f64) {
    let text = std::fs::read_to_string(speeds(bench)).unwrap();
    let mut entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(entries.len(), 1);
    for speed in entries[0]["speeds"].as_array_mut().unwrap() {
        let is_f32 = speed["precision"] == "f32";
        speed["images_per_second"] = if is_f32 { images_per_second } else { 300.0 }.into();
    }
    std::fs::write(speeds(bench), serde_json::to_vec(&entries).unwrap()).unwrap();
}

/// Trains for an epoch in the folder `run`.
fn train(bench: &Bench, run: &str, precision: &str) -> Run {
    let precision = format!("train.precision={precision}");
    let settings = SMALL_FOLDER_RUN.iter().chain(&["schedule.type=constant"]);
    let settings = settings.flat_map(|set| ["--set", set]);
    let arguments = ["train", "--run-dir", run, "--set", &precision];
    bench.run(&arguments.into_iter().chain(settings).collect::<Vec<_>>())
}

fn precision(bench: &Bench, run: &str) -> String {
    let text = std::fs::read_to_string(bench.path(run).join("config.toml")).unwrap();
    let config: toml::Table = text.parse().unwrap();
    config["train"]["precision"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_keeps_the_precision_that_was_measured_when_it_began() {
    let bench = Bench::new();
    bench.two_classes();
    let first = train(&bench, "first", "auto").success();
    assert!(
        first.stderr.contains("precision auto: "),
        "{}",
        first.stderr
    );
    let bf16 = mobilenet::Precision::bf16_of_this_processor();
    let Some(preferred) = bf16.first().map(ToString::to_string) else {
        assert!(first.stderr.contains("f32, because"), "{}", first.stderr);
        assert_eq!(precision(&bench, "first"), "f32");
        return;
    };
    assert!(first.stderr.contains("measuring once"), "{}", first.stderr);

    set_f32(&bench, 200.0);
    let kept = train(&bench, "kept", "auto").success();
    let figures = format!("(images/s on this processor: f32 200, {preferred} 300");
    assert!(kept.stderr.contains(&figures), "{}", kept.stderr);
    assert!(!kept.stderr.contains("measuring once"), "{}", kept.stderr);
    // Of several instructions with the same speed, any may win.
    let chosen = precision(&bench, "kept");
    assert!(chosen.starts_with("bf16_"), "{chosen}");
    let record = std::fs::read_to_string(bench.path("kept/run.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["precision"], chosen.as_str());
    assert_eq!(record["speeds"][0]["images_per_second"], 200.0);

    // By now f32 is faster. The run goes on with its own precision, even if "auto" is asked for again.
    set_f32(&bench, 900.0);
    let resume = ["train", "--resume", "kept", "--set"];
    for more in [
        &["train.epochs=2"][..],
        &["train.epochs=3", "--set", "train.precision=auto"],
    ] {
        let resumed = bench.run(&[&resume[..], more].concat()).success();
        assert!(
            resumed.stderr.contains("going on with epoch"),
            "{}",
            resumed.stderr
        );
        for unsaid in ["precision auto", "train.precision"] {
            assert!(!resumed.stderr.contains(unsaid), "{}", resumed.stderr);
        }
        assert_eq!(precision(&bench, "kept"), chosen);
    }
    train(&bench, "other", "auto").success();
    assert_eq!(precision(&bench, "other"), "f32");

    let slow = train(&bench, "slow", "bf16").success();
    let warning = "\"bf16\" is slower than f32 on this processor (300 images/s instead of 900)";
    assert!(slow.stderr.contains(warning), "{}", slow.stderr);
    assert_eq!(precision(&bench, "slow"), "bf16");

    // The commands that use a network choose by the same speeds.
    let weights = slow.value("weights");
    let evaluated = bench.run(&[
        "evaluate",
        "--weights",
        weights,
        "--data",
        "images/val",
        "--precision",
        "auto",
    ]);
    let evaluated = evaluated.success();
    let said = "precision auto: f32 (images/s on this processor: f32 900,";
    assert!(evaluated.stderr.contains(said), "{}", evaluated.stderr);

    // A damaged file is measured again.
    std::fs::write(speeds(&bench), "{").unwrap();
    let again = train(&bench, "again", "auto").success();
    assert!(again.stderr.contains("measuring once"), "{}", again.stderr);
    set_f32(&bench, 200.0);
}

#[test]
fn instructions_that_are_missing_are_named() {
    let bench = Bench::new();
    bench.two_classes();
    for (word, needs) in [("bf16_amx", "AMX-BF16"), ("bf16_avx512", "AVX-512 BF16")] {
        let set = format!("train.precision={word}");
        let arguments = [
            "train",
            "--set",
            "data.source=folder",
            "--set",
            "data.root=images",
            "--set",
            &set,
        ];
        let mut command = bench.command(&arguments);
        Run::of(command.env("ENGINE_ISA", "portable"))
            .failure(2, &[word, needs, "instruction set portable", "use f32"]);
    }
}
