//! Tests of the reports of runs and of evaluations.

use std::fs;

use crate::bench::{Bench, trained, trained_weights, training};

/// Every number of a page with its JSON pointer.
fn figures(page: &str) -> Vec<(String, f64)> {
    let figure = |part: &str| {
        let (value, rest) = part.split_once("\" data-figure=\"").unwrap();
        (
            rest.split_once('"').unwrap().0.to_owned(),
            value.parse().unwrap(),
        )
    };
    page.split("<data value=\"").skip(1).map(figure).collect()
}

/// Checks that every number of the page is in the evaluation, and returns how many there are.
fn compare(page: &str, evaluation: &serde_json::Value) -> usize {
    let figures = figures(page);
    for (pointer, value) in &figures {
        let expected = evaluation
            .pointer(pointer)
            .and_then(serde_json::Value::as_f64);
        assert_eq!(Some(*value), expected, "{pointer}");
    }
    figures.len()
}

#[test]
fn training_ends_with_a_report_of_the_same_numbers() {
    let dir = trained().path("run");
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    let evaluation = fs::read_to_string(dir.join("evaluation-test.json")).unwrap();
    let evaluation = serde_json::from_str(&evaluation).unwrap();
    // At least the cells of the confusion matrix and six scores of each of ten classes.
    assert!(compare(&page, &evaluation) > 160);
    assert!(training().stderr.contains("report.html"));
    // The images themselves are inside.
    assert!(page.matches("data:image/png").count() > 30);
}

#[test]
fn a_report_is_made_anew_without_images() {
    let bench = Bench::new();
    let from = trained().path("run");
    fs::create_dir(bench.path("copy")).unwrap();
    for file in [
        "config.toml",
        "metrics.jsonl",
        "run.json",
        "evaluation-test.json",
        "predictions-test.csv",
    ] {
        fs::copy(from.join(file), bench.path("copy").join(file)).unwrap();
    }
    let run = bench.run(&["report", "copy"]).success();
    assert_eq!(run.value("report"), "copy/report.html");
    let page = fs::read_to_string(bench.path("copy/report.html")).unwrap();
    assert!(page.contains("best epoch") || page.contains("Best epoch"));

    // An interrupted run has neither scores nor answers; its images are gone.
    let config = fs::read_to_string(bench.path("copy/config.toml")).unwrap();
    let images = trained().path("images").display().to_string();
    let moved = config.replace(&images, "/nowhere");
    fs::write(bench.path("copy/config.toml"), moved).unwrap();
    fs::remove_file(bench.path("copy/evaluation-test.json")).unwrap();
    bench.run(&["report", "copy"]).success();
    let page = fs::read_to_string(bench.path("copy/report.html")).unwrap();
    assert!(page.contains("were not evaluated"), "{page}");
    assert!(figures(&page).is_empty());
}

#[test]
fn a_folder_without_a_run_is_wrong_usage() {
    let bench = Bench::new();
    fs::create_dir(bench.path("empty")).unwrap();
    bench.run(&["report", "empty"]).failure(2, &["config.toml"]);
}

#[test]
fn an_evaluation_has_a_report_of_its_own() {
    let bench = Bench::new();
    let (weights, test) = (trained_weights(), trained().path("images/test"));
    let test = test.to_str().unwrap();
    let arguments = ["evaluate", "--weights", &weights, "--data", test, "--json"];
    let run = bench.run(&[&arguments[..], &["--report", "page.html"]].concat());
    let evaluation = serde_json::from_str(&run.success().stdout).unwrap();
    let page = fs::read_to_string(bench.path("page.html")).unwrap();
    assert!(compare(&page, &evaluation) > 160);
    let answers = fs::read_to_string(bench.path("page.csv")).unwrap();
    assert_eq!(answers.lines().count(), 401);
    bench
        .run(&[&arguments[..], &["--report", "page.csv"]].concat())
        .failure(1, &["report.html"]);
}
