//! Tests messages: each cause appears once, lists are short, and there are no terminal control characters.

use crate::bench::{Bench, Run, trained_weights};

#[test]
fn no_error_repeats_a_cause() {
    let bench = Bench::new();
    bench.two_classes();
    std::fs::write(bench.path("file"), "text").unwrap();
    std::fs::write(bench.path("large.toml"), "#\n".repeat(1 << 20)).unwrap();
    let weights = trained_weights();
    let with_set = |set: &'static str| bench.train_folder(&["--set", set]);
    let runs: Vec<(&str, Run)> = [
        "train --config none.toml",
        "train --config images",
        "train --config file",
        "train --config large.toml",
        "evaluate --weights none.pth --data images/val",
        "evaluate --weights images --data images/val",
        "evaluate --weights file --data images/val",
        "evaluate --weights W --data none",
        "evaluate --weights W --data images/val --classes none.txt",
        "predict --weights W --out file images/val",
        "predict --weights W --out out none",
        "inspect none.safetensors",
        "export --weights W --to torchvision --out file/x",
        "unpack none out",
        "import-config none.py",
        "import-config images",
        "lr-find --config none.toml",
    ]
    .map(|line| {
        let line_of = |word| if word == "W" { weights.as_str() } else { word };
        let words: Vec<&str> = line.split(' ').map(line_of).collect();
        (line, bench.run(&words))
    })
    .into_iter()
    .chain([
        ("class names", with_set("data.class_names=none.txt")),
        (
            "sample weights",
            with_set("data.sample_weights.file=none.csv"),
        ),
        ("pretrained", with_set("model.pretrained=none.pth")),
        ("root", with_set("data.root=none")),
    ])
    .collect();
    for (line, run) in runs {
        assert_ne!(run.code, Some(0), "{line}");
        let error = run.stderr.lines().find(|said| said.starts_with("error: "));
        let error = error.unwrap_or_else(|| panic!("{line}: {}", run.stderr));
        let mut causes: Vec<&str> = error.split(": ").collect();
        let count = causes.len();
        causes.sort_unstable();
        causes.dedup();
        assert_eq!(causes.len(), count, "{line}: {error}");
        assert!(error.matches("(os error").count() <= 1, "{line}: {error}");
    }
}

#[test]
fn a_file_that_is_missing_is_named_with_its_cause() {
    let bench = Bench::new();
    bench.run(&["inspect", "none.safetensors"]).failure(
        1,
        &[
            "error: none.safetensors: no such file",
            "classify fetch weights",
        ],
    );
    bench.run(&["train", "--config", "none.toml"]).failure(
        2,
        &["error: cannot read the configuration none.toml: No such file"],
    );
}

#[test]
fn weights_that_do_not_know_a_class_come_with_the_remedy() {
    let bench = Bench::new();
    bench.copy_images("images/val/0", "photos/cat", 2);
    let weights = trained_weights();
    let names: String = (0..10).map(|number| format!("class{number}\n")).collect();
    std::fs::write(bench.path("names.txt"), names).unwrap();
    bench
        .run(&["evaluate", "--weights", &weights, "--data", "photos"])
        .failure(1, &["--classes FILE", "`cat`", "0, 1, 2"]);
}

#[test]
fn requests_for_too_many_resources_are_refused() {
    let bench = Bench::new();
    let weights = trained_weights();
    let evaluate = |flag, value| {
        let data = ["--data", "images/val", flag, value];
        bench.run(&[&["evaluate", "--weights", &weights], &data[..]].concat())
    };
    evaluate("--threads", "10000").failure(2, &["--threads", "at most 1024"]);
    evaluate("--threads", "0").failure(2, &["--threads", "at least 1"]);
    evaluate("--batch-size", "100000").failure(2, &["--batch-size", "at most 65536"]);
    evaluate("--image-size", "100000").failure(2, &["--image-size", "at most 2048"]);
    for (set, said) in [
        ("train.threads=10000", "`train.threads` is 10000"),
        ("data.workers=10000", "`data.workers` is 10000"),
        ("data.batch_size=100000", "`data.batch_size` is 100000"),
    ] {
        bench.run(&["train", "--set", set]).failure(2, &[said]);
    }
    std::fs::write(bench.path("large.toml"), "#\n".repeat(1 << 20)).unwrap();
    bench
        .run(&["train", "--config", "large.toml"])
        .failure(2, &["large.toml", "1048576 bytes"]);
    std::fs::write(bench.path("names.txt"), "name\n".repeat(1 << 20)).unwrap();
    evaluate("--classes", "names.txt").failure(1, &["names.txt", "larger than 4 MiB"]);
}

/// A copy of the trained weights with other class names.
fn renamed(weights: &str, names: &[&str]) -> Vec<u8> {
    let file = std::fs::read(weights).unwrap();
    let (length, rest) = file.split_at(8);
    let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&rest[..length]).unwrap();
    let own = &mut header["__metadata__"]["classify"];
    let mut metadata: serde_json::Value = serde_json::from_str(own.as_str().unwrap()).unwrap();
    metadata["class_names"] = names.into();
    *own = metadata.to_string().into();
    let (header, tensors) = (header.to_string(), &rest[length..]);
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), tensors].concat()
}

#[cfg(unix)]
#[test]
fn names_from_files_contain_no_terminal_controls() {
    let bench = Bench::new();
    bench.two_classes();
    let broken = bench.path("images/train/0/\u{1b}]0;x.png");
    std::fs::write(broken, "no image").unwrap();
    let odd = |text: &str| text.chars().find(|c| c.is_control() && *c != '\n');
    let is_plain = |run: Run| {
        assert_eq!(odd(&run.stdout), None, "{:?}", run.stdout);
        assert_eq!(odd(&run.stderr), None, "{:?}", run.stderr);
        run
    };
    let trained = is_plain(bench.train_folder(&[])).success();
    assert!(trained.stderr.contains("]0;x.png"), "{}", trained.stderr);
    let weights = bench.path(trained.value("weights")).display().to_string();
    let odd_names = renamed(&weights, &["0\u{1b}[31m", "1\u{7}\r\u{9b}2J"]);
    std::fs::write(bench.path("odd.safetensors"), odd_names).unwrap();
    let inspected = is_plain(bench.run(&["inspect", "odd.safetensors"])).success();
    let plain = "0\\u{1b}[31m, 1\\u{7}\\r\\u{9b}2J";
    assert!(inspected.stdout.contains(plain), "{}", inspected.stdout);
    let evaluate = [
        "evaluate",
        "--weights",
        "odd.safetensors",
        "--data",
        "images/val",
    ];
    is_plain(bench.run(&evaluate)).failure(1, &[plain]);
    // The tenth class has no images.
    let names = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9\u{1b}[2J"];
    std::fs::write(
        bench.path("odd.safetensors"),
        renamed(&trained_weights(), &names),
    )
    .unwrap();
    let evaluated = is_plain(bench.run(&evaluate)).success();
    let left_out = evaluated.stdout.lines().last().unwrap();
    assert!(left_out.contains("9\\u{1b}[2J"), "{left_out}");
    let sets = ["--set", "data.root=images\u{1b}[2J"];
    is_plain(bench.train_folder(&sets)).failure(1, &["images\\u{1b}[2J"]);
}

#[test]
fn a_folder_of_splits_is_not_one_of_classes() {
    let bench = Bench::new();
    for split in ["train", "test"] {
        bench.copy_images("images/val/0", &format!("photos/{split}/0"), 2);
    }
    let weights = trained_weights();
    let evaluate = |data| bench.run(&["evaluate", "--weights", &weights, "--data", data]);
    evaluate("photos").failure(1, &["photos holds splits", "--data photos/test"]);
    evaluate("photos/test").success();
}

#[test]
fn a_run_that_is_refused_leaves_no_folder() {
    let bench = Bench::new();
    bench.two_classes();
    // That the weights are of another model is noticed only after the run's folder was created.
    std::fs::copy(trained_weights(), bench.path("w.safetensors")).unwrap();
    let sets = [
        "data.source=folder",
        "data.root=images",
        "data.batch_size=8",
        "model.name=mobilenet_v2",
        "model.pretrained=w.safetensors",
    ];
    let mut arguments = vec!["train"];
    arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
    bench.run(&arguments).failure(1, &["w.safetensors"]);
    assert!(!bench.path("runs").exists());
}
