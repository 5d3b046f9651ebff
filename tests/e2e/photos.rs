//! Tests `classify train PHOTOS`: from a folder or a CSV file to a model, with automatic settings.

use std::fs;

use crate::bench::{Bench, Run, sorted};

/// Settings for a run that takes seconds instead of minutes and downloads no weights.
const QUICK: [&str; 6] = [
    "--set",
    "model.pretrained=none",
    "--set",
    "model.width=0.25",
    "--set",
    "train.epochs=1",
];

fn train(bench: &Bench, arguments: &[&str]) -> Run {
    let mut all = vec!["train"];
    all.extend(arguments);
    all.extend(QUICK);
    bench.run(&all)
}

fn says(run: &Run, said: &[&str]) {
    for text in said {
        assert!(
            run.stderr.contains(text),
            "{text:?} is not in\n{}",
            run.stderr
        );
    }
}

/// Asserts that the table has a row with this name and these counts.
fn counts(run: &Run, name: &str, counts: &str) {
    let row = run
        .stderr
        .lines()
        .find_map(|line| line.trim().strip_prefix(name));
    let row = row.unwrap_or_else(|| panic!("no {name:?} in\n{}", run.stderr));
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>().join(" "),
        counts,
        "{name}"
    );
}

/// Creates class folders with a space and an accent in their names.
fn class_folders(bench: &Bench) {
    bench.copy_images("images/train/0", "my photos/étoile filante", 20);
    bench.copy_images("images/train/1", "my photos/b", 20);
}

#[test]
fn class_folders_are_divided_and_the_division_is_kept() {
    let bench = Bench::new();
    class_folders(&bench);
    // A copy must be in the same split as its original.
    let first = sorted(&bench.path("my photos/b")).swap_remove(0);
    fs::copy(first, bench.path("my photos/b/zz copy.png")).unwrap();
    fs::write(bench.path("my photos/b/shot.heic"), "no image").unwrap();
    // A default configuration that must not be read; it is not valid TOML.
    fs::create_dir(bench.path("configs")).unwrap();
    fs::write(bench.path("configs/mnist.toml"), "[[[").unwrap();
    let run = train(&bench, &["my photos", "--set", "data.image_size=32"]).success();
    says(
        &run,
        &[
            "preset = \"photos\"",
            "28 × 28 pixels",
            "divided the same way each time",
            "exact copies",
            ".heic",
        ],
    );
    counts(&run, "étoile filante", "14 3 3");
    says(
        &run,
        &[
            "test images are classified correctly",
            "classify predict --weights",
        ],
    );
    let config = fs::read_to_string(bench.path("runs/my photos-001/config.toml")).unwrap();
    for line in [
        "source = \"folder\"",
        "image_size = 32",
        "epochs = 1",
        "mean = [0.485",
    ] {
        assert!(config.contains(line), "{line} is not in\n{config}");
    }
    let part = |split: &str| {
        let path = bench.path(&format!("runs/my photos-001/split/{split}.csv"));
        fs::read_to_string(path).unwrap()
    };
    let parts = ["train", "val", "test"].map(part);
    assert_eq!(
        parts
            .iter()
            .map(|text| text.lines().count() - 1)
            .sum::<usize>(),
        41
    );
    let original = first_name(&bench);
    let with = |name: &str| parts.iter().position(|text| text.contains(name)).unwrap();
    assert_eq!(with("zz copy.png"), with(&original));
    // Another command can evaluate on the run's test images.
    let weights = run.value("weights ").to_owned();
    let test = "runs/my photos-001/split/test.csv";
    let again = bench
        .run(&[
            "evaluate",
            "--weights",
            &weights,
            "--data",
            test,
            "--wrong",
            "w.csv",
        ])
        .success();
    let accuracy = format!("{} (95 % interval", run.value("test accuracy "));
    assert!(
        again.value("accuracy ").starts_with(&accuracy),
        "{accuracy}"
    );
    let mistakes = |path: &str| {
        fs::read_to_string(bench.path(path))
            .unwrap()
            .lines()
            .count()
    };
    assert_eq!(mistakes("w.csv"), mistakes("runs/my photos-001/wrong.csv"));
    let wrong = fs::read_to_string(bench.path("w.csv")).unwrap();
    assert!(wrong.starts_with("image_id,label,predicted,probability,second,second_probability\n"));
}

/// The name of the first image of class b, with its folder.
fn first_name(bench: &Bench) -> String {
    let first = sorted(&bench.path("my photos/b")).swap_remove(0);
    format!("b/{}", first.file_name().unwrap().to_str().unwrap())
}

#[test]
fn a_folder_of_splits_is_taken_as_it_is_and_leaks_are_reported() {
    let bench = Bench::new();
    for split in ["train", "Valid", "test"] {
        bench.copy_images("images/train/0", &format!("photos/{split}/0"), 12);
        bench.copy_images("images/train/1", &format!("photos/{split}/1"), 12);
    }
    let run = train(
        &bench,
        &[
            "--data",
            "photos",
            "--set",
            "data.normalisation.mean=[0.1,0.2,0.3]",
        ],
    )
    .success();
    says(
        &run,
        &[
            "24 images of val are also in train",
            "24 images of test are also in val",
        ],
    );
    counts(&run, "all classes", "24 24 24");
    assert!(!run.stderr.contains("are divided"), "{}", run.stderr);
    let config = fs::read_to_string(bench.path("runs/photos-001/config.toml")).unwrap();
    assert!(config.contains("mean = [0.1, 0.2, 0.3]"), "{config}");
    assert!(!bench.path("runs/photos-001/split").exists());
}

#[test]
fn a_csv_file_is_divided_like_class_folders() {
    let bench = Bench::new();
    class_folders(&bench);
    let rows: String = ["étoile filante", "b"]
        .iter()
        .flat_map(|class| {
            let files = sorted(&bench.path(&format!("my photos/{class}")));
            files
                .into_iter()
                .map(move |file| format!("{},{class}\n", file.display()))
        })
        .collect();
    fs::write(bench.path("labels.csv"), format!("path,label\n{rows}")).unwrap();
    let run = train(&bench, &["labels.csv"]).success();
    counts(&run, "all classes", "28 6 6");
    assert!(bench.path("runs/labels-001/split/test.csv").is_file());
}

#[test]
fn what_cannot_be_trained_on_is_refused_before_a_run_begins() {
    let bench = Bench::new();
    train(&bench, &["nowhere"]).failure(2, &["nowhere", "does not exist", "class folders"]);
    fs::create_dir_all(bench.path("empty")).unwrap();
    train(&bench, &["empty"]).failure(1, &["empty"]);
    bench.copy_images("images/train/0", "one/cat", 5);
    train(&bench, &["one/cat"]).failure(2, &["5 images and no folder", "the folder above it, one"]);
    train(&bench, &["one"]).failure(2, &["`cat` alone", "at least 2 classes"]);
    bench
        .run(&["train", "--time-budget", "10m"])
        .failure(2, &["PHOTOS"]);
    train(&bench, &["one", "--time-budget", "soon"]).failure(2, &["such as 90s, 10m or 2h"]);
    assert!(!bench.path("runs").exists());
}

#[test]
fn the_folder_of_the_photos_may_be_the_working_folder() {
    let bench = Bench::new();
    bench.copy_images("images/train/0", "0", 16);
    bench.copy_images("images/train/1", "1", 16);
    // Without PHOTOS, the run would train on MNIST and ignore the photos in this folder.
    bench
        .run(&["train"])
        .failure(2, &["holds images", "classify train ."]);
    train(&bench, &["."]).success();
    let again = train(&bench, &["."]).success();
    counts(&again, "all classes", "24 4 4");
    assert!(sorted(&bench.path("runs")).len() == 2);
}

#[test]
fn unreadable_images_are_left_out_before_the_division() {
    let bench = Bench::new();
    class_folders(&bench);
    let first = sorted(&bench.path("my photos/b")).swap_remove(0);
    fs::write(&first, "").unwrap();
    let run = train(&bench, &["my photos", "--set", "data.split.test=0"]).success();
    counts(&run, "all classes", "33 6");
    says(
        &run,
        &[
            "warning: 1 image cannot be read and is left out",
            "validation images are classified correctly",
            "somewhat too good",
        ],
    );
    assert!(run.value("validation accuracy ").starts_with("0."));
    assert!(bench.path("runs/my photos-001/wrong.csv").is_file());
    // A class without a readable image cannot be learned.
    for file in sorted(&bench.path("my photos/b")) {
        fs::write(file, "").unwrap();
    }
    train(&bench, &["my photos"]).failure(1, &["class `b`", "cannot be read"]);
    assert!(!bench.path("runs/my photos-002").exists());
}

#[test]
fn settings_of_the_user_are_shown_as_such_and_budgets_are_kept_or_refused() {
    let bench = Bench::new();
    class_folders(&bench);
    let budget = [
        "my photos",
        "--time-budget",
        "1s",
        "--set",
        "data.image_size=320",
    ];
    let run = train(&bench, &budget).success();
    says(
        &run,
        &[
            "image_size = 320   # set by you",
            "epochs = 1   # set by you",
            "data.image_size is 320",
        ],
    );
}
