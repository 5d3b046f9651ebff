//! Finding a rate, folds, ensembles, and other people's configurations.

use std::fs;

use crate::bench::{Bench, trained, weights_in};

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
        .failure(1, &["no ensemble", "classes differ"]);
}

#[test]
fn a_python_dictionary_becomes_a_configuration_that_loads() {
    let bench = Bench::new();
    let text = "import os\ncfg = {\n    'model_name': 'mobilenetv3',\n    'epochs': 3,\n    'k_flod': 5,\n    'scheduler': 'step-4-0.8',\n    'save_dir': os.getcwd(),\n}\n";
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
        run.stderr.contains("only Python can tell"),
        "{}",
        run.stderr
    );
    // It gets as far as looking for the images.
    bench
        .run(&["train", "--config", "my.toml"])
        .failure(1, &["data/train"]);
    bench
        .run(&["import-config", "config.py", "--out", "my.toml"])
        .failure(1, &["not overwritten"]);
    fs::write(bench.path("config.py"), "cfg = {'epochs': [}").unwrap();
    bench
        .run(&["import-config", "config.py"])
        .failure(2, &["config.py", "line 1"]);
}
