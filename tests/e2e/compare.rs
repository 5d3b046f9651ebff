//! Tests of `compare`.

use crate::bench::{Bench, SMALL_FOLDER_RUN, trained, weights_in};

/// Two short runs on the same images with other seeds, and the shared run on other images.
#[test]
fn runs_are_compared_by_settings_figures_and_answers() {
    let bench = Bench::new();
    bench.two_classes();
    for split in ["test/0", "test/1"] {
        bench.copy_images(&format!("images/{split}"), &format!("images/{split}"), 6);
    }
    let train = |run: &str, seed: &str| {
        let seed = format!("train.seed={seed}");
        let sets = SMALL_FOLDER_RUN.iter().copied().chain([&*seed]);
        let sets: Vec<&str> = sets.flat_map(|set| ["--set", set]).collect();
        bench
            .run(&[&["train", "--run-dir", run][..], &sets].concat())
            .success();
        let weights = weights_in(&bench.path(run)).display().to_string();
        let evaluate = [
            "evaluate",
            "--weights",
            &weights,
            "--data",
            "images/test",
            "--json",
        ];
        let scores = bench.run(&evaluate).success().stdout;
        std::fs::write(bench.path(run).join("evaluation-test.json"), scores).unwrap();
    };
    train("one", "1");
    train("two", "2");
    // Answers that differ in eight images.
    for (run, right) in [("one", 0..10), ("two", 8..12)] {
        let row = |number: usize| {
            let predicted = usize::from(!right.contains(&number));
            format!("0/{number}.png,0,{predicted},0.9,0.9,1,0.1\n")
        };
        let rows: String = (0..12).map(row).collect();
        let header =
            "image_id,label,predicted,probability,label_probability,second,second_probability";
        std::fs::write(
            bench.path(run).join("predictions-test.csv"),
            format!("{header}\n{rows}"),
        )
        .unwrap();
    }
    let compared = bench
        .run(&["compare", "one", "two", "--curves", "curves.svg"])
        .success();
    let line = |name: &str| {
        let line = compared.stdout.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{}", compared.stdout));
        line[name.len()..]
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(line("train.seed"), ["1", "2"]);
    assert_eq!(line("best epoch"), ["1", "1"]);
    assert!(
        !compared.stdout.contains("train.epochs"),
        "{}",
        compared.stdout
    );
    let svg = std::fs::read_to_string(bench.path("curves.svg")).unwrap();
    assert!(
        svg.contains("Validation loss") && svg.contains(">two<"),
        "{svg}"
    );

    let json = bench.run(&["compare", "one", "two", "--json"]).success();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["runs"][1]["epochs"], 1);
    assert_eq!(json["settings"][0]["key"], "train.seed");
    let test = &json["tests"][0];
    assert_eq!(
        (&test["run"], &test["images"]),
        (&"two".into(), &12.into()),
        "{test}"
    );
    // 8 images are right in the first run alone, 2 in the second: 2 · (1 + 10 + 45) / 1024.
    assert_eq!(test["mcnemar"]["p_value"], 0.109375);
    assert!(
        compared
            .stdout
            .contains("of 12 images, 2 only right in two, 8 only right in one"),
        "{}",
        compared.stdout
    );

    // A run on other images.
    let other = trained().path("run").display().to_string();
    let run = bench.run(&["compare", "one", &other]).success();
    assert!(run.stdout.contains("not tested"), "{}", run.stdout);
    // A run of an older version has fewer files.
    for file in ["run.json", "evaluation-test.json", "predictions-test.csv"] {
        let _ = std::fs::remove_file(bench.path("two").join(file));
    }
    let run = bench.run(&["compare", "one", "two"]).success();
    for said in ["no run.json", "no test scores", "not tested", "–"] {
        assert!(
            run.stdout.contains(said),
            "{said:?} is not in\n{}",
            run.stdout
        );
    }
    bench
        .run(&["compare", "one", "images"])
        .failure(2, &["images", "config.toml"]);
    bench.run(&["compare", "one"]).failure(2, &["RUN"]);
}
