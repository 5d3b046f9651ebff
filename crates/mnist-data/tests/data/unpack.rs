//! Tests unpacking of IDX files into class folders.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;

use mnist_data::{
    Compression, Error, IdxImages, IdxLabels, Image, ImageFolder, NoProgress, Progress,
    TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Unit, UnpackOptions, UnpackReport, Validation, unpack,
};
use tempfile::TempDir;

use crate::util::{files, folder, idx_set, image, png};

/// A data set of 10 training and 4 test images in `raw`.
fn data_set() -> TempDir {
    let dir = folder();
    fs::create_dir(dir.path().join("raw")).unwrap();
    idx_set(&dir.path().join("raw"), 10, 4);
    dir
}

fn options(count: usize) -> UnpackOptions {
    UnpackOptions {
        validation: Validation {
            count,
            ..Validation::default()
        },
        class_names: None,
    }
}

fn run(dir: &Path, options: &UnpackOptions) -> Result<UnpackReport, Error> {
    unpack(&dir.join("raw"), &dir.join("out"), options, &NoProgress)
}

/// The files that a run with `options(2)` writes.
fn expected() -> Vec<String> {
    let names = "
        .unpacked.json
        test/0/00000.png test/0/00003.png test/1/00001.png test/2/00002.png
        train/0/00000.png train/0/00003.png train/0/00006.png train/1/00001.png train/1/00004.png
        train/1/00007.png train/2/00002.png train/2/00005.png
        val/0/00009.png val/2/00008.png";
    names.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn images_go_to_the_folder_of_their_class_by_index() {
    let dir = data_set();
    let report = run(dir.path(), &options(2)).unwrap();
    assert_eq!(
        (report.train, report.validation, report.test, report.written),
        (8, 2, 4, 14)
    );
    assert_eq!(report.class_names, ["0", "1", "2"]);
    let out = dir.path().join("out");
    assert_eq!(files(&out), expected());
    for (file, index) in [
        ("train/0/00006.png", 6),
        ("val/0/00009.png", 9),
        ("test/2/00002.png", 2),
    ] {
        let unpacked = Image::read(&out.join(file)).unwrap();
        assert_eq!(
            (unpacked.width(), unpacked.height(), unpacked.channels()),
            (5, 3, 1)
        );
        assert_eq!(unpacked.pixels(), image(index));
    }
    let training = ImageFolder::training(&out.join("train")).unwrap();
    assert_eq!(training.class_counts(), [3, 3, 2]);
}

#[test]
fn a_second_run_writes_nothing() {
    let dir = data_set();
    run(dir.path(), &options(2)).unwrap();
    let modified = |name: &str| {
        fs::metadata(dir.path().join("out").join(name))
            .unwrap()
            .modified()
            .unwrap()
    };
    // No lock is created either, since the folder may be read-only.
    let names = ["train/0/00000.png", ".unpacked.json", ""];
    let before = names.map(modified);
    let report = run(dir.path(), &options(2)).unwrap();
    assert_eq!((report.written, report.train), (0, 8));
    assert_eq!(names.map(modified), before);
}

#[test]
fn one_of_several_processes_unpacks_and_the_others_use_its_images() {
    for round in 0..12 {
        let (dir, start) = (data_set(), Barrier::new(4));
        let reports = thread::scope(|scope| {
            let unpack = || {
                start.wait();
                run(dir.path(), &options(2)).unwrap()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(unpack)).collect();
            threads
                .into_iter()
                .map(|t| t.join().unwrap())
                .collect::<Vec<_>>()
        });
        let mut written: Vec<usize> = reports.iter().map(|report| report.written).collect();
        written.sort_unstable();
        assert_eq!(written, [0, 0, 0, 14], "round {round}");
        assert_eq!(files(&dir.path().join("out")), expected());
    }
}

#[test]
fn nothing_is_written_while_another_process_unpacks() {
    struct Waits(mpsc::Sender<String>);
    impl Progress for Waits {
        fn start(&self, _: &str, _: Option<u64>, _: Unit) {}
        fn advance(&self, _: u64) {}
        fn note(&self, message: &str) {
            self.0.send(message.to_owned()).unwrap();
        }
        fn finish(&self) {}
    }
    let dir = data_set();
    let (raw, out) = (dir.path().join("raw"), dir.path().join("out"));
    fs::create_dir(&out).unwrap();
    let other = files::Lock::take(&out.join(".lock")).unwrap().unwrap();
    let (sender, notes) = mpsc::channel();
    thread::scope(|scope| {
        let ours = scope.spawn(|| unpack(&raw, &out, &options(2), &Waits(sender)).unwrap());
        let note = notes.recv().unwrap();
        assert!(note.contains("waiting for another process"), "{note}");
        assert_eq!(files(&out), [".lock"]);
        drop(other);
        assert_eq!(ours.join().unwrap().written, 14);
    });
    assert_eq!(files(&out), expected());
}

#[test]
fn a_run_that_was_cut_off_is_completed() {
    let dir = data_set();
    let out = dir.path().join("out");
    run(dir.path(), &options(2)).unwrap();
    fs::remove_file(out.join("train/1/00004.png")).unwrap();
    fs::remove_dir_all(out.join("test/0")).unwrap();
    // Leftovers of a killed process: a partial image and a lock.
    fs::write(out.join("train/1/.unfinished-a1b2c3"), "half").unwrap();
    fs::write(out.join(".lock"), "").unwrap();
    let manifest = out.join(".unpacked.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let cut_off = text.replace("\"complete\": true", "\"complete\": false");
    assert_ne!(cut_off, text);
    fs::write(&manifest, cut_off).unwrap();
    assert_eq!(run(dir.path(), &options(2)).unwrap().written, 3);
    assert_eq!(files(&out), expected());
    assert_eq!(fs::read_to_string(&manifest).unwrap(), text);
    // An image deleted after a complete run is written again.
    fs::remove_file(out.join("val/2/00008.png")).unwrap();
    assert_eq!(run(dir.path(), &options(2)).unwrap().written, 1);
}

#[test]
fn other_options_replace_the_images_and_nothing_else() {
    let dir = data_set();
    let out = dir.path().join("out");
    run(dir.path(), &options(2)).unwrap();
    png(&out.join("train/0/mine.png"), 7);
    let names = ["zero", "one", "two"].map(String::from).to_vec();
    let report = run(
        dir.path(),
        &UnpackOptions {
            class_names: Some(names),
            ..options(0)
        },
    )
    .unwrap();
    assert_eq!(
        (report.train, report.validation, report.written),
        (10, 0, 14)
    );
    let kept: Vec<String> = files(&out)
        .into_iter()
        .filter(|file| file.contains("/0/"))
        .collect();
    assert_eq!(kept, ["train/0/mine.png"]);
    assert!(!out.join("val").exists());
    assert!(out.join("train/two/00005.png").exists());
}

#[test]
fn other_data_replaces_the_images() {
    let dir = data_set();
    run(dir.path(), &options(2)).unwrap();
    let labels = IdxLabels::new(vec![1; 10]);
    labels
        .write(
            &dir.path().join("raw").join(TRAIN_LABELS),
            Compression::None,
        )
        .unwrap();
    run(dir.path(), &options(2)).unwrap();
    let folder = dir.path().join("out/train");
    assert_eq!(
        files(&folder),
        (0..8)
            .map(|index| format!("1/{index:05}.png"))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_folder_of_someone_else_is_left_alone() {
    let dir = data_set();
    png(&dir.path().join("out/train/cat/1.png"), 7);
    let error = run(dir.path(), &options(2)).unwrap_err();
    assert!(matches!(error, Error::Occupied { .. }), "{error:?}");
    assert_eq!(files(&dir.path().join("out")), ["train/cat/1.png"]);

    fs::remove_dir_all(dir.path().join("out")).unwrap();
    fs::create_dir(dir.path().join("out")).unwrap();
    fs::write(dir.path().join("out/.unpacked.json"), "{").unwrap();
    let error = run(dir.path(), &options(2)).unwrap_err();
    assert!(matches!(error, Error::Occupied { .. }), "{error:?}");
}

#[test]
fn a_stratified_split_takes_from_every_class() {
    let dir = data_set();
    let validation = Validation {
        count: 3,
        stratified: true,
        seed: 1,
    };
    run(
        dir.path(),
        &UnpackOptions {
            validation,
            class_names: None,
        },
    )
    .unwrap();
    let training = ImageFolder::training(&dir.path().join("out/train")).unwrap();
    let held_out =
        ImageFolder::with_classes(&dir.path().join("out/val"), &training.classes).unwrap();
    assert_eq!(held_out.class_counts(), [1, 1, 1]);
    assert_eq!(training.class_counts(), [3, 2, 2]);
}

#[test]
fn gzip_files_do_as_well() {
    let dir = data_set();
    let raw = dir.path().join("raw");
    let images = IdxImages::read(&raw.join(TRAIN_IMAGES)).unwrap();
    images
        .write(&raw.join(format!("{TRAIN_IMAGES}.gz")), Compression::Gzip)
        .unwrap();
    fs::remove_file(raw.join(TRAIN_IMAGES)).unwrap();
    assert_eq!(run(dir.path(), &options(2)).unwrap().written, 14);
}

#[test]
fn bad_input_is_an_error_before_anything_is_written() {
    let names = |names: &[&str]| UnpackOptions {
        class_names: Some(names.iter().map(|&name| name.into()).collect()),
        ..options(2)
    };
    let dir = data_set();
    for (options, problem) in [
        (names(&["a", "b"]), "2 names for labels up to 2"),
        (names(&["a", "b", "../c"]), "`../c` cannot be a folder"),
        (names(&["a", "b", ""]), "`` cannot be a folder"),
        (names(&["a", "b", "A"]), "the same"),
        (options(10), "leaves none to train on"),
    ] {
        let text = run(dir.path(), &options).unwrap_err().to_string();
        assert!(text.contains(problem), "{text}");
    }
    let labels = dir.path().join("raw").join(TRAIN_LABELS);
    IdxLabels::new(vec![0; 9])
        .write(&labels, Compression::None)
        .unwrap();
    assert!(matches!(
        run(dir.path(), &options(2)),
        Err(Error::CountMismatch {
            images: 10,
            labels: 9,
            ..
        })
    ));
    fs::remove_file(dir.path().join("raw").join(TEST_LABELS)).unwrap();
    IdxLabels::new(vec![0; 10])
        .write(&labels, Compression::None)
        .unwrap();
    let text = run(dir.path(), &options(2)).unwrap_err().to_string();
    assert!(text.contains("t10k-labels-idx1-ubyte (or .gz)"), "{text}");
    assert!(!dir.path().join("out").exists());
}

#[test]
fn progress_counts_every_image() {
    #[derive(Default)]
    struct Counter {
        total: AtomicU64,
        advanced: AtomicU64,
        finished: AtomicU64,
    }
    impl Progress for Counter {
        fn start(&self, _what: &str, total: Option<u64>, unit: Unit) {
            assert_eq!(unit, Unit::Items);
            self.total.fetch_add(total.unwrap(), Ordering::Relaxed);
        }
        fn advance(&self, by: u64) {
            self.advanced.fetch_add(by, Ordering::Relaxed);
        }
        fn note(&self, message: &str) {
            panic!("{message}");
        }
        fn finish(&self) {
            self.finished.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dir = data_set();
    let counter = Counter::default();
    unpack(
        &dir.path().join("raw"),
        &dir.path().join("out"),
        &options(2),
        &counter,
    )
    .unwrap();
    let counts = [&counter.total, &counter.advanced, &counter.finished]
        .map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counts, [14, 14, 1]);
}
