//! Tests training runs: output, files, reproducibility and failures.

use std::process::Stdio;

#[cfg(unix)]
use crate::bench::interrupted;
use crate::bench::{
    Bench, Run, SMALL_FOLDER_RUN, close_network, project, sorted, trained, training, weights_in,
};

#[test]
fn a_run_learns_and_leaves_the_documented_files() {
    let accuracy: f64 = training().value("test accuracy").parse().unwrap();
    assert!(
        accuracy > 0.4,
        "the sample's test digits are classified at {accuracy}"
    );
    let dir = trained().path("run");
    let names: Vec<String> = sorted(&dir)
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let (weights, others): (Vec<_>, Vec<_>) =
        (names.iter().map(String::as_str)).partition(|name| name.ends_with(".safetensors"));
    assert!(matches!(&weights[..], [name] if name.starts_with("mobilenet_v3_small_e")));
    let expected = [
        "MODEL_CARD.md",
        "config.toml",
        "confusion.png",
        "confusion.svg",
        "curves.png",
        "curves.svg",
        "evaluation-test.json",
        "explanations",
        "metrics.csv",
        "metrics.jsonl",
        "predictions-test.csv",
        "predictions.png",
        "reliability.svg",
        "report.html",
        "roc.svg",
        "run.json",
        "state",
        "wrong.csv",
    ];
    assert_eq!(others, expected);
    let metrics = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 4);
    let config = std::fs::read_to_string(dir.join("config.toml")).unwrap();
    for key in [
        "width = 0.25",
        "classes = 10",
        "batch_norm_momentum = 0.1",
        "limit = \"none\"",
    ] {
        assert!(config.contains(key), "{key} is not in\n{config}");
    }
    let weights = training().value("weights").to_owned();
    assert!(trained().path(&weights).is_file(), "{weights}");
}

#[test]
fn piped_output_has_no_control_characters() {
    let run = training();
    for text in [&run.stdout, &run.stderr] {
        let odd = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(odd, None, "in {text:?}");
    }
    let epochs = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("epoch "))
        .count();
    assert_eq!(epochs, 4, "{}", run.stderr);
    let time = run.stderr.lines().find(|line| line.starts_with("time: "));
    let time = time.unwrap();
    for part in ["data", "forward", "backward", "optimizer", "validation"] {
        assert!(time.contains(&format!("{part} ")), "{time}");
    }
    // Results are on stdout, everything else on stderr.
    assert!(!run.stdout.contains("epoch 1/"), "{}", run.stdout);
    assert!(!run.stderr.contains("test accuracy"), "{}", run.stderr);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let weights = |seed: &str| {
        let bench = Bench::new();
        bench
            .train(&[
                "--set",
                seed,
                "--set",
                "train.epochs=1",
                "--set",
                "data.limit=200",
            ])
            .success();
        std::fs::read(weights_in(&bench.path("run"))).unwrap()
    };
    let first = weights("train.seed=5");
    assert!(first == weights("train.seed=5"));
    assert!(first != weights("train.seed=6"));
}

#[test]
fn settings_are_layered() {
    let bench = Bench::new();
    std::fs::write(
        bench.path("my.toml"),
        "[train]\nepochs = 7\nseed = 7\npatience = 7\n[model]\nwidth = 0.25\n",
    )
    .unwrap();
    bench.two_classes();
    let sets = [
        "data.source=folder",
        "data.root=images",
        "data.batch_size=8",
        "train.epochs=1",
    ];
    let mut command = bench.command(&["train", "--config", "my.toml", "--run-dir", "run"]);
    for set in sets {
        command.args(["--set", set]);
    }
    Run::of(
        command
            .env("CLASSIFY_TRAIN__SEED", "8")
            .env("CLASSIFY_TRAIN__EPOCHS", "9"),
    )
    .success();
    let config = std::fs::read_to_string(bench.path("run/config.toml")).unwrap();
    for line in [
        "epochs = 1\n",
        "seed = 8\n",
        "patience = 7\n",
        "dropout = 0.2\n",
    ] {
        assert!(config.contains(line), "{line} is not in\n{config}");
    }
}

#[test]
fn a_second_run_takes_the_next_folder() {
    let bench = Bench::new();
    bench.two_classes();
    let train = || {
        let mut arguments = vec!["train"];
        arguments.extend(SMALL_FOLDER_RUN.iter().flat_map(|set| ["--set", set]));
        bench.run(&arguments).success()
    };
    assert!(train().value("weights").starts_with("runs/folder-001/"));
    assert!(train().value("weights").starts_with("runs/folder-002/"));
    // A named folder is never reused.
    bench.train_folder(&[]).success();
    bench
        .train_folder(&[])
        .failure(1, &["run", "never overwrites"]);
}

#[test]
fn a_refused_run_leaves_its_folder_to_the_next() {
    let bench = Bench::new();
    bench.two_classes();
    for command in ["train", "lr-find", "cross-validate"] {
        let run = |more: &[&str]| {
            let mut arguments = vec![command, "--run-dir", "run"];
            arguments.extend(SMALL_FOLDER_RUN.iter().flat_map(|set| ["--set", set]));
            bench.run(&[&arguments[..], more].concat())
        };
        for (set, code, said) in [
            ("data.batch_size=50", 2, "train.drop_last"),
            ("warmup.epochs=-1", 2, "warmup"),
            ("model.pretrained=none.pth", 1, "none.pth"),
            ("distillation.teacher=none.pth", 1, "none.pth"),
        ] {
            run(&["--set", set]).failure(code, &[said]);
            assert!(!bench.path("run").exists(), "{command} {set}");
        }
    }
    bench.train_folder(&[]).success();
    // A run with results is never changed.
    let files = sorted(&bench.path("run"));
    bench.train_folder(&[]).failure(1, &["never overwrites"]);
    assert_eq!(sorted(&bench.path("run")), files);
}

#[test]
fn of_runs_started_together_one_has_the_folder() {
    let bench = Bench::new();
    bench.two_classes();
    let mut arguments = vec!["train", "--run-dir", "run"];
    arguments.extend(SMALL_FOLDER_RUN.iter().flat_map(|set| ["--set", set]));
    let start = |_| {
        let mut command = bench.command(&arguments);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().unwrap()
    };
    let processes: Vec<_> = (0..4).map(start).collect();
    let runs = processes
        .into_iter()
        .map(|process| Run::from(process.wait_with_output().unwrap()));
    let (done, refused): (Vec<Run>, Vec<Run>) = runs.partition(|run| run.code == Some(0));
    assert_eq!(done.len(), 1);
    for run in refused {
        // The other runs fail because the folder is in use, or already has results.
        run.failure(1, &["run folder run", "choose"]);
    }
    weights_in(&bench.path("run"));
    let metrics = std::fs::read_to_string(bench.path("run/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 1);
    // The refused runs have left nothing in the folder.
    let files = sorted(&bench.path("run"));
    let extensions = files.iter().filter_map(|path| path.extension()?.to_str());
    let others: Vec<_> = extensions
        .filter(|e| {
            ![
                "csv",
                "html",
                "json",
                "jsonl",
                "md",
                "png",
                "safetensors",
                "svg",
                "toml",
            ]
            .contains(e)
        })
        .collect();
    assert!(others.is_empty(), "{files:?}");
}

/// Simulates a disk with space for small files but not for weights.
#[cfg(unix)]
#[test]
fn a_disk_without_room_for_weights_ends_the_run_when_it_is_over() {
    let bench = Bench::new();
    bench.two_classes();
    let mut arguments = vec!["train", "--run-dir", "run"];
    arguments.extend(SMALL_FOLDER_RUN.iter().flat_map(|set| ["--set", set]));
    arguments.extend(["--set", "train.epochs=2"]);
    let classify = bench.command(&arguments);
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(classify.get_program())
        .args(classify.get_args())
        .current_dir(bench.path(""));
    let run = Run::of(&mut limited).failure(
        1,
        &[
            "warning: run/mobilenet_v3_small_e1_",
            "epoch 2/2",
            "error: run/mobilenet_v3_small_e",
            "could not be written",
            "make room",
        ],
    );
    assert_eq!(run.stdout, "");
    let metrics = std::fs::read_to_string(bench.path("run/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 2);
    // The folder has the configuration, the metrics and the record; no weights, temporaries or lock, and no state.
    assert_eq!(sorted(&bench.path("run")).len(), 4);
    assert_eq!(sorted(&bench.path("run/state")).len(), 1);
}

/// If MNIST is unavailable, the run uses the sample and reports it.
#[test]
fn without_mnist_the_sample_is_trained_on_and_said_so() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.path("data/sample")).unwrap();
    for file in sorted(&project("data/sample")) {
        let name = file.file_name().unwrap();
        std::fs::copy(&file, bench.path("data/sample").join(name)).unwrap();
    }
    let mut command = bench.command(&["train", "--run-dir", "run"]);
    for set in ["train.epochs=1", "model.width=0.25", "data.limit=128"] {
        command.args(["--set", set]);
    }
    let run = Run::of(close_network(&mut command)).success();
    assert!(
        run.stderr.contains("*** MNIST could not be fetched"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("tried:"), "{}", run.stderr);
    run.value("test accuracy");
    for command in ["cross-validate --folds 2", "lr-find --steps 11"] {
        let words: Vec<&str> = command.split(' ').collect();
        let mut command = bench.command(&words);
        for set in ["train.epochs=1", "model.width=0.25", "data.limit=128"] {
            command.args(["--set", set]);
        }
        let run = Run::of(close_network(&mut command)).success();
        let warnings = run.stderr.matches("*** MNIST could not be fetched");
        assert_eq!(warnings.count(), 2, "{}", run.stderr);
    }

    // Fashion-MNIST has no sample.
    let mut command = bench.command(&["train", "--set", "data.source=fashion-mnist"]);
    Run::of(close_network(&mut command)).failure(1, &["cannot fetch fashion-mnist", "by hand"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_ends_with_130_and_its_best_weights() {
    let bench = Bench::new();
    let mut command =
        bench.train_command(&["--set", "train.epochs=1000", "--set", "data.limit=64"]);
    interrupted(&mut command, "wrote ").failure(130, &["interrupted in epoch"]);
    let weights = weights_in(&bench.path("run")).display().to_string();
    bench.run(&["inspect", &weights]).success();
}

#[test]
fn the_log_of_events_is_json_lines_with_the_result() {
    let bench = Bench::new();
    bench.two_classes();
    let run = bench.train_folder(&["--json-log"]).success();
    let lines = run.stdout.lines();
    let lines: Vec<serde_json::Value> = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
    let named = |name: &str| lines.iter().filter(|l| l["event"] == name).count();
    assert_eq!(lines[0]["event"], "run_started");
    assert_eq!(lines[0]["train_images"], 24);
    let epochs = named("epoch_started");
    assert!(epochs > 0);
    assert_eq!(
        (named("epoch_finished"), named("validation_started")),
        (epochs, epochs)
    );
    let mut batches = lines.iter().filter(|l| l["event"] == "batch_done");
    let last = batches.next_back().unwrap();
    let report = lines
        .iter()
        .rfind(|l| l["event"] == "epoch_finished")
        .unwrap();
    assert_eq!(last["running_loss"], report["train_loss"]);
    assert_eq!(last["running_accuracy"], report["train_accuracy"]);
    let result = lines.last().unwrap();
    assert_eq!(
        (&result["event"], &result["split"]),
        (&"result".into(), &"validation".into())
    );
    assert!(result["accuracy"].as_f64().is_some());
    assert!(bench.path(result["weights"].as_str().unwrap()).is_file());
    // Lines for people are on stderr.
    assert!(run.stderr.contains("epoch 1/"), "{}", run.stderr);
    // An error is the last line.
    let run = bench.train_folder(&["--json-log", "--set", "data.root=missing"]);
    let last: serde_json::Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "failed");
    assert!(
        last["error"].as_str().unwrap().contains("missing"),
        "{last}"
    );
}

#[test]
fn a_full_screen_view_needs_a_terminal() {
    let bench = Bench::new();
    bench
        .run(&["train", "--tui"])
        .failure(2, &["--tui", "not a terminal"]);
    assert!(!bench.path("runs").exists());
}
