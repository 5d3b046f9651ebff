//! Tests that evaluate, predict and inspect agree with the training run and with each other.

use std::process::Stdio;

use crate::bench::{Bench, Run, trained, trained_weights, training};

#[test]
fn evaluation_prediction_and_training_tell_the_same_accuracy() {
    let bench = Bench::new();
    let (weights, test) = (trained_weights(), trained().path("images/test"));
    let test = test.to_str().unwrap();
    let run = bench
        .run(&["evaluate", "--weights", &weights, "--data", test, "--json"])
        .success();
    // No score depends on the size of the batches.
    let command = ["evaluate", "--weights", &weights, "--data", test, "--json"];
    let other = bench.run(&[&command[..], &["--batch-size", "7"]].concat());
    assert_eq!(other.success().stdout, run.stdout);
    let result: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let accuracy = result["accuracy"].as_f64().unwrap();
    assert_eq!(format!("{accuracy:.4}"), training().value("test accuracy"));
    assert_eq!(result["images"], 400);
    assert_eq!(result["classes"].as_array().unwrap().len(), 10);
    let counted: u64 = result["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(counted, 400);
    assert_eq!(result["class_order"], "named");
    assert_eq!(result["classes_left_out"], serde_json::json!([]));

    let table = bench
        .run(&["evaluate", "--weights", &weights, "--data", test])
        .success();
    let interval = ["low", "high"].map(|end| result["accuracy_interval"][end].as_f64().unwrap());
    assert_eq!(
        table.value("accuracy"),
        format!(
            "{accuracy:.4} (95 % interval {:.4} to {:.4})",
            interval[0], interval[1]
        )
    );
    for (line, score) in [
        ("balanced accuracy", &result["balanced_accuracy"]),
        ("Cohen's kappa", &result["cohen_kappa"]),
        ("top-3 accuracy", &result["top_k"][1]["accuracy"]),
        ("macro ROC AUC", &result["macro_roc_auc"]),
        (
            "macro average precision",
            &result["macro_average_precision"],
        ),
        (
            "expected calibration error",
            &result["calibration"]["expected_error"],
        ),
    ] {
        assert_eq!(table.value(line), format!("{:.4}", score.as_f64().unwrap()));
    }
    // The run has written the same scores, and the answers that they come from.
    let run = trained().path("run");
    let written = std::fs::read_to_string(run.join("evaluation-test.json")).unwrap();
    let mut written: serde_json::Value = serde_json::from_str(&written).unwrap();
    // The batches were others, and so is the order of the loss's sum.
    let losses = [&written, &result].map(|scores| scores["loss"].as_f64().unwrap());
    assert!((losses[0] - losses[1]).abs() < 1e-9, "{losses:?}");
    written["loss"] = result["loss"].clone();
    assert!(written == result);
    let answers = std::fs::read_to_string(run.join("predictions-test.csv")).unwrap();
    let answers = answers
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>());
    let right = answers.clone().filter(|row| row[1] == row[2]).count();
    assert_eq!((right as f64 / 400.0, answers.count()), (accuracy, 400));
    assert!(table.stdout.contains("macro average"), "{}", table.stdout);

    let predict = |out: &str| {
        bench
            .run(&["predict", "--weights", &weights, "--out", out, test])
            .success();
        std::fs::read_to_string(bench.path(out).join("predictions.csv")).unwrap()
    };
    let csv = predict("out");
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("image_id,label,probability"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 400);
    assert!(rows.is_sorted_by_key(|row| row[0]));
    // Each id begins with the class folder, so the test can compute the accuracy from the rows.
    let right = rows
        .iter()
        .filter(|row| row[0].split('/').next() == Some(row[1]))
        .count();
    assert!((right as f64 / 400.0 - accuracy).abs() < 1e-9);
    assert!(
        rows.iter()
            .all(|row| (0.1..=1.0).contains(&row[2].parse::<f64>().unwrap()))
    );
    assert_eq!(predict("again"), csv);
}

/// The test after training writes a disk cache, as training does. `evaluate` never writes a cache, and reports an
/// unusable one.
#[test]
fn an_evaluation_reads_the_decoded_images_that_a_run_has_kept() {
    const KEPT: &str = "images/.classify-cache/test-32.pixels";
    assert!(trained().path(KEPT).is_file());

    let bench = Bench::new();
    bench.copy_images("images/test/3", "images/test/3", 2);
    let weights = trained_weights();
    let evaluate = || {
        bench
            .run(&["evaluate", "--weights", &weights, "--data", "images/test"])
            .success()
    };
    let without = evaluate();
    assert!(!bench.path("images/.classify-cache").exists());

    std::fs::create_dir_all(bench.path("images/.classify-cache")).unwrap();
    std::fs::write(bench.path(KEPT), "no pixels").unwrap();
    let with = evaluate();
    assert_eq!(with.stdout, without.stdout);
    assert!(with.stderr.contains("test-32.pixels"), "{}", with.stderr);
    assert_eq!(std::fs::read(bench.path(KEPT)).unwrap(), b"no pixels");
}

#[test]
fn equal_names_in_several_inputs_stay_apart() {
    let bench = Bench::new();
    bench.copy_images("images/test/3", "a", 2);
    bench.copy_images("images/test/3", "b/deep", 2);
    let weights = trained_weights();
    bench
        .run(&["predict", "--weights", &weights, "--out", "out", "a", "b"])
        .success();
    let csv = std::fs::read_to_string(bench.path("out/predictions.csv")).unwrap();
    let ids: Vec<&str> = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap())
        .collect();
    assert_eq!(ids.len(), 4);
    assert!(
        ids[0].starts_with("a/") && ids[2].starts_with("b/deep/"),
        "{ids:?}"
    );

    let file = crate::bench::sorted(&bench.path("a"))[0]
        .display()
        .to_string();
    bench
        .run(&["predict", "--weights", &weights, "--out", "one", &file])
        .success();
    let csv = std::fs::read_to_string(bench.path("one/predictions.csv")).unwrap();
    assert_eq!(csv.lines().count(), 2);
}

#[test]
fn predictions_that_cannot_be_written_show_before_the_images() {
    let bench = Bench::new();
    bench.copy_images("images/test/3", "a", 2);
    std::fs::create_dir_all(bench.path("out/predictions.csv")).unwrap();
    let weights = trained_weights();
    let run = bench
        .run(&["predict", "--weights", &weights, "--out", "out", "a"])
        .failure(1, &["out/predictions.csv"]);
    assert!(!run.stderr.contains("predict (2)"), "{}", run.stderr);
    assert_eq!(crate::bench::sorted(&bench.path("out")).len(), 1);
}

/// Names are written unchanged for other programs; a warning lists those that a spreadsheet would
/// run as formulas.
#[test]
fn names_like_formulas_are_written_as_they_are_with_a_warning() {
    let bench = Bench::new();
    bench.copy_images("images/test/3", "a", 2);
    let images = crate::bench::sorted(&bench.path("a"));
    std::fs::rename(&images[0], bench.path("a/=1+1.png")).unwrap();
    std::fs::rename(&images[1], bench.path("a/@2.png")).unwrap();
    let names: String = (0..10).map(|class| format!("=name({class})\n")).collect();
    std::fs::write(bench.path("names.txt"), names).unwrap();
    // A temporary file of a killed process.
    std::fs::create_dir(bench.path("out")).unwrap();
    std::fs::write(bench.path("out/.unfinished-a1b2c3"), "half").unwrap();
    let weights = trained_weights();
    let predict = ["predict", "--weights", &weights, "--out", "out", "a"];
    let run = bench
        .run(&[&predict[..], &["--classes", "names.txt"]].concat())
        .success();
    let csv = std::fs::read_to_string(bench.path("out/predictions.csv")).unwrap();
    let rows: Vec<&str> = csv.lines().skip(1).collect();
    assert!(rows[0].starts_with("=1+1.png,=name(") && rows[1].starts_with("@2.png,=name("));
    let warnings: Vec<&str> = run
        .stderr
        .lines()
        .filter(|l| l.contains("formula"))
        .collect();
    assert_eq!(warnings.len(), 2, "{}", run.stderr);
    assert!(warnings[0].contains("=name(0)") && warnings[1].contains("=1+1.png"));
    assert_eq!(crate::bench::sorted(&bench.path("out")).len(), 1);
}

#[test]
fn inspect_shows_the_metadata() {
    let run = Bench::new().run(&["inspect", &trained_weights()]).success();
    assert_eq!(run.value("model"), "mobilenet_v3_small");
    assert_eq!(run.value("classes"), "10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9");
    assert_eq!(run.value("image size"), "32 x 32");
    assert_eq!(run.value("fit"), "squash, bilinear");
    assert_eq!(run.value("orientation"), "apply");
    for tensor in [
        "features.0.0.weight",
        "classifier.3.bias",
        "num_batches_tracked",
    ] {
        assert!(
            run.stdout.contains(tensor),
            "{tensor} is not in\n{}",
            run.stdout
        );
    }
}

#[test]
fn what_is_given_of_the_images_stands_above_the_file() {
    let weights = trained_weights();
    let inspect = |more: &[&str]| Bench::new().run(&[&["inspect", &weights], more].concat());
    let sizes = [
        "--image-size",
        "24x32",
        "--fit",
        "crop",
        "--crop-pct",
        "0.9",
    ];
    let run = inspect(&[&sizes[..], &["--interpolation", "bicubic"]].concat()).success();
    assert_eq!(run.value("image size"), "24 x 32");
    assert_eq!(run.value("fit"), "crop 0.9, bicubic");
    let run = inspect(&["--fit", "letterbox", "--orientation", "ignore"]).success();
    assert_eq!(run.value("fit"), "letterbox, bilinear");
    assert_eq!(run.value("orientation"), "ignore");
    for (option, value, expected) in [
        ("--image-size", "24x", "such as 160x224"),
        ("--fit", "stretch", "squash, crop, letterbox"),
        ("--crop-pct", "1.5", "above 0 and at most 1"),
    ] {
        inspect(&[option, value]).failure(2, &[option, expected]);
    }
}

/// A copy of the trained weights without metadata.
fn bare(bench: &Bench) -> String {
    let bytes = std::fs::read(trained_weights()).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, tensors) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: serde_json::Map<_, _> = serde_json::from_slice(header).unwrap();
    header.remove("__metadata__").unwrap();
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    let path = bench.path("bare.safetensors");
    std::fs::write(&path, [&length[..], &header, tensors].concat()).unwrap();
    path.display().to_string()
}

#[test]
fn assumptions_about_weights_without_class_names_are_reported() {
    let bench = Bench::new();
    let bare = bare(&bench);
    let test = trained().path("images/test").display().to_string();
    let evaluate = |data: &str, more: &[&str]| {
        let common = [
            "evaluate",
            "--weights",
            &bare,
            "--image-size",
            "32",
            "--json",
        ];
        bench.run(&[&common[..], &["--data", data], more].concat())
    };
    let result = |run: &Run| -> serde_json::Value { serde_json::from_str(&run.stdout).unwrap() };
    let assumed = evaluate(&test, &[]).success();
    assert_eq!(
        assumed.stderr.matches("ImageFolder").count(),
        1,
        "{}",
        assumed.stderr
    );
    let mut expected = result(&assumed);
    assert_eq!(expected["class_order"], "sorted_names");
    std::fs::write(bench.path("names.txt"), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n").unwrap();
    let named = evaluate(&test, &["--classes", "names.txt"]).success();
    assert!(!named.stderr.contains("ImageFolder"), "{}", named.stderr);
    expected["class_order"] = "named".into();
    assert_eq!(result(&named), expected);

    bench.copy_images("images/test/3", "letters/x", 1);
    evaluate("letters", &[]).failure(2, &["letters", "10 outputs", "--classes FILE"]);
    let predict = [
        "predict",
        "--weights",
        &bare,
        "--image-size",
        "32",
        "--out",
        "out",
        "letters",
    ];
    let run = bench.run(&predict).success();
    assert_eq!(
        run.stderr.matches("name no classes").count(),
        1,
        "{}",
        run.stderr
    );
    let run = bench.run(&["inspect", &bare]).success();
    assert!(
        run.value("classes").ends_with("the file names no classes)"),
        "{}",
        run.stdout
    );
}

/// Like `classify inspect W | head -1`: a reader that closes the pipe early is not an error.
#[test]
fn a_closed_pipe_is_no_failure() {
    let bench = Bench::new();
    let weights = trained_weights();
    let mut child = bench
        .command(&["inspect", &weights])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let bench = Bench::new();
    for command in [
        "fetch",
        "unpack",
        "train",
        "lr-find",
        "cross-validate",
        "evaluate",
        "predict",
        "compare",
        "inspect",
        "export",
        "import-config",
    ] {
        let run = bench.run(&[command, "--help"]).success();
        assert!(run.stdout.contains("Example"), "{}", run.stdout);
        assert!(
            run.stdout.contains(&format!("classify {command} ")),
            "{}",
            run.stdout
        );
    }
    assert!(
        bench
            .run(&["--version"])
            .success()
            .stdout
            .starts_with("classify ")
    );
}

#[test]
fn processes_that_unpack_into_one_folder_at_once_all_succeed() {
    let sample = crate::bench::project("data/sample").display().to_string();
    for round in 0..12 {
        let bench = Bench::new();
        let start = |_| {
            let mut command = bench.command(&["unpack", &sample, "digits"]);
            let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
            piped.spawn().unwrap()
        };
        let processes: Vec<_> = (0..4).map(start).collect();
        let runs = processes
            .into_iter()
            .map(|process| Run::from(process.wait_with_output().unwrap()).success());
        let runs: Vec<Run> = runs.collect();
        assert!(runs.iter().all(|run| run.stdout == runs[0].stdout));
        let wrote = runs.iter().filter(|run| run.stderr.contains("unpack ("));
        assert_eq!(wrote.count(), 1, "round {round}");
        let names = crate::bench::sorted(&bench.path("digits"));
        assert_eq!(names.len(), 4, "{names:?}");
        let images = crate::bench::sorted(&bench.path("digits/test/7"));
        assert!(images.iter().all(|path| path.extension().is_some()));
    }
}

#[test]
fn unpacking_is_a_command_of_its_own() {
    let bench = Bench::new();
    let sample = crate::bench::project("data/sample").display().to_string();
    let unpack = [
        "unpack",
        &sample,
        "digits",
        "--validation",
        "100",
        "--stratified",
        "3",
    ];
    let run = bench.run(&unpack).success();
    let counts: Vec<&str> = run
        .stdout
        .lines()
        .map(|l| l.split('\t').nth(1).unwrap())
        .collect();
    assert_eq!(counts, ["1500 images", "100 images", "400 images"]);
    assert_eq!(bench.run(&unpack).success().stdout, run.stdout);
    assert_eq!(crate::bench::sorted(&bench.path("digits/val/7")).len(), 10);
}
