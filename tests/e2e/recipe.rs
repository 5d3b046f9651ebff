//! Tests `lr-find`, cross-validation, ensembles, and imported configurations.

use std::fs;

#[cfg(unix)]
use crate::bench::interrupted;
use crate::bench::{Bench, sorted, trained, weights_in};

const SMALL: [&str; 9] = [
    "--set=data.source=folder",
    "--set=data.root=images",
    "--set=data.image_size=16",
    "--set=data.batch_size=8",
    "--set=model.width=0.25",
    "--set=train.drop_last=false",
    "--set=train.epochs=1",
    "--set=augment.preset=digits",
    "--set=data.disk_cache_mb=0",
];

#[test]
fn a_learning_rate_is_suggested_with_its_curve() {
    let bench = Bench::new();
    bench.two_classes();
    let arguments = ["lr-find", "--run-dir", "run", "--steps", "30", "--to", "10"];
    let run = bench.run(&[&arguments[..], &SMALL].concat()).success();
    assert_eq!(run.value("curve"), "run/lr-find.csv");
    let csv = fs::read_to_string(bench.path("run/lr-find.csv")).unwrap();
    assert!(
        csv.starts_with("learning_rate,loss,smoothed_loss\n"),
        "{csv}"
    );
    assert!(csv.lines().count() > 12, "{csv}");
    let svg = fs::read_to_string(bench.path("run/lr-find.svg")).unwrap();
    assert!(svg.starts_with("<svg"), "{svg}");
    bench
        .run(&[&["lr-find", "--from", "1", "--to", "0.1"][..], &SMALL].concat())
        .failure(2, &["0 < from < to"]);
}

#[test]
fn folds_make_an_ensemble() {
    let bench = Bench::new();
    bench.two_classes();
    let arguments = ["cross-validate", "--run-dir", "run", "--folds", "2"];
    let run = bench.run(&[&arguments[..], &SMALL].concat()).success();
    assert!(run.stdout.contains("accuracy 0.") || run.stdout.contains("accuracy 1."));
    assert!(run.stdout.contains(" ± "), "{}", run.stdout);
    let report = fs::read_to_string(bench.path("run/cross-validation.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["folds"].as_array().unwrap().len(), 2);
    let weights = ["run/fold-1", "run/fold-2"].map(|run| weights_in(&bench.path(run)));
    let weights = weights.map(|path| path.display().to_string());
    let together = [
        "evaluate",
        "--weights",
        &weights[0],
        "--weights",
        &weights[1],
    ];
    let run = bench.run(&[&together[..], &["--data", "images/val", "--tta", "shifts"]].concat());
    assert_eq!(run.success().value("images"), "8");
    let other = weights_in(&trained().path("run")).display().to_string();
    bench
        .run(&[
            "evaluate",
            "--weights",
            &weights[0],
            "--weights",
            &other,
            "--data",
            "images/val",
        ])
        .failure(1, &["cannot form an ensemble", "classes differ"]);
}

#[test]
fn folds_use_the_images_in_csv_files() {
    let bench = Bench::new();
    bench.two_classes();
    // The second class has too few images to hold some out for validation.
    let mut text = "path,label\n".to_owned();
    for (class, count) in [("0", 12), ("1", 6)] {
        let folder = bench.path("images/train").join(class);
        for file in sorted(&folder).into_iter().take(count) {
            let name = file.file_name().unwrap().to_str().unwrap();
            text += &format!("train/{class}/{name},class {class}\n");
        }
    }
    fs::write(bench.path("images/train.csv"), text).unwrap();
    let sets = [
        "--set=data.source=csv",
        "--set=data.limit=5",
        "--set=data.sample_weights.patterns=[{ pattern = \"train/1/**\", weight = 0.5 }]",
    ];
    let run = |arguments: &[&str]| bench.run(&[arguments, &SMALL, &sets].concat());
    run(&["train"]).failure(1, &["val.csv", "`class 1` has 6", "at least 10"]);
    let folds = ["cross-validate", "--run-dir", "run", "--folds", "3"];
    let report = run(&folds).success().value("report").to_owned();
    let report = fs::read_to_string(bench.path(&report)).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let counts = |key: &str| -> Vec<u64> {
        let folds = report["folds"].as_array().unwrap().iter();
        folds.map(|fold| fold[key].as_u64().unwrap()).collect()
    };
    assert_eq!(counts("val_images"), [6, 6, 6]);
    assert_eq!(counts("train_images"), [5, 5, 5]);
    run(&["cross-validate", "--folds", "13"]).failure(2, &["13", "fewer folds"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_range_test_ends_with_130() {
    let bench = Bench::new();
    bench.two_classes();
    // The rates are too small to change the weights, so the loss never ends the search.
    let arguments = [
        "lr-find", "--from", "1e-12", "--to", "1e-10", "--steps", "1000000",
    ];
    let mut command = bench.command(&[&arguments[..], &SMALL].concat());
    let run = interrupted(&mut command, "training ").failure(130, &["stopping after this step"]);
    // The curve file exists unless the search was interrupted before its first step.
    let folder = bench.path("runs/lr-find-001");
    assert_eq!(
        folder.join("lr-find.svg").is_file(),
        run.stdout.contains("plot ")
    );
    assert_eq!(folder.exists(), run.stdout.contains("plot "));
}

#[cfg(unix)]
#[test]
fn the_folds_before_an_interruption_are_reported() {
    let bench = Bench::new();
    bench.two_classes();
    let arguments = ["cross-validate", "--run-dir", "run", "--folds", "12"];
    let mut command = bench.command(&[&arguments[..], &SMALL].concat());
    command.args(["--set", "train.epochs=60"]);
    interrupted(&mut command, "wrote run/fold-2")
        .failure(130, &["finished folds are in run/cross-validation.json"]);
    let report = fs::read_to_string(bench.path("run/cross-validation.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let folds = report["folds"].as_array().unwrap().len();
    assert!((1..12).contains(&folds), "{folds}");
    assert!(report["accuracy"]["mean"].as_f64().is_some());
}

#[test]
fn a_rate_found_with_a_frozen_backbone_is_called_the_heads() {
    let bench = Bench::new();
    bench.two_classes();
    let arguments = ["lr-find", "--steps", "11", "--set", "train.freeze_epochs=1"];
    let run = bench.run(&[&arguments[..], &SMALL].concat()).success();
    assert!(run.stderr.contains("for the head alone"), "{}", run.stderr);
}

#[test]
fn a_python_dictionary_becomes_a_configuration_that_loads() {
    let bench = Bench::new();
    let text = "import os\ncfg = {\n    'model_name': 'mobilenetv3',\n    'epochs': 3,\n    'k_flod': 5,\n    'scheduler': 'step-4-0.8',\n    'save_dir': os.getcwd(),\n    'dropout': P,\n}\n";
    fs::write(bench.path("config.py"), text).unwrap();
    let run = bench
        .run(&["import-config", "config.py", "--out", "my.toml"])
        .success();
    assert_eq!(run.value("written"), "my.toml");
    assert!(
        run.stderr
            .contains("config.py:5: `k_flod` never did anything"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("only Python can compute"),
        "{}",
        run.stderr
    );
    // The imported configuration is valid: the run fails only when it looks for images.
    bench
        .run(&["train", "--config", "my.toml"])
        .failure(1, &["data/train"]);
    bench
        .run(&["import-config", "config.py", "--out", "my.toml"])
        .failure(1, &["not overwritten"]);
    fs::write(bench.path("config.py"), "cfg = {\n'epochs': 0}").unwrap();
    bench
        .run(&["import-config", "config.py"])
        .failure(2, &["config.py:2: `epochs`"]);
    fs::write(bench.path("config.py"), "cfg = {'epochs': [}").unwrap();
    bench
        .run(&["import-config", "config.py"])
        .failure(2, &["config.py", "line 1"]);
}
