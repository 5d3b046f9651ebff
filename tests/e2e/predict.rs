//! Tests of the outputs of `predict`: further columns, JSON lines, sorted folders, sheets.

use std::path::Path;

use crate::bench::{Bench, Run, sorted, trained, trained_weights};

/// Runs `classify predict` with the trained weights.
fn predict(bench: &Bench, arguments: &[&str]) -> Run {
    let weights = trained_weights();
    bench.run(&[&["predict", "--weights", &weights][..], arguments].concat())
}

/// The files below a folder, as sorted paths relative to it.
fn files_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in sorted(&folder) {
            match path.is_dir() && !path.is_symlink() {
                true => folders.push(path),
                false => found.push(path.strip_prefix(dir).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

/// The class of each row of a table of predictions.
fn labels(csv: &str) -> Vec<(String, String)> {
    let rows = csv.lines().skip(1).map(|line| {
        let mut cells = line.split(',').map(str::to_owned);
        (cells.next().unwrap(), cells.next().unwrap())
    });
    rows.collect()
}

#[test]
fn a_table_and_json_lines_tell_the_same() {
    let bench = Bench::new();
    bench.copy_images("images/test/3", "a", 3);
    let common = ["--json", "--top-k", "3", "--probabilities", "a"];
    let run = predict(&bench, &[&["--out", "out"][..], &common].concat()).success();
    let csv = std::fs::read_to_string(bench.path("out/predictions.csv")).unwrap();
    let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    let first = ["image_id", "label", "probability"];
    let second = [
        "label_2",
        "probability_2",
        "label_3",
        "probability_3",
        "p_0",
    ];
    assert_eq!(header[..8], [&first[..], &second].concat());
    assert_eq!((header.len(), header[16]), (17, "p_9"));
    assert!(
        run.stderr.contains("out/predictions.csv: 3 rows"),
        "{}",
        run.stderr
    );

    let objects = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let objects: Vec<serde_json::Value> = objects.collect();
    assert_eq!(objects.len(), 3);
    for (object, line) in objects.iter().zip(csv.lines().skip(1)) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(
            (&object["image_id"], &object["label"]),
            (&cells[0].into(), &cells[1].into())
        );
        let number = |value: &serde_json::Value| value.as_f64().unwrap();
        let cell = |index: usize| cells[index].parse::<f64>().unwrap();
        let close = |value: &serde_json::Value, index| (number(value) - cell(index)).abs() < 1e-6;
        assert!(close(&object["probability"], 2), "{object}\n{line}");
        let top = object["top_k"].as_array().unwrap();
        assert_eq!((top.len(), &top[0]["label"]), (3, &object["label"]));
        assert_eq!(
            (&top[1]["label"], &top[2]["label"]),
            (&cells[3].into(), &cells[5].into())
        );
        assert!(close(&top[2]["probability"], 6), "{object}\n{line}");
        let sum: f64 = object["probabilities"]
            .as_object()
            .unwrap()
            .values()
            .map(number)
            .sum();
        assert!((sum - 1.0).abs() < 1e-5, "{object}");
        assert!(close(&object["probabilities"]["9"], 16), "{object}\n{line}");
    }

    // Without --out, nothing is written.
    let run = predict(&bench, &["--json", "a"]).success();
    assert_eq!(run.stdout.lines().count(), 3);
    let object: serde_json::Value =
        serde_json::from_str(run.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(object.as_object().unwrap().len(), 3);
    assert_eq!(sorted(&bench.path("")).len(), 2);

    predict(&bench, &["a"]).failure(2, &["--out", "--json", "--sort-into", "--sheet"]);
    predict(&bench, &["--json", "--top-k", "0", "a"]).failure(2, &["--top-k"]);
    predict(&bench, &["--json", "--wrong", "a"]).failure(2, &["--sheet"]);
}

#[test]
fn images_are_sorted_into_folders_and_never_overwritten() {
    let bench = Bench::new();
    // Equal names in two folders, with other contents.
    bench.copy_images("images/test/3", "in/a", 3);
    bench.copy_images("images/test/8", "in/b", 3);
    let names = |folder: &str| sorted(&bench.path(folder));
    for folder in ["in/a", "in/b"] {
        for (number, path) in names(folder).iter().enumerate() {
            std::fs::rename(path, bench.path(&format!("{folder}/{number}.png"))).unwrap();
        }
    }
    std::fs::write(bench.path("in/broken.png"), "no image").unwrap();
    let before = files_below(&bench.path("in"));
    let sort = || predict(&bench, &["--out", "out", "--sort-into", "sorted", "in"]);
    let run = sort().success();
    assert!(run.stdout.contains("sorted\t6 images\n"), "{}", run.stdout);
    assert!(run.stderr.contains("broken.png"), "{}", run.stderr);
    let csv = std::fs::read_to_string(bench.path("out/predictions.csv")).unwrap();
    let mut expected: Vec<String> = labels(&csv)
        .iter()
        .map(|(id, label)| format!("{label}/{id}"))
        .collect();
    expected.sort();
    assert_eq!(
        (files_below(&bench.path("sorted")), expected.len()),
        (expected.clone(), 6)
    );
    for (id, label) in labels(&csv) {
        let read = |path: String| std::fs::read(bench.path(&path)).unwrap();
        assert_eq!(
            read(format!("in/{id}")),
            read(format!("sorted/{label}/{id}"))
        );
    }
    assert_eq!(files_below(&bench.path("in")), before);

    // The same images are left; another file is not replaced.
    let run = sort().success();
    assert!(
        run.stdout
            .contains("sorted\t0 images, 6 were there already"),
        "{}",
        run.stdout
    );
    let taken = bench.path("sorted").join(&expected[0]);
    std::fs::write(&taken, "mine").unwrap();
    let run = sort().failure(1, &[&expected[0], "nothing was overwritten"]);
    assert!(!run.stdout.contains("rows"), "{}", run.stdout);
    assert_eq!(std::fs::read(&taken).unwrap(), b"mine");

    // A second run must not classify its own output.
    for (into, input) in [
        ("in/sorted", "in"),
        ("in", "in"),
        ("sorted", "sorted"),
        (".", "in"),
        ("sorted", "sorted/3"),
    ] {
        if bench.path(input).is_dir() {
            predict(&bench, &["--sort-into", into, input])
                .failure(1, &["--sort-into", "folder apart"]);
        }
    }
    assert_eq!(files_below(&bench.path("in")), before);
}

#[cfg(unix)]
#[test]
fn images_can_be_linked() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    bench.copy_images("images/test/3", "a", 1);
    let image = sorted(&bench.path("a"))[0].clone();
    let placed = |by: &str| {
        let into = format!("by-{by}");
        for _ in 0..2 {
            predict(&bench, &["--sort-into", &into, "--sort-by", by, "a"]).success();
        }
        let files = files_below(&bench.path(&into));
        assert_eq!(files.len(), 1);
        bench.path(&into).join(&files[0])
    };
    let (copy, hard, soft) = (placed("copy"), placed("hardlink"), placed("symlink"));
    let inode = |path: &Path| std::fs::symlink_metadata(path).unwrap().ino();
    assert_ne!(inode(&copy), inode(&image));
    assert_eq!(inode(&hard), inode(&image));
    assert_eq!(
        std::fs::read_link(&soft).unwrap(),
        std::fs::canonicalize(&image).unwrap()
    );

    // A link that leads nowhere is a file in the way.
    std::fs::remove_file(&soft).unwrap();
    std::os::unix::fs::symlink("nowhere", &soft).unwrap();
    predict(
        &bench,
        &["--sort-into", "by-symlink", "--sort-by", "symlink", "a"],
    )
    .failure(1, &["by-symlink", "nothing was overwritten"]);
    predict(&bench, &["--json", "--sort-by", "symlink", "a"]).failure(2, &["--sort-into"]);
}

#[test]
fn class_names_lead_nowhere_else() {
    let bench = Bench::new();
    bench.copy_images("images/test/3", "deep/in", 4);
    let names: String = (0..10).map(|class| format!("../{class}/x\n")).collect();
    std::fs::write(bench.path("names.txt"), names).unwrap();
    let sort = [
        "--sort-into",
        "deep/sorted",
        "--classes",
        "names.txt",
        "deep/in",
    ];
    predict(&bench, &sort).success();
    let files = files_below(&bench.path("deep/sorted"));
    assert_eq!(files.len(), 4);
    assert!(
        files.iter().all(|file| file.starts_with("%2E.%2F")),
        "{files:?}"
    );
    assert_eq!(sorted(&bench.path("deep")).len(), 2);
    assert_eq!(sorted(&bench.path("")).len(), 2);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let bench = Bench::new();
    bench.copy_images("images/test/3", "a", 1);
    std::fs::write(bench.path("sorted"), "a file").unwrap();
    predict(&bench, &["--sort-into", "sorted", "a"]).failure(1, &["sorted"]);
    predict(&bench, &["--sheet", "sorted/x.png", "a"]).failure(1, &["sorted/x.png"]);
    std::fs::create_dir(bench.path("sheet.png")).unwrap();
    let run = predict(&bench, &["--sheet", "sheet.png", "a"]).failure(1, &["sheet.png"]);
    assert!(!run.stderr.contains("predict (1)"), "{}", run.stderr);
}

#[test]
fn a_sheet_shows_images_with_their_predictions() {
    let bench = Bench::new();
    bench.copy_images("images/test/3", "in/3", 5);
    // Sevens among the ones, so that some answers are wrong.
    bench.copy_images("images/test/7", "in/1", 5);
    let svg = |arguments: &[&str]| {
        let run = predict(&bench, &[&["--sheet", "sheet.svg"], arguments].concat()).success();
        (
            std::fs::read_to_string(bench.path("sheet.svg")).unwrap(),
            run.stdout,
        )
    };
    let (drawn, said) = svg(&["in"]);
    assert_eq!(drawn.matches("<image").count(), 4);
    assert!(said.contains("sheet.svg\t4 of 10 images"), "{said}");
    assert_eq!(svg(&["in"]).0, drawn);
    assert_ne!(svg(&["--seed", "1", "in"]).0, drawn);
    let (all, _) = svg(&["--count", "30", "in"]);
    assert_eq!(all.matches("<image").count(), 10);
    assert!(all.contains('✗') && all.contains("true: 1"), "{all}");

    let (wrong, said) = svg(&["--count", "30", "--wrong", "in"]);
    let count = wrong.matches("<image").count();
    assert_eq!(
        (count, wrong.matches("true: ").count()),
        (all.matches('✗').count(), count)
    );
    assert!(
        !wrong.contains('✓') && said.contains(&format!("{count} of {count} wrong answers")),
        "{said}"
    );

    // A table has labels too; without any, there is neither right nor wrong.
    let table: String = files_below(&bench.path("in"))
        .iter()
        .map(|file| format!("in/{file},5\n"))
        .collect();
    std::fs::write(bench.path("labels.csv"), format!("path,label\n{table}")).unwrap();
    assert!(svg(&["labels.csv"]).0.contains("true: 5"));
    bench.copy_images("images/test/3", "unsorted", 2);
    let (unknown, _) = svg(&["unsorted"]);
    assert!(
        !unknown.contains('✓') && !unknown.contains('✗'),
        "{unknown}"
    );
    predict(&bench, &["--sheet", "wrong.png", "--wrong", "unsorted"])
        .failure(1, &["--wrong", "none is known"]);
    assert!(!bench.path("wrong.png").exists());

    predict(&bench, &["--sheet", "sheet.png", "in"]).success();
    let png = std::fs::read(bench.path("sheet.png")).unwrap();
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    predict(&bench, &["--sheet", "sheet.gif", "in"]).failure(2, &["sheet.gif", ".png or .svg"]);
}

#[test]
fn explanations_are_pictures_with_an_index() {
    let bench = Bench::new();
    bench.copy_images("images/test/3", "in/3", 3);
    bench.copy_images("images/test/7", "in/7", 2);
    let run = predict(&bench, &["--out", "out", "--explain", "why", "in"]).success();
    assert!(run.stdout.contains("index.csv\t5 rows"), "{}", run.stdout);
    let table = std::fs::read_to_string(bench.path("out/predictions.csv")).unwrap();
    let index = std::fs::read_to_string(bench.path("why/index.csv")).unwrap();
    let mut lines = index.lines();
    assert_eq!(
        lines.next(),
        Some("image_id,file,layer,class,probability,row,column")
    );
    let mut files = vec!["index.csv".to_owned()];
    for (line, (id, label)) in lines.zip(labels(&table)) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!((cells[0], cells[3]), (&id[..], &label[..]));
        assert_eq!(cells[1], format!("{id}.png"));
        assert!(cells[2].starts_with("features."), "{line}");
        for place in &cells[5..] {
            assert!(place.is_empty() || (0.0..1.0).contains(&place.parse::<f64>().unwrap()));
        }
        files.push(cells[1].to_owned());
    }
    files.sort();
    assert_eq!(files.len(), 6);
    assert_eq!(files_below(&bench.path("why")), files);

    let weights = trained_weights();
    let several = ["predict", "--weights", &weights, "--weights", &weights];
    let refused = bench.run(&[&several[..], &["--explain", "no", "in"]].concat());
    refused.failure(2, &["an explanation is of one network"]);
    assert!(!bench.path("no").exists());
}

#[test]
fn the_mistakes_of_a_run_are_explained() {
    let folder = trained().path("run").join("explanations");
    let index = std::fs::read_to_string(folder.join("index.csv")).unwrap();
    let rows = index.lines().count() - 1;
    assert!(rows <= 12, "{index}");
    let files = files_below(&folder);
    assert_eq!(files.len(), rows + 1, "{files:?}");
}
