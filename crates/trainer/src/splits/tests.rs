//! The splits of small folders.

use std::fs;

use mnist_data::WeightPattern;

use super::*;

/// Class folders with images that are never decoded: `path` and their number.
fn folders(counts: &[(&str, usize)]) -> (tempfile::TempDir, RunConfig) {
    let dir = tempfile::tempdir().unwrap();
    for (path, count) in counts {
        let folder = dir.path().join(path);
        fs::create_dir_all(&folder).unwrap();
        for number in 1..=*count {
            fs::write(folder.join(format!("{number}.png")), "").unwrap();
        }
    }
    let mut config = RunConfig::default();
    config.data.source = DataSource::Folder;
    config.data.root = Some(dir.path().to_owned());
    (dir, config)
}

/// Lists the images of a split's folders in its CSV file, with paths that begin with the split.
fn list_in_csv(dir: &Path, split: &str) {
    let images = mnist_data::list_images(&dir.join(split)).unwrap();
    let rows = images.iter().map(|image| {
        let id = image.id();
        let class = id.split('/').next().unwrap();
        format!("{split}/{id},{class}\n")
    });
    let text = "path,label\n".to_owned() + &rows.collect::<String>();
    fs::write(dir.join(format!("{split}.csv")), text).unwrap();
}

#[test]
fn a_single_class_is_refused_with_its_likely_cause() {
    let (dir, mut config) = folders(&[("train/photos/cats", 12), ("train/photos/dogs", 12)]);
    let said = |config: &RunConfig| Splits::open(config).unwrap_err().to_string();
    let text = said(&config);
    for part in [
        "data.root",
        "`photos` alone",
        "at least 2",
        "a level deeper",
    ] {
        assert!(text.contains(part), "{text}");
    }
    list_in_csv(dir.path(), "train");
    config.data.source = DataSource::Csv;
    assert!(said(&config).contains("train.csv"), "{}", said(&config));
}

#[test]
fn a_tenth_is_held_out_only_of_classes_that_can_spare_it() {
    let (dir, mut config) = folders(&[("train/cats", 12), ("train/dogs", 10)]);
    list_in_csv(dir.path(), "train");
    for source in [DataSource::Folder, DataSource::Csv] {
        config.data.source = source;
        let splits = Splits::open(&config).unwrap();
        let counts = [splits.train.class_counts(), splits.val.class_counts()];
        assert_eq!(counts[1].iter().sum::<usize>(), 3);
        assert_eq!(counts[0].iter().sum::<usize>(), 19);
        assert!(counts[1].iter().all(|&count| count > 0), "{counts:?}");
    }
    for (few, text) in [(9, "has 9 training images"), (1, "has 1 training images")] {
        let (dir, mut config) = folders(&[("train/cats", 12), ("train/dogs", few)]);
        list_in_csv(dir.path(), "train");
        for (source, file) in [(DataSource::Folder, "val:"), (DataSource::Csv, "val.csv:")] {
            config.data.source = source;
            let message = Splits::open(&config).unwrap_err().to_string();
            for part in [text, file, "`dogs`", "at least 10 of each class"] {
                assert!(message.contains(part), "{message}");
            }
            let splits = Splits::open_for_folds(&config).unwrap();
            assert_eq!(splits.train.class_counts(), [12, few]);
            assert!(splits.val.samples.is_empty());
        }
    }
    // Unpacked data always includes validation.
    config.data.source = DataSource::Idx;
    let error = Splits::open(&config).unwrap_err();
    assert!(matches!(
        error,
        Error::Data(mnist_data::Error::MissingSplit { .. })
    ));
}

#[test]
fn loaders_share_the_samples_of_the_splits() {
    let (_dir, mut config) = folders(&[("train/cats", 20), ("train/dogs", 20)]);
    config.train.drop_last = false;
    let splits = Splits::open(&config).unwrap();
    for _ in 0..2 {
        let train = splits.train_loader(&config).unwrap();
        let val = splits.val_loader(&config).unwrap();
        assert!(std::ptr::eq(train.samples(), &*splits.train.samples));
        assert!(std::ptr::eq(val.samples(), &*splits.val.samples));
        // A limit that leaves nothing out needs no list of its own.
        (config.data.limit, config.data.val_limit) = (Some(36), Some(100));
    }
}

#[test]
fn weights_hold_for_the_images_of_both_splits_where_folds_are_made() {
    let (dir, mut config) = folders(&[
        ("train/cats", 2),
        ("train/dogs", 2),
        ("val/cats", 3),
        ("val/dogs", 1),
    ]);
    let file = dir.path().join("weights.csv");
    // The first is in both splits, the second in one of them.
    fs::write(&file, "path,weight\ncats/2.png,5\ncats/3.png,7\n").unwrap();
    let weights = &mut config.data.sample_weights;
    weights.patterns = vec![WeightPattern {
        pattern: "cats/**".to_owned(),
        weight: 0.0,
    }];
    weights.file = Some(file);
    let of = |images: &ImageFolder| -> Vec<f32> {
        images.samples.iter().map(|sample| sample.weight).collect()
    };
    let splits = Splits::open_for_folds(&config).unwrap();
    assert_eq!(of(&splits.train), [0.0, 5.0, 1.0, 1.0]);
    assert_eq!(of(&splits.val), [0.0, 5.0, 7.0, 1.0]);
    // A run trains on one split alone, and a row without an image in it is an error.
    let error = Splits::open(&config).unwrap_err().to_string();
    assert!(error.contains("cats/3.png"), "{error}");
    config.data.sample_weights.file = None;
    let splits = Splits::open(&config).unwrap();
    assert_eq!(of(&splits.train), [0.0, 0.0, 1.0, 1.0]);
    config.data.sample_weights.patterns[0].pattern = "birds/**".to_owned();
    let error = Splits::open_for_folds(&config).unwrap_err().to_string();
    assert!(error.contains("matches no sample"), "{error}");
}

#[test]
fn a_batch_that_the_images_do_not_fill_is_refused_by_its_keys() {
    let (_dir, mut config) = folders(&[("train/cats", 20), ("train/dogs", 20), ("val/cats", 1)]);
    let splits = Splits::open(&config).unwrap();
    let error = splits.train_loader(&config).unwrap_err().to_string();
    for part in ["data.batch_size", "128", "(40)", "train.drop_last"] {
        assert!(error.contains(part), "{error}");
    }
    config.data.batch_size = 16;
    splits.train_loader(&config).unwrap();
    config.data.limit = Some(12);
    assert!(splits.train_loader(&config).is_err());
    config.train.drop_last = false;
    splits.train_loader(&config).unwrap();
}

#[test]
fn a_broken_test_split_is_known_before_training() {
    let (dir, config) = folders(&[("train/a", 1), ("train/b", 1), ("val/a", 1)]);
    assert!(Splits::open(&config).unwrap().test().is_none());
    let test = dir.path().join("test");
    fs::create_dir_all(test.join("a")).unwrap();
    assert!(Splits::open(&config).is_err());
    fs::write(test.join("a/1.png"), "").unwrap();
    let splits = Splits::open(&config).unwrap();
    let (images, name) = splits.test().unwrap();
    assert_eq!((images.samples.len(), name), (1, test.to_str().unwrap()));
    fs::create_dir(test.join("c")).unwrap();
    let error = Splits::open(&config).unwrap_err().to_string();
    assert!(error.contains("`c`"), "{error}");
}
