use std::path::Path;

use trainer::AnswersFile;

use super::*;
use crate::{Error, Fonts, rasterise};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// A run with these answers: ids, labels and the classes that were predicted.
fn run(dir: &Path, name: &str, settings: &str, answers: &[(String, usize, usize)]) -> PathBuf {
    let run = dir.join(name);
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("config.toml"), settings).unwrap();
    let line = |epoch: usize, accuracy: f64| {
        format!(
            "{{\"epoch\":{epoch},\"train_loss\":0.5,\"train_accuracy\":0.5,\"val_loss\":0.5,\"val_accuracy\":{accuracy},\
             \"val_macro_f1\":0.5,\"learning_rate\":0.1,\"images_per_second\":{},\"seconds\":2.5}}\n",
            8 * epoch
        )
    };
    let metrics = [line(1, 0.25), line(2, 0.75), line(3, 0.5)].concat();
    std::fs::write(run.join("metrics.jsonl"), metrics).unwrap();
    if answers.is_empty() {
        return run;
    }
    let names = NAMES.map(str::to_owned);
    let mut file = AnswersFile::create(&RunDir::answers(&run, Measured::Test), &names).unwrap();
    for (id, label, predicted) in answers {
        let mut row = [0.1; 3];
        row[*predicted] = 0.8;
        file.write(id, *label, &row).unwrap();
    }
    file.finish().unwrap();
    let class = |name| serde_json::json!({"name": name, "support": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0});
    let scores = serde_json::json!({
        "images": answers.len(), "skipped": 0, "accuracy": 0.5, "loss": 1.0, "macro_precision": 0.5,
        "macro_recall": 0.5, "macro_f1": 0.5, "classes": NAMES.map(class), "confusion": [],
    });
    std::fs::write(RunDir::evaluation(&run, Measured::Test), scores.to_string()).unwrap();
    run
}

/// `count` images of class 0 from number `first` on, of which those in `wrong` are mistaken.
fn images(
    first: usize,
    count: usize,
    wrong: std::ops::Range<usize>,
) -> Vec<(String, usize, usize)> {
    let image = |number: usize| {
        (
            format!("{number}.png"),
            0,
            usize::from(wrong.contains(&number)),
        )
    };
    (first..first + count).map(image).collect()
}

#[test]
fn runs_are_laid_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(dir.path(), "x/run", "train.seed = 1", &images(0, 100, 0..2));
    let other = run(
        dir.path(),
        "y/run",
        "train.seed = 2",
        &images(0, 100, 1..13),
    );
    let folders = [first.clone(), other];
    let found = Comparison::of(&folders).unwrap();
    let [one, two] = &found.runs[..] else {
        panic!("{found:?}")
    };
    // Equal names are told apart.
    assert_eq!(
        [&one.name, &two.name],
        folders.each_ref().map(|folder| folder.to_str().unwrap())
    );
    assert_eq!((one.best_epoch, one.epochs), (Some(2), 3));
    assert_eq!(one.validation.unwrap().accuracy, 0.75);
    assert_eq!(one.test.unwrap().images, 100);
    assert_eq!(
        (one.seconds_per_epoch, one.images_per_second),
        (Some(2.5), Some(16.0))
    );
    assert_eq!(one.parameters, None);
    assert!(one.missing[0].contains("run.json"), "{:?}", one.missing);
    let [setting] = &found.settings[..] else {
        panic!("{found:?}")
    };
    assert_eq!((&setting.key[..], setting.values.len()), ("train.seed", 2));
    let [test] = &found.tests[..] else {
        panic!("{found:?}")
    };
    // Only the first has image 0 wrong, only the second images 2 to 12.
    assert_eq!(test.mcnemar, Some(trainer::McNemar::of(11, 1)));
    assert_eq!((test.images, test.notes.len()), (100, 0));
    let svg = found.curves();
    assert!(
        svg.description().contains("0.5000 after epoch 3"),
        "{}",
        svg.description()
    );
    rasterise(&svg, 1.0, &Fonts::embedded()).unwrap();
    serde_json::to_string(&found).unwrap();
}

#[test]
fn only_common_images_are_tested() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(dir.path(), "one", "", &images(0, 10, 0..0));
    let mut shifted = images(5, 10, 5..20);
    shifted[0].1 = 2;
    let shifted = run(dir.path(), "two", "", &shifted);
    let apart = run(
        dir.path(),
        "three",
        "data.root = 'elsewhere'",
        &images(20, 3, 0..0),
    );
    let bare = run(dir.path(), "four", "", &[]);
    let found = Comparison::of(&[first, shifted, apart, bare]).unwrap();
    let [common, none, unmeasured] = &found.tests[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (common.images, common.mcnemar),
        (4, Some(trainer::McNemar::of(4, 0)))
    );
    let notes = common.notes.join("; ");
    assert!(notes.contains("1 images with another label"), "{notes}");
    assert!(notes.contains("10 and 10, 5 of them in common"), "{notes}");
    assert_eq!((none.images, none.mcnemar), (0, None));
    assert!(none.notes[0].contains("0 of them in common"), "{none:?}");
    assert_eq!(unmeasured.mcnemar, None);
    assert!(
        unmeasured.notes[0].contains("four has no predictions-test.csv"),
        "{unmeasured:?}"
    );
    assert_eq!(found.runs[3].test, None);
}

#[test]
fn a_folder_without_a_run_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Comparison::of(&[dir.path().join("none")]).unwrap_err();
    assert!(matches!(error, Error::NoRun { .. }), "{error}");
}
