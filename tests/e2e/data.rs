//! Tests invalid files among the user's images.

use std::fs;

use crate::bench::{Bench, Run, sorted, trained_weights};

fn says(run: &Run, said: &[&str]) {
    for text in said {
        assert!(
            run.stderr.contains(text),
            "{text:?} is not in\n{}",
            run.stderr
        );
    }
}

/// Truncates the first files of a folder to length 0.
fn spoil(bench: &Bench, folder: &str, count: usize) {
    for file in sorted(&bench.path(folder)).into_iter().take(count) {
        fs::write(file, "").unwrap();
    }
}

/// Trains with this `data.bad_image_limit`.
fn train_with_limit(bench: &Bench, limit: &str) -> Run {
    let limit = format!("data.bad_image_limit={limit}");
    bench.train_folder(&["--set", &limit, "--set", "train.drop_last=false"])
}

#[test]
fn a_class_that_cannot_be_read_ends_the_run() {
    let bench = Bench::new();
    bench.two_classes();
    spoil(&bench, "images/train/1", 12);
    let run = train_with_limit(&bench, "1")
        .failure(1, &["images/train", "12 images of class `1`", "is empty"]);
    assert!(!run.stdout.contains("weights"), "{}", run.stdout);
    assert!(!bench.path("run").exists());
}

#[test]
fn a_validation_class_that_cannot_be_read_ends_the_run() {
    let bench = Bench::new();
    bench.two_classes();
    spoil(&bench, "images/val/0", 4);
    train_with_limit(&bench, "1").failure(1, &["images/val", "4 images of class `0`"]);
}

#[test]
fn too_many_bad_images_end_the_run_and_some_are_counted_by_class() {
    let bench = Bench::new();
    bench.two_classes();
    spoil(&bench, "images/train/0", 8);
    train_with_limit(&bench, "0.05").failure(
        1,
        &[
            "images/train: more than 1 of 24 images cannot be read",
            " of class `0`",
            "raise bad_image_limit",
        ],
    );
    let run = train_with_limit(&bench, "0.4").success();
    let told = run
        .stderr
        .lines()
        .filter(|line| line.contains("left out: "));
    assert_eq!(told.count(), 5, "{}", run.stderr);
    says(
        &run,
        &[
            "images/train: 8 of 24 images cannot be read and are left out, 8 of class `0`",
            "training images left out because they could not be read: 8 (0 8)",
        ],
    );
    let metrics = fs::read_to_string(bench.path("run/metrics.jsonl")).unwrap();
    assert!(
        metrics.contains(r#""unreadable":{"train":{"0":8}}"#),
        "{metrics}"
    );
}

#[test]
fn evaluation_tells_of_bad_images_by_class_and_ends_where_they_are_too_many() {
    let bench = Bench::new();
    bench.copy_images("images/test/0", "split/0", 4);
    bench.copy_images("images/test/1", "split/1", 4);
    spoil(&bench, "split/1", 2);
    let weights = trained_weights();
    let evaluate = ["evaluate", "--weights", &weights, "--data", "split"];
    bench
        .run(&evaluate)
        .failure(1, &["split: more than 1 of 8 images"]);
    let tolerant = [&evaluate[..], &["--bad-image-limit", "0.25"]].concat();
    let run = bench.run(&tolerant).success();
    assert_eq!((run.value("images"), run.value("skipped")), ("6", "2"));
    assert_eq!(run.value("skipped of 1"), "2");
    spoil(&bench, "split/1", 4);
    let tolerant = [&evaluate[..], &["--bad-image-limit", "1"]].concat();
    bench.run(&tolerant).failure(1, &["4 images of class `1`"]);
    let wrong = [&evaluate[..], &["--bad-image-limit", "2"]].concat();
    bench
        .run(&wrong)
        .failure(2, &["--bad-image-limit", "0 to 1"]);
}

#[test]
fn other_split_names_are_used_and_unused_folders_reported() {
    let bench = Bench::new();
    bench.two_classes();
    fs::rename(bench.path("images/val"), bench.path("images/Valid")).unwrap();
    fs::rename(bench.path("images/train"), bench.path("images/Train")).unwrap();
    bench.copy_images("images/test/0", "images/extra/0", 1);
    fs::write(bench.path("images/Train/0/photo.heic"), "").unwrap();
    let run = bench.train_folder(&[]).success();
    says(
        &run,
        &[
            "on 24 images, validating on 8",
            "images/Valid is the val split",
            "images: not used: extra",
            "images/Train: not read: 1 .heic (0/photo.heic); convert",
        ],
    );
    assert!(!run.stderr.contains("held out"), "{}", run.stderr);
    bench.copy_images("images/test/0", "images/dev/0", 1);
    bench
        .train_folder(&[])
        .failure(2, &["Valid and dev", "the val split"]);
}

#[cfg(unix)]
mod unix {
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::thread::{self, JoinHandle};

    use super::*;

    /// A pipe with a writer that sends one invalid image. A program that reads it by mistake finishes, so that a test
    /// fails instead of waiting forever.
    struct Pipe {
        path: PathBuf,
        writer: Option<JoinHandle<()>>,
    }

    impl Pipe {
        fn new(path: &Path) -> Self {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            let to = path.to_owned();
            let writer = thread::spawn(move || {
                // Waits until a reader opens the pipe.
                let mut pipe = fs::File::options().write(true).open(to).unwrap();
                // Writing fails, as intended, if the reader has closed the pipe.
                let _ = pipe.write_all(b"no image");
            });
            Self {
                path: path.to_owned(),
                writer: Some(writer),
            }
        }
    }

    impl Drop for Pipe {
        fn drop(&mut self) {
            // Opening a pipe for both reading and writing does not block, and lets the writer continue.
            let open = fs::File::options().read(true).write(true).open(&self.path);
            if let (Ok(_open), Some(writer)) = (open, self.writer.take()) {
                let _ = writer.join();
            }
        }
    }

    #[test]
    fn a_pipe_among_images_is_named_and_not_waited_for() {
        let bench = Bench::new();
        bench.copy_images("images/test/0", "photos", 2);
        let weights = trained_weights();
        let predict = ["predict", "--weights", &weights, "--out", "out"];
        {
            let _pipe = Pipe::new(&bench.path("photos/a.png"));
            let run = bench.run(&[&predict[..], &["photos"]].concat()).success();
            says(&run, &["left out: photos/a.png: is a pipe"]);
            bench
                .run(&[&predict[..], &["--strict", "photos"]].concat())
                .failure(1, &["photos/a.png: is a pipe"]);
        }
        fs::remove_file(bench.path("photos/a.png")).unwrap();
        let _pipe = Pipe::new(&bench.path("b.png"));
        bench
            .run(&[&predict[..], &["b.png"]].concat())
            .failure(1, &["b.png: is a pipe, expected a regular file"]);
    }

    #[test]
    fn a_pipe_in_a_class_folder_is_not_waited_for() {
        let bench = Bench::new();
        bench.two_classes();
        let _pipe = Pipe::new(&bench.path("images/train/0/a.png"));
        let run = bench.train_folder(&[]).success();
        says(
            &run,
            &[
                "left out: images/train/0/a.png: is a pipe",
                "left out 1 image ",
            ],
        );
    }

    #[test]
    fn a_link_to_a_folder_above_ends_training() {
        let bench = Bench::new();
        bench.two_classes();
        std::os::unix::fs::symlink("..", bench.path("images/train/0/up")).unwrap();
        bench
            .train_folder(&[])
            .failure(1, &["images/train/0/up", "is a link to", "remove the link"]);
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_skipped_or_fatal_as_set() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        let bench = Bench::new();
        bench.two_classes();
        let image = sorted(&bench.path("images/train/0")).remove(0);
        let odd = bench
            .path("images/train/0")
            .join(OsStr::from_bytes(b"\xff.png"));
        fs::copy(image, odd).unwrap();
        let run = bench.train_folder(&[]).success();
        says(
            &run,
            &["images/train/0/\u{fffd}.png: the name is not UTF-8; rename it"],
        );
        bench
            .train_folder(&["--set", "data.on_bad_image=fail"])
            .failure(1, &["the name is not UTF-8"]);
        let weights = trained_weights();
        let predict = [
            "predict",
            "--weights",
            &weights,
            "--out",
            "out",
            "images/train/0",
        ];
        bench.run(&predict).success();
        bench
            .run(&[&predict[..], &["--strict"]].concat())
            .failure(1, &["the name is not UTF-8"]);
    }
}

/// A truncated JPEG is a bad image for every command, unless truncated images are allowed.
#[test]
fn a_cut_image_is_used_only_where_that_is_asked_for() {
    let bench = Bench::new();
    bench.two_classes();
    let golden = crate::bench::project("crates/mnist-data/tests/golden/decode/jpeg.jpeg");
    let jpeg = std::fs::read(golden).unwrap();
    std::fs::write(
        bench.path("images/train/0/cut.jpg"),
        &jpeg[..jpeg.len() - 40],
    )
    .unwrap();
    std::fs::create_dir(bench.path("cut")).unwrap();
    std::fs::copy(
        bench.path("images/train/0/cut.jpg"),
        bench.path("cut/a.jpg"),
    )
    .unwrap();
    bench
        .train_folder(&["--set", "data.on_bad_image=fail"])
        .failure(1, &["images/train/0/cut.jpg", "data is missing"]);
    let run = bench
        .train_folder(&["--set", "data.truncated_images=accept"])
        .success();
    let said = "1 image lacks data at its end";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    // A later run must not find the truncated image in the disk cache.
    std::fs::rename(bench.path("run"), bench.path("accepted")).unwrap();
    let run = bench.train_folder(&[]).success();
    assert!(run.stderr.contains("left out 1 image "), "{}", run.stderr);

    let weights = crate::bench::weights_in(&bench.path("run"))
        .display()
        .to_string();
    let predict = |more: &[&str]| {
        let predict = ["predict", "--weights", &weights, "--out", "out", "cut"];
        bench.run(&[&predict[..], more].concat())
    };
    predict(&[]).failure(1, &["cut/a.jpg", "every image was left out"]);
    predict(&["--strict"]).failure(1, &["cut/a.jpg"]);
    let run = predict(&["--strict", "--accept-truncated"]).success();
    assert!(run.stdout.contains("1 rows"), "{}", run.stdout);
    assert!(run.stderr.contains(said), "{}", run.stderr);
}
