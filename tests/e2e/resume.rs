//! `train --resume`: after signals, elsewhere, with other settings, and where there is nothing to resume.

use std::path::Path;

use crate::bench::{Bench, Run};
use crate::crash::{Process, Scene, assert_equal, names, states};

/// Settings of a run that takes long, and saves no state on its own after the first epochs.
const LONG: [&str; 2] = ["train.epochs=400", "train.save_every=9h"];

/// The number of epochs in the metrics of a run.
fn epochs(scene: &Scene, run: &str) -> usize {
    let metrics = std::fs::read_to_string(scene.0.path(run).join("metrics.jsonl"));
    metrics.map_or(0, |metrics| metrics.lines().count())
}

/// Waits until more than `done` epochs of the run in `run` are over.
fn under_way(scene: &Scene, process: &mut Process, done: usize) {
    assert!(
        process.until(|| epochs(scene, "run") > done),
        "{}",
        process.stderr()
    );
}

#[test]
fn every_signal_saves_the_state_and_names_the_command() {
    let scene = Scene::new();
    let run = scene.0.path("run");
    scene.train("whole", &["train.epochs=40"]).success();
    let mut process = scene.start("run", &["train.epochs=40"]);
    for (index, signal) in ["TERM", "INT", "HUP"].into_iter().enumerate() {
        under_way(&scene, &mut process, 2 * index);
        process.signal(signal);
        let errors = scene.0.path("stderr.txt");
        assert_eq!(process.wait(), Some(130), "{signal}");
        let said = std::fs::read_to_string(errors).unwrap();
        for text in [
            "stopping after this step",
            "interrupted in epoch",
            "the best weights so far",
            "classify train --resume run",
        ] {
            assert!(said.contains(text), "{signal}: {text:?} is not in\n{said}");
        }
        assert!(states(&run) > 0, "{signal}");
        process = scene.start_resume("run");
    }
    assert_eq!(process.wait(), Some(0));
    assert_equal(&scene.results("run"), &scene.results("whole"));
}

#[test]
fn a_second_signal_ends_the_run_at_once_without_damage() {
    let scene = Scene::new();
    scene.train("whole", &["train.epochs=12"]).success();
    let run = scene.0.path("run");
    for _ in 0..3 {
        let before = names(&run.join("state"));
        let mut process = match run.exists() {
            true => scene.start_resume("run"),
            false => scene.start("run", &["train.epochs=12"]),
        };
        let fresh = |name: &String| name.starts_with('.') && !before.contains(name);
        // The first signal comes in a save, and the second one in the next save or before it.
        let is_saving = || names(&run.join("state")).iter().any(fresh);
        assert!(process.until(is_saving), "{}", process.stderr());
        process.signal("TERM");
        let errors = scene.0.path("stderr.txt");
        let is_heard = || {
            std::fs::read_to_string(&errors)
                .unwrap()
                .contains("stopping after")
        };
        if process.until(is_heard) {
            process.signal("TERM");
        }
        assert_eq!(process.wait(), Some(130));
    }
    scene.resume("run", &[]).success();
    assert_equal(&scene.results("run"), &scene.results("whole"));
}

#[test]
fn a_run_goes_on_in_another_folder_with_other_instructions() {
    let scene = Scene::new();
    let mut process = scene.start("run", &LONG);
    under_way(&scene, &mut process, 0);
    process.signal("INT");
    assert_eq!(process.wait(), Some(130));
    std::fs::create_dir(scene.0.path("elsewhere")).unwrap();
    std::fs::rename(scene.0.path("run"), scene.0.path("elsewhere/moved")).unwrap();
    let epochs = epochs(&scene, "elsewhere/moved") + 2;
    let length = format!("train.epochs={epochs}");
    let mut command = scene
        .0
        .command(&["train", "--resume", "elsewhere/moved", "--set", &length]);
    let run = Run::of(command.env("ENGINE_ISA", "portable")).success();
    for text in ["instruction set portable instead of", "last digits"] {
        assert!(run.stderr.contains(text), "{}", run.stderr);
    }
    assert!(run.value("weights").starts_with("elsewhere/moved/"));
    assert_eq!(self::epochs(&scene, "elsewhere/moved"), epochs);
    assert!(!scene.0.path("run").exists());
}

#[test]
fn a_complete_run_is_left_as_it_is() {
    let scene = Scene::new();
    let first = scene.train("run", &[]).success();
    let before = contents(&scene.0.path("run"));
    let again = scene.resume("run", &[]).success();
    assert!(again.stderr.contains("is complete"), "{}", again.stderr);
    assert!(!again.stderr.contains("epoch "), "{}", again.stderr);
    assert_eq!(again.value("weights"), first.value("weights"));
    assert_eq!(contents(&scene.0.path("run")), before);
    // The wrong answers come last, so a run that was killed before has its report made anew.
    let files = ["wrong.csv", "report.html", "MODEL_CARD.md"];
    let [wrong, report, card] = files.map(|name| scene.0.path("run").join(name));
    let modified = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
    assert!(modified(&wrong) >= modified(&report).max(modified(&card)));
    std::fs::remove_file(&wrong).unwrap();
    std::fs::remove_file(&card).unwrap();
    scene.resume("run", &[]).success();
    assert!(wrong.is_file() && card.is_file());
    // A run of an earlier version has no scores in its folder: they are measured now.
    let scores = ["evaluation-test.json", "evaluation-validation.json"]
        .map(|name| scene.0.path("run").join(name));
    let scores = scores.iter().find(|path| path.is_file()).unwrap();
    std::fs::remove_file(scores).unwrap();
    let measured = scene.resume("run", &[]).success();
    assert!(
        !measured.stderr.contains("is complete"),
        "{}",
        measured.stderr
    );
    assert!(scores.is_file());
    // All of it is as before, the time of the end too.
    assert_eq!(contents(&scene.0.path("run")), before);
    // Without its state it could only be trained again from the beginning, over its results.
    std::fs::remove_dir_all(scene.0.path("run/state")).unwrap();
    let refused = scene
        .resume("run", &[])
        .failure(1, &["is over", "start a new run"]);
    assert_eq!(refused.stdout, "");
    assert_eq!(contents(&scene.0.path("run")), before);
}

/// All files of a run's folder.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        std::fs::read(dir.join(&name))
            .ok()
            .map(|bytes| (name, bytes))
    };
    names(dir).into_iter().filter_map(read).collect()
}

#[test]
fn settings_that_change_the_results_are_refused_and_others_listed() {
    let scene = Scene::new();
    let mut process = scene.start("run", &LONG);
    under_way(&scene, &mut process, 0);
    process.signal("TERM");
    assert_eq!(process.wait(), Some(130));
    let before = contents(&scene.0.path("run"));
    scene
        .resume("run", &["--set", "data.batch_size=4"])
        .failure(2, &["data.batch_size", "from 8 to 4"]);
    scene
        .resume(
            "run",
            &["--set", "optimizer.type=sgd", "--set", "train.seed=9"],
        )
        .failure(2, &["optimizer.type", "train.seed"]);
    assert_eq!(contents(&scene.0.path("run")), before);
    let length = format!("train.epochs={}", epochs(&scene, "run") + 2);
    let settings = [&length, "train.threads=2", "data.workers=2"];
    let settings: Vec<&str> = settings.iter().flat_map(|set| ["--set", set]).collect();
    let run = scene.resume("run", &settings).success();
    for text in [
        "changed: train.threads from 1 to 2",
        "changed: data.workers from",
        "threads 2 instead of 1",
    ] {
        assert!(
            run.stderr.contains(text),
            "{text:?} is not in\n{}",
            run.stderr
        );
    }
}

#[test]
fn folders_without_a_run_are_refused_clearly() {
    let bench = Bench::new();
    bench.two_classes();
    std::fs::create_dir(bench.path("empty")).unwrap();
    let resume = |run: &str| bench.run(&["train", "--resume", run]);
    resume("none").failure(2, &["none", "no such folder"]);
    resume("empty").failure(2, &["empty", "no config.toml"]);
    resume("images/train").failure(2, &["images/train", "no config.toml"]);
    // Nothing was written there.
    assert!(names(&bench.path("empty")).is_empty());
    bench
        .run(&["train", "--resume"])
        .failure(2, &["--resume", "RUN"]);
    bench
        .run(&["train", "images", "--resume", "empty"])
        .failure(2, &["--resume", "cannot be used with"]);
    bench
        .run(&["train", "--run-dir", "new", "--resume", "empty"])
        .failure(2, &["--resume", "cannot be used with"]);

    let mut arguments = vec!["cross-validate", "--folds", "2", "--run-dir", "folds"];
    arguments.extend(
        crate::bench::SMALL_FOLDER_RUN
            .iter()
            .flat_map(|set| ["--set", set]),
    );
    bench.run(&arguments).success();
    resume("folds").failure(1, &["folds", "classify cross-validate --resume folds"]);
}
