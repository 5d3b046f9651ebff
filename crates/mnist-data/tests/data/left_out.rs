//! Tests the limits for images left out.

use std::fs;
use std::path::Path;

use mnist_data::{BadImage, BadImageLimit, Error, ImageFolder, ImageSize, Loader, LoaderOptions};
use tempfile::TempDir;

use crate::util::{folder, png};

/// `count` images of each of two classes.
fn two_classes(count: usize) -> (TempDir, ImageFolder) {
    let dir = folder();
    for number in 0..count {
        png(&dir.path().join(format!("cat/{number:03}.png")), 1);
        png(&dir.path().join(format!("dog/{number:03}.png")), 2);
    }
    let images = ImageFolder::training(dir.path()).unwrap();
    (dir, images)
}

fn loader(images: &ImageFolder, share: f64, with_classes: bool) -> Loader {
    let options = LoaderOptions {
        batch_size: 4,
        image_size: ImageSize::square(3),
        workers: 2,
        shuffle: Some(1),
        on_bad_image: BadImage::Skip,
        bad_images: BadImageLimit {
            share,
            classes: with_classes.then(|| images.classes.clone()),
            split: "photos/train".into(),
            is_quiet: false,
        },
        ..LoaderOptions::default()
    };
    Loader::new(images.samples.clone(), options).unwrap()
}

/// The images of an epoch, and the error that ends it, if any.
fn epoch(loader: &Loader) -> (usize, Option<Error>) {
    let mut count = 0;
    for batch in loader.epoch(0) {
        match batch {
            Ok(batch) => count += batch.count,
            Err(error) => return (count, Some(error)),
        }
    }
    (count, None)
}

fn spoil(dir: &Path, class: &str, count: usize) {
    for number in 0..count {
        fs::write(dir.join(format!("{class}/{number:03}.png")), "").unwrap();
    }
}

#[test]
fn a_share_may_be_left_out_and_no_more() {
    let (dir, images) = two_classes(20);
    spoil(dir.path(), "cat", 2);
    let tolerant = loader(&images, 0.05, true);
    assert!(matches!(epoch(&tolerant), (38, None)));
    assert_eq!(tolerant.skipped_by_label(), [(0, 2)].into());
    spoil(dir.path(), "cat", 3);
    let (_, error) = epoch(&loader(&images, 0.05, true));
    let error = error.unwrap();
    assert!(matches!(error, Error::TooManyBadImages { .. }), "{error:?}");
    for part in [
        "photos/train: more than 2 of 40 images cannot be read (the limit is 0.05)",
        "3 of class `cat`",
        "cat/000.png: it is empty",
        "cat/002.png",
        "bad_image_limit",
    ] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert!(matches!(epoch(&loader(&images, 0.1, true)), (37, None)));
}

#[test]
fn one_image_may_be_left_out_of_a_small_set_unless_none_may() {
    let (dir, images) = two_classes(5);
    spoil(dir.path(), "dog", 1);
    assert!(matches!(epoch(&loader(&images, 0.05, true)), (9, None)));
    let (_, error) = epoch(&loader(&images, 0.0, true));
    assert!(matches!(error, Some(Error::TooManyBadImages { .. })));
    spoil(dir.path(), "dog", 2);
    let (_, error) = epoch(&loader(&images, 0.05, true));
    assert!(matches!(error, Some(Error::TooManyBadImages { .. })));
}

#[test]
fn no_class_may_lose_all_its_images() {
    let (dir, images) = two_classes(20);
    // Without its folder, the class would have vanished, which is another error.
    spoil(dir.path(), "dog", 20);
    let (_, error) = epoch(&loader(&images, 1.0, true));
    let error = error.unwrap();
    assert!(matches!(error, Error::TooManyBadImages { .. }), "{error:?}");
    for part in [
        "photos/train",
        "not one of the 20 images of class `dog`",
        "dog/000.png",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
    // Images without labels have no classes that could lose all images.
    assert!(matches!(epoch(&loader(&images, 1.0, false)), (20, None)));
}

#[test]
fn a_class_of_one_image_is_lost_with_it() {
    let dir = folder();
    for number in 0..30 {
        png(&dir.path().join(format!("cat/{number:03}.png")), 1);
    }
    png(&dir.path().join("dog/000.png"), 2);
    let images = ImageFolder::training(dir.path()).unwrap();
    spoil(dir.path(), "cat", 1);
    spoil(dir.path(), "dog", 1);
    let (_, error) = epoch(&loader(&images, 0.5, true));
    let text = error.unwrap().to_string();
    assert!(
        text.contains("the one image of class `dog` cannot be read"),
        "{text}"
    );
    // The message names this image's problem first, then the problems of other left-out images.
    assert!(
        text.contains("such as ") && text.contains("dog/000.png: it is empty"),
        "{text}"
    );
}

#[test]
fn a_share_that_is_none_is_refused() {
    let (_dir, images) = two_classes(1);
    for share in [-0.1, 1.1, f64::NAN] {
        let options = LoaderOptions {
            bad_images: BadImageLimit {
                share,
                ..BadImageLimit::default()
            },
            ..LoaderOptions::default()
        };
        let error = Loader::new(images.samples.clone(), options).unwrap_err();
        assert!(error.to_string().contains("bad_images.share"), "{error}");
    }
}
