//! Tests the export to other programs.

use crate::bench::{Bench, trained_weights};

#[test]
fn an_onnx_file_is_written_once_it_agrees_with_us() {
    let bench = Bench::new();
    bench.copy_images("images/test/3", "digits/3", 3);
    bench.copy_images("images/test/4", "digits/4", 20);
    let weights = trained_weights();
    let export = ["export", "--weights", &weights, "--to", "onnx", "--out"];
    let run = bench
        .run(&[&export[..], &["plain.onnx"]].concat())
        .success();
    assert_eq!(run.value("written"), "plain.onnx");
    assert!(run.value("largest difference").ends_with("on 4 images"));

    let more = [
        "all.onnx",
        "--preprocess",
        "--softmax",
        "--fold-batch-norm",
        "--check-images",
        "digits/3/",
        "digits/4",
    ];
    let run = bench.run(&[&export[..], &more].concat()).success();
    // The check uses every second of the 23 digits, and four generated images.
    assert!(run.value("largest difference").ends_with("on 16 images"));
    let file = std::fs::read(bench.path("all.onnx")).unwrap();
    let holds = |text: &str| {
        file.windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(holds("HardSwish") && holds("probabilities") && holds("image_size"));
    assert!(!holds("BatchNormalization"));
    // Equal networks give equal files.
    bench
        .run(&[&export[..], &["again.onnx"]].concat())
        .success();
    let [plain, again] =
        ["plain.onnx", "again.onnx"].map(|name| std::fs::read(bench.path(name)).unwrap());
    assert_eq!(plain, again);
}

#[test]
fn a_wrong_export_is_refused_by_name() {
    let bench = Bench::new();
    let weights = trained_weights();
    let export = |more: &[&str]| bench.run(&[&["export", "--weights"], more].concat());
    export(&[&weights, "--to", "tflite", "--out", "x"]).failure(2, &["tflite", "onnx"]);
    export(&[&weights, "--to", "onnx"]).failure(2, &["--out"]);
    export(&["none.safetensors", "--to", "onnx", "--out", "x"]).failure(1, &["none.safetensors"]);
    // Errors before the work starts: the output folder is missing, or the image is invalid.
    std::fs::write(bench.path("broken.png"), "no image").unwrap();
    let nowhere = ["--out", "no/x.onnx", "--check-images", "broken.png"];
    export(&[&[&weights[..], "--to", "onnx"], &nowhere[..]].concat()).failure(
        1,
        &["cannot write no/x.onnx: there is no folder no; make it first"],
    );
    let images = ["--check-images", "void"];
    export(&[&[&weights[..], "--to", "onnx", "--out", "x"], &images[..]].concat())
        .failure(1, &["void"]);
    assert!(!bench.path("x").exists());
}
