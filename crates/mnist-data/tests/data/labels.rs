//! Tests labels and weights from CSV files.

use std::fs;
use std::path::{Path, PathBuf};

use mnist_data::{
    Classes, Error, ImageFolder, ImageSize, Loader, LoaderOptions, Sample, WeightPattern,
    WeightsConfig,
};
use tempfile::TempDir;

use crate::util::{folder, png};

/// A folder with `images/1.png` to `images/4.png` and the given table.
fn with_table(table: &str) -> (TempDir, PathBuf) {
    let dir = folder();
    for index in 1..=4 {
        png(&dir.path().join(format!("images/{index}.png")), index);
    }
    let file = dir.path().join("labels.csv");
    fs::write(&file, table).unwrap();
    (dir, file)
}

fn refusal(table: &str) -> String {
    let (_dir, file) = with_table(table);
    let error = ImageFolder::from_csv(&file, None, None).unwrap_err();
    assert!(matches!(error, Error::Table { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn a_table_equals_a_folder_and_weights_reach_the_batch() {
    let (dir, file) = with_table(
        "path,label,weight\nimages/4.png,dog,0.25\nimages/2.png,cat,2\n\"images/1.png\",dog,0\n",
    );
    let training = ImageFolder::from_csv(&file, None, None).unwrap();
    assert_eq!(training.classes.names(), ["cat", "dog"]);
    assert_eq!(training.class_counts(), [1, 2]);
    let expected = [
        ("images/2.png", 0, 2.0),
        ("images/1.png", 1, 0.0),
        ("images/4.png", 1, 0.25),
    ];
    for (sample, (id, label, weight)) in training.samples.iter().zip(expected) {
        assert_eq!(
            (sample.id(), sample.label, sample.weight),
            (id, label, weight)
        );
        assert_eq!(sample.path(), dir.path().join(id));
    }
    let options = LoaderOptions {
        image_size: ImageSize::square(2),
        workers: 1,
        ..LoaderOptions::default()
    };
    let loader = Loader::new(training.samples, options).unwrap();
    let batch = loader.epoch(0).next().unwrap().unwrap();
    assert_eq!(batch.weights, [2.0, 0.0, 0.25]);
    assert_eq!(batch.labels, [0, 1, 1]);
}

#[test]
fn columns_may_come_in_any_order_and_roots_anywhere() {
    let (dir, _) = with_table("");
    let elsewhere = folder();
    let file = elsewhere.path().join("labels.csv");
    let absolute = dir.path().join("images/3.png");
    // A CSV file as spreadsheets write it: with a byte-order mark and carriage returns.
    let table = format!(
        "\u{feff}label, path\r\nb,1.png\r\na,../images/2.png\r\n\"a, or b\",{}\r\n\r\n",
        absolute.display()
    );
    fs::write(&file, table).unwrap();
    let root = dir.path().join("images");
    let training = ImageFolder::from_csv(&file, Some(&root), None).unwrap();
    assert_eq!(training.classes.names(), ["a", "a, or b", "b"]);
    let ids: Vec<&str> = training.samples.iter().map(|sample| sample.id()).collect();
    assert_eq!(
        ids,
        ["../images/2.png", absolute.to_str().unwrap(), "1.png"]
    );
    assert_eq!(training.samples[1].path(), absolute);
    assert!(training.samples.iter().all(|sample| sample.weight == 1.0));
}

#[test]
fn white_space_around_values_does_not_count() {
    let (dir, file) = with_table(
        "path, label ,weight\nimages/1.png, cat,\t2\n images/2.png\t,cat, 3 \nimages/3.png,\" a cat \",1\n",
    );
    let training = ImageFolder::from_csv(&file, None, None).unwrap();
    assert_eq!(training.classes.names(), ["a cat", "cat"]);
    let found: Vec<(&str, usize, f32)> = training
        .samples
        .iter()
        .map(|sample| (sample.id(), sample.label, sample.weight))
        .collect();
    let expected = [
        ("images/3.png", 0, 1.0),
        ("images/1.png", 1, 2.0),
        ("images/2.png", 1, 3.0),
    ];
    assert_eq!(found, expected);
    assert_eq!(training.samples[2].path(), dir.path().join("images/2.png"));
}

#[test]
fn classes_of_another_split_or_a_file_number_the_labels() {
    let (dir, file) = with_table("path,label\nimages/1.png,cat\n");
    let names = dir.path().join("classes.txt");
    fs::write(&names, "\u{feff}dog\r\ncat\r\n\r\n").unwrap();
    let classes = Classes::read(&names).unwrap();
    assert_eq!(classes.names(), ["dog", "cat"]);
    let val = ImageFolder::from_csv(&file, None, Some(&classes)).unwrap();
    assert_eq!((val.samples[0].label, &val.classes), (1, &classes));
    let others = Classes::new(vec!["dog".into(), "bird".into()]).unwrap();
    let error = ImageFolder::from_csv(&file, None, Some(&others))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("labels.csv:2: label `cat`") && error.contains("dog, bird"),
        "{error}"
    );

    for (text, problem) in [
        ("", "classes.txt:1: the file is empty"),
        ("a\n\nb\n", "classes.txt:2: is empty"),
        (
            "a\nb\na\n",
            "classes.txt:3: class `a` comes twice, first on line 1",
        ),
    ] {
        fs::write(&names, text).unwrap();
        let error = Classes::read(&names).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    assert!(matches!(
        Classes::read(Path::new("/none/at/all")),
        Err(Error::Io { .. })
    ));
}

#[test]
fn a_wrong_table_is_refused_with_its_line() {
    for (table, problem) in [
        ("", "labels.csv:1: the file is empty"),
        ("path,label\n", "labels.csv:2: no row"),
        ("path\nimages/1.png\n", "labels.csv:1: no column `label`"),
        (
            "path,class\nimages/1.png,a\n",
            "labels.csv:1: unknown column `class`",
        ),
        (
            "path,label,label\nimages/1.png,a,b\n",
            "labels.csv:1: column `label` comes twice",
        ),
        (
            "images/1.png,a\nimages/2.png,b\n",
            "unknown column `images/1.png`; expected a header",
        ),
        (
            "path,label\nimages/1.png,a\nimages/2.png\n",
            "labels.csv:3: 1 values, expected 2",
        ),
        (
            "path,label\nimages/1.png,\n",
            "labels.csv:2: the label is empty",
        ),
        (
            "path,label\r\nimages/1.png,cat\r\nimages/2.png,\r\n",
            "labels.csv:3: the label is empty",
        ),
        (
            "\u{feff}path,label\n\n\nimages/1.png,",
            "labels.csv:4: the label is empty",
        ),
        (
            "\r\npath,label\r\n\"images/1.png\",\"a\r\nb\"\r\nimages/2.png\r\n",
            "labels.csv:5: 1 values, expected 2",
        ),
        (
            "path,label\r\n\r\nimages/1.png,a\r\n./images/1.png,b\r\n",
            "labels.csv:4: \"./images/1.png\" comes twice, first on line 3",
        ),
        (
            "path,label\nimages/1.png, \n",
            "labels.csv:2: the label is empty",
        ),
        ("path,label\n,a\n", "labels.csv:2: the path is empty"),
        (
            "path,label\nimages/1.png,a\nimages/2.png,a\n./images/1.png,b\n",
            "labels.csv:4: \"./images/1.png\" comes twice, first on line 2",
        ),
        (
            "path,label,weight\nimages/1.png,a,-1\n",
            "labels.csv:2: weight \"-1\"",
        ),
        (
            "path,label,weight\nimages/1.png,a,nan\n",
            "labels.csv:2: weight \"nan\"",
        ),
        (
            "path,label,weight\nimages/1.png,a,1e99\n",
            "labels.csv:2: weight \"1e99\"",
        ),
        (
            "path,label,weight\nimages/1.png,a,\n",
            "labels.csv:2: weight \"\"",
        ),
    ] {
        let error = refusal(table);
        assert!(error.contains(problem), "{table:?}: {error}");
    }
    let (_dir, file) = with_table("");
    fs::write(&file, b"path,label\n\xFF\xFE,a\n").unwrap();
    let error = ImageFolder::from_csv(&file, None, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("labels.csv:2: is not UTF-8"), "{error}");
    let error = ImageFolder::from_csv(Path::new("none.csv"), None, None).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
}

#[test]
fn a_file_that_is_spelled_in_another_way_comes_twice_too() {
    let (dir, file) = with_table("");
    let absolute = dir.path().join("images/1.png");
    let absolute = absolute.to_str().unwrap();
    for other in [
        "images/../images/1.png",
        "images//../images/./1.png",
        absolute,
    ] {
        for [first, second] in [["images/1.png", other], [other, "images/1.png"]] {
            fs::write(
                &file,
                format!("path,label\nimages/2.png,a\n{first},a\n{second},b\n"),
            )
            .unwrap();
            let error = ImageFolder::from_csv(&file, None, None)
                .unwrap_err()
                .to_string();
            let expected =
                format!("labels.csv:4: {second:?} is the file of line 3 ({first:?}) again");
            assert!(error.contains(&expected), "{error}");
        }
    }
}

#[test]
fn missing_files_are_counted_and_the_first_named() {
    let rows: String = (1..=9)
        .map(|index| format!("images/{index}.png,a\n"))
        .collect();
    let error = refusal(&format!("path,label\n{rows}images,a\n"));
    assert!(
        error.contains("labels.csv:6: 6 of 10 files are not there"),
        "{error}"
    );
    for (name, line) in [("5.png", 6), ("9.png", 10)] {
        assert!(error.contains(&format!("{name} (line {line})")), "{error}");
    }
    assert!(
        !error.contains("(line 11)") && error.contains('…'),
        "{error}"
    );
}

fn samples() -> Vec<Sample> {
    ["a/1.png", "a/2.png", "a/deep/3.png", "b/1.png"]
        .map(|id| Sample::new(id.into(), id.into(), 0))
        .into()
}

fn weights(config: &WeightsConfig) -> Result<Vec<f32>, Error> {
    let mut samples = samples();
    config.apply(&mut samples)?;
    Ok(samples.iter().map(|sample| sample.weight).collect())
}

fn patterns(entries: &[(&str, f32)]) -> WeightsConfig {
    let pattern = |&(pattern, weight): &(&str, f32)| WeightPattern {
        pattern: pattern.into(),
        weight,
    };
    WeightsConfig {
        patterns: entries.iter().map(pattern).collect(),
        ..WeightsConfig::default()
    }
}

#[test]
fn of_patterns_that_match_the_last_decides() {
    for (entries, expected) in [
        (vec![], [1.0; 4]),
        (vec![("a/*", 0.5)], [0.5, 0.5, 1.0, 1.0]),
        (vec![("a/**", 0.5), ("**/1.png", 3.0)], [3.0, 0.5, 0.5, 3.0]),
        (vec![("?/[12].png", 0.0)], [0.0, 0.0, 1.0, 0.0]),
    ] {
        assert_eq!(
            weights(&patterns(&entries)).unwrap(),
            expected,
            "{entries:?}"
        );
    }
}

#[test]
fn a_file_of_weights_goes_before_the_patterns() {
    let dir = folder();
    let file = dir.path().join("weights.csv");
    let config = WeightsConfig {
        file: Some(file.clone()),
        ..patterns(&[("**", 0.5)])
    };
    fs::write(&file, "weight,path\n4,a/2.png\n").unwrap();
    assert_eq!(weights(&config).unwrap(), [0.5, 4.0, 0.5, 0.5]);
    for (table, problem) in [
        ("path\na/1.png\n", "weights.csv:1: no column `weight`"),
        (
            "path,weight\na/1.png,1\nc.png,1\n",
            "weights.csv:3: no sample is named \"c.png\"; they are named like \"a/1.png\"",
        ),
    ] {
        fs::write(&file, table).unwrap();
        let error = weights(&config).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    let written = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<WeightsConfig>(&written).unwrap(), config);
    assert!(toml::from_str::<WeightsConfig>("paterns = []").is_err());
}

#[test]
fn weights_that_make_no_sense_are_refused() {
    for (entries, problem) in [
        (
            vec![("a/*", 1.0), ("c/*", 2.0)],
            "number 2 (\"c/*\"): matches no sample; they are named like \"a/1.png\"",
        ),
        (vec![("a/*", -1.0)], "number 1 (\"a/*\"): found weight -1"),
        (vec![("a/*", f32::NAN)], "found weight NaN"),
        (vec![("a/***", 1.0)], "number 1 (\"a/***\")"),
        (vec![("**", 0.0)], "every sample weighs 0"),
    ] {
        let error = weights(&patterns(&entries)).unwrap_err().to_string();
        assert!(
            error.contains("weights") && error.contains(problem),
            "{error}"
        );
    }
}
