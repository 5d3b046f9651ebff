//! Tests valid and invalid class folders.

use std::fs;

use mnist_data::{Classes, Error, ImageFolder, list_images};

use crate::util::{folder, png};

fn classes(names: &[&str]) -> Classes {
    Classes::new(names.iter().map(|&name| name.into()).collect()).unwrap()
}

#[test]
fn classes_are_the_sorted_folders_of_training() {
    let dir = folder();
    for name in [
        "dog/b.png",
        "dog/a.JPG",
        "cat/deep/er/1.WebP",
        "cat/0.tif",
        "ant/x.bmp",
        "ant/y.TIFF",
        "ant/z.jpeg",
    ] {
        png(&dir.path().join(name), 0);
    }
    let training = ImageFolder::training(dir.path()).unwrap();
    assert_eq!(training.classes.names(), ["ant", "cat", "dog"]);
    let ids: Vec<(&str, usize)> = training
        .samples
        .iter()
        .map(|sample| (sample.id(), sample.label))
        .collect();
    assert_eq!(
        ids,
        [
            ("ant/x.bmp", 0),
            ("ant/y.TIFF", 0),
            ("ant/z.jpeg", 0),
            ("cat/0.tif", 1),
            ("cat/deep/er/1.WebP", 1),
            ("dog/a.JPG", 2),
            ("dog/b.png", 2),
        ]
    );
    assert_eq!(training.class_counts(), [3, 2, 2]);
    assert!(
        training
            .samples
            .iter()
            .all(|sample| sample.path().is_file())
    );
}

#[test]
fn other_files_and_hidden_ones_are_passed_over() {
    let dir = folder();
    png(&dir.path().join("a/1.png"), 0);
    png(&dir.path().join("a/.hidden.png"), 0);
    png(&dir.path().join(".cache/2.png"), 0);
    png(&dir.path().join("astray.png"), 0);
    fs::write(dir.path().join("a/notes.txt"), "").unwrap();
    fs::write(dir.path().join("a/png"), "").unwrap();
    let training = ImageFolder::training(dir.path()).unwrap();
    assert_eq!(training.classes.names(), ["a"]);
    assert_eq!(training.samples.len(), 1);
}

#[test]
fn another_split_keeps_the_labels_of_training() {
    let dir = folder();
    png(&dir.path().join("c/1.png"), 0);
    png(&dir.path().join("a/1.png"), 0);
    // If the classes came from this split, `c` would be class 1, since the folder of `b` is missing.
    let split = ImageFolder::with_classes(dir.path(), &classes(&["a", "b", "c"])).unwrap();
    let labels: Vec<usize> = split.samples.iter().map(|sample| sample.label).collect();
    assert_eq!(labels, [0, 2]);
    assert_eq!(split.class_counts(), [1, 0, 1]);
    // Class names may be in any order, for example that of a weights file.
    let split = ImageFolder::with_classes(dir.path(), &classes(&["c", "a"])).unwrap();
    assert_eq!(split.samples[0].id(), "c/1.png");
    assert_eq!(split.samples[0].label, 0);
}

#[test]
fn a_class_unknown_to_training_is_an_error_by_name() {
    let dir = folder();
    png(&dir.path().join("a/1.png"), 0);
    png(&dir.path().join("zebra/1.png"), 0);
    let error = ImageFolder::with_classes(dir.path(), &classes(&["a", "b"])).unwrap_err();
    assert!(
        matches!(&error, Error::UnknownClass { class, .. } if class == "zebra"),
        "{error:?}"
    );
    assert!(error.to_string().contains("(a, b)"), "{error}");
}

#[test]
fn an_empty_class_is_an_error_in_training_alone() {
    let dir = folder();
    png(&dir.path().join("a/1.png"), 0);
    fs::create_dir(dir.path().join("void")).unwrap();
    fs::write(dir.path().join("void/readme.txt"), "").unwrap();
    let error = ImageFolder::training(dir.path()).unwrap_err();
    assert!(
        matches!(&error, Error::EmptyClass { class, .. } if class == "void"),
        "{error:?}"
    );
    let split = ImageFolder::with_classes(dir.path(), &classes(&["a", "void"])).unwrap();
    assert_eq!(split.samples.len(), 1);
}

#[test]
fn a_missing_split_is_an_error_that_shows_the_layout() {
    let dir = folder();
    let path = dir.path().join("val");
    for error in [
        ImageFolder::training(&path).unwrap_err(),
        ImageFolder::with_classes(&path, &classes(&["a"])).unwrap_err(),
    ] {
        assert!(matches!(error, Error::MissingSplit { .. }), "{error:?}");
        assert!(
            error.to_string().contains("val/<class>/<image>.png"),
            "{error}"
        );
    }
}

#[test]
fn a_split_without_images_is_an_error() {
    let dir = folder();
    let error = ImageFolder::training(dir.path()).unwrap_err();
    assert!(matches!(error, Error::NoImages { .. }), "{error:?}");
    png(&dir.path().join("1.png"), 0);
    let error = ImageFolder::training(dir.path()).unwrap_err();
    assert!(
        error.to_string().contains("one sub-folder per class"),
        "{error}"
    );
    let error = ImageFolder::with_classes(dir.path(), &classes(&["a"])).unwrap_err();
    assert!(matches!(error, Error::NoImages { .. }), "{error:?}");
    let error = list_images(&dir.path().join("nowhere")).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn classes_are_distinct_and_at_least_one() {
    assert!(Classes::new(Vec::new()).is_err());
    let error = Classes::new(vec!["a".into(), "b".into(), "a".into()]).unwrap_err();
    assert!(error.to_string().contains("`a` comes twice"), "{error}");
    assert_eq!(classes(&["x", "y"]).index_of("y"), Some(1));
    assert_eq!(classes(&["x", "y"]).index_of("z"), None);
}

#[test]
fn images_are_listed_by_path_below_the_input() {
    let dir = folder();
    for name in ["b/1.png", "a/1.png", "a/2.png", "0.png"] {
        png(&dir.path().join(name), 0);
    }
    let ids = |input| {
        list_images(input)
            .unwrap()
            .into_iter()
            .map(|sample| sample.id().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(dir.path()), ["0.png", "a/1.png", "a/2.png", "b/1.png"]);
    let odd = dir.path().join("image.data");
    png(&odd, 0);
    assert_eq!(ids(&odd), ["image.data"]);
    let error = list_images(folder().path()).unwrap_err();
    assert!(error.to_string().contains("found none"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_are_followed() {
    use std::os::unix::fs::symlink;

    let dir = folder();
    let elsewhere = folder();
    png(&dir.path().join("a/1.png"), 0);
    png(&elsewhere.path().join("2.png"), 0);
    symlink(elsewhere.path(), dir.path().join("b")).unwrap();
    symlink("1.png", dir.path().join("a/0.png")).unwrap();
    let training = ImageFolder::training(dir.path()).unwrap();
    assert_eq!(training.classes.names(), ["a", "b"]);
    let ids: Vec<&str> = training.samples.iter().map(|sample| sample.id()).collect();
    assert_eq!(ids, ["a/0.png", "a/1.png", "b/2.png"]);
}
