//! Tests that wrong input is refused with its name and the right exit code.

use crate::bench::{Bench, Run, project, trained, trained_weights};

#[test]
fn an_unknown_key_is_named_with_the_nearest_one() {
    let bench = Bench::new();
    std::fs::write(bench.path("my.toml"), "[data]\nbatchsize = 3\n").unwrap();
    bench.run(&["train", "--config", "my.toml"]).failure(
        2,
        &[
            "my.toml",
            "`data.batchsize`",
            "did you mean `data.batch_size`?",
        ],
    );
    bench
        .run(&["train", "--set", "train.epoch=3"])
        .failure(2, &["--set", "`train.epochs`"]);
    assert!(!bench.path("runs").exists());
    assert!(!bench.path("data").exists());
}

#[test]
fn a_wrong_value_is_named() {
    let bench = Bench::new();
    bench
        .run(&["train", "--set", "train.epochs=0"])
        .failure(2, &["train.epochs", "at least 1"]);
    bench
        .run(&["train", "--set", "train.epochs=many"])
        .failure(2, &["train.epochs", "--set"]);
    bench
        .run(&["train", "--set", "schedule={ type='plateau', mode='min' }"])
        .failure(2, &["schedule.mode", "max"]);
    bench
        .run(&["train", "--config", "none.toml"])
        .failure(2, &["none.toml"]);
}

#[test]
fn bad_usage_ends_with_2() {
    let bench = Bench::new();
    bench.run(&[]).failure(2, &["Usage"]);
    bench.run(&["teach"]).failure(2, &["teach"]);
    bench
        .run(&["evaluate", "--data", "x"])
        .failure(2, &["--weights"]);
    bench
        .run(&["fetch", "emnist"])
        .failure(2, &["emnist", "fashion-mnist"]);
    bench
        .run(&["predict", "--weights", "w", "--out", "o"])
        .failure(2, &["INPUT"]);
}

#[test]
fn an_instruction_set_this_processor_lacks_is_named() {
    let bench = Bench::new();
    let mut command = bench.train_command(&[]);
    Run::of(command.env("ENGINE_ISA", "sse9")).failure(2, &["sse9", "portable"]);
}

#[test]
#[cfg(not(any(feature = "cuda", feature = "metal")))]
fn a_device_this_build_lacks_is_named() {
    let bench = Bench::new();
    bench.two_classes();
    bench
        .train_folder(&["--set", "train.device=cuda:1"])
        .failure(1, &["cuda:1", "--features cuda"]);
}

#[test]
fn a_missing_split_is_named() {
    let bench = Bench::new();
    bench
        .train_folder(&[])
        .failure(1, &["images/train", "one sub-folder per class"]);
    bench.copy_images("images/train/0", "images/train/0", 4);
    bench.copy_images("images/train/1", "images/train/1", 4);
    bench.train_folder(&[]).failure(1, &["images/val"]);
}

#[test]
fn an_empty_class_is_named() {
    let bench = Bench::new();
    bench.two_classes();
    std::fs::create_dir(bench.path("images/train/empty")).unwrap();
    bench
        .train_folder(&[])
        .failure(1, &["`empty`", "no training image"]);
    std::fs::remove_dir(bench.path("images/train/empty")).unwrap();
    bench.copy_images("images/train/7", "images/val/7", 1);
    bench.train_folder(&[]).failure(1, &["`7`", "0, 1"]);
}

#[test]
fn a_class_count_that_differs_from_the_folders_is_refused() {
    let bench = Bench::new();
    bench.two_classes();
    bench
        .train_folder(&["--set", "model.classes=10"])
        .failure(2, &["2 class folders (0, 1)", "model.classes is 10"]);
    assert!(!bench.path("run").exists());
}

#[test]
fn one_class_alone_is_refused() {
    let bench = Bench::new();
    bench.copy_images("images/train/0", "images/train/photos/0", 12);
    bench.copy_images("images/train/1", "images/train/photos/1", 12);
    bench
        .train_folder(&[])
        .failure(2, &["data.root", "images/train", "at least 2 classes"]);
}

#[test]
fn a_broken_test_split_is_named_before_training() {
    let bench = Bench::new();
    bench.two_classes();
    bench.copy_images("images/train/7", "images/test/7", 1);
    let run = bench
        .train_folder(&[])
        .failure(1, &["images/test/7", "`7`"]);
    assert!(!run.stderr.contains("training mobilenet"), "{}", run.stderr);
    assert!(!bench.path("run").exists());
}

#[test]
fn the_weights_are_told_of_where_the_test_fails() {
    let bench = Bench::new();
    bench.two_classes();
    bench.copy_images("images/test/0", "images/test/0", 1);
    std::fs::write(bench.path("images/test/0/zero.png"), "").unwrap();
    let run = bench
        .train_folder(&["--set", "data.on_bad_image=fail"])
        .failure(1, &["images/test/0/zero.png"]);
    assert!(bench.path(run.value("weights")).is_file());
}

#[test]
fn settings_that_show_late_are_settings_still() {
    let bench = Bench::new();
    bench.two_classes();
    std::fs::write(bench.path("names.txt"), "0\n1\n0\n").unwrap();
    std::fs::write(bench.path("weights.csv"), "path,weight\n0/a.png,-1\n").unwrap();
    for (set, said) in [
        ("train.precision=f16", "f16"),
        ("warmup.epochs=-1", "`warmup.epochs` is -1"),
        ("data.class_names=names.txt", "names.txt:3"),
        ("data.sample_weights.file=weights.csv", "weights.csv:2"),
        (
            "data.sample_weights.patterns=[{ pattern = \"9/*\", weight = 1.0 }]",
            "matches no sample",
        ),
    ] {
        bench.train_folder(&["--set", set]).failure(2, &[said]);
    }
    let weights = trained_weights();
    bench
        .run(&["inspect", &weights, "--classes", "names.txt"])
        .failure(2, &["names.txt:3", "comes twice"]);
}

#[cfg(unix)]
#[test]
fn our_variables_must_be_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::new();
    let with = |name: &str| {
        let mut command = bench.command(&["train", "--set", "train.epochs=0"]);
        Run::of(command.env(name, OsStr::from_bytes(b"\xff")))
    };
    with("OTHER").failure(2, &["train.epochs"]);
    with("CLASSIFY_DATA__ROOT").failure(2, &["CLASSIFY_DATA__ROOT", "not UTF-8"]);
}

#[test]
fn an_unreadable_image_is_skipped_or_fatal_as_set() {
    let bench = Bench::new();
    bench.two_classes();
    std::fs::write(bench.path("images/train/0/zero.png"), "").unwrap();
    std::fs::write(bench.path("images/val/1/text.png"), "not an image").unwrap();
    bench
        .train_folder(&[
            "--set",
            "data.on_bad_image=fail",
            "--set",
            "train.drop_last=false",
        ])
        .failure(1, &["images/train/0/zero.png"]);
    let run = bench
        .train_folder(&["--set", "train.drop_last=false"])
        .success();
    for said in ["zero.png", "text.png", "left out 2 images"] {
        assert!(
            run.stderr.contains(said),
            "{said:?} is not in\n{}",
            run.stderr
        );
    }

    let weights = crate::bench::weights_in(&bench.path("run"))
        .display()
        .to_string();
    let evaluate = ["evaluate", "--weights", &weights, "--data", "images/val"];
    let run = bench.run(&evaluate).success();
    assert_eq!((run.value("images"), run.value("skipped")), ("8", "1"));
    bench
        .run(&[&evaluate[..], &["--strict"]].concat())
        .failure(1, &["text.png"]);
    let predict = [
        "predict",
        "--weights",
        &weights,
        "--out",
        "out",
        "images/val/1/text.png",
    ];
    bench
        .run(&predict)
        .failure(1, &["text.png", "every image was left out"]);
}

#[test]
fn weights_of_another_kind_are_refused() {
    let bench = Bench::new();
    bench.two_classes();
    // A folder has a class that is none of the weights' ten digits.
    bench.copy_images("images/test/3", "letters/x", 1);
    let weights = trained_weights();
    bench
        .run(&["evaluate", "--weights", &weights, "--data", "letters"])
        .failure(1, &["letters/x", "`x`"]);
    // A small network's weights cannot initialise a large one.
    let set = format!("model.pretrained={weights}");
    bench
        .train_folder(&["--set", "model.name=mobilenet_v3_large", "--set", &set])
        .failure(1, &[&weights, "it holds mobilenet_v3_small"]);

    std::fs::write(bench.path("garbage.safetensors"), "no weights").unwrap();
    let mut half = std::fs::read(&weights).unwrap();
    half.truncate(half.len() / 2);
    std::fs::write(bench.path("half.safetensors"), half).unwrap();
    for file in [
        "garbage.safetensors",
        "half.safetensors",
        "missing.safetensors",
    ] {
        bench.run(&["inspect", file]).failure(1, &[file]);
        bench
            .run(&["evaluate", "--weights", file, "--data", "images/val"])
            .failure(1, &[file]);
        bench
            .run(&["predict", "--weights", file, "--out", "o", "images/val"])
            .failure(1, &[file]);
    }
    assert!(!bench.path("o").exists());
}

#[test]
fn damaged_idx_files_are_named() {
    let bench = Bench::new();
    bench
        .run(&["unpack", "nowhere", "out"])
        .failure(1, &["nowhere"]);
    std::fs::create_dir(bench.path("idx")).unwrap();
    for file in crate::bench::sorted(&project("data/sample")) {
        std::fs::copy(&file, bench.path("idx").join(file.file_name().unwrap())).unwrap();
    }
    std::fs::write(
        bench.path("idx/train-labels-idx1-ubyte"),
        b"\0\0\x08\x01\0\0\0\x02\x01",
    )
    .unwrap();
    bench
        .run(&["unpack", "idx", "out"])
        .failure(1, &["train-labels-idx1-ubyte", "byte"]);
    assert!(!bench.path("out/train").exists());
}

#[test]
fn a_folder_without_images_is_named() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.path("void/0")).unwrap();
    let weights = trained_weights();
    bench
        .run(&["evaluate", "--weights", &weights, "--data", "void"])
        .failure(1, &["void"]);
    bench
        .run(&["predict", "--weights", &weights, "--out", "o", "void"])
        .failure(1, &["void"]);
    bench
        .run(&["predict", "--weights", &weights, "--out", "o", "absent"])
        .failure(1, &["absent"]);
    assert!(trained().path("run").is_dir());
}
