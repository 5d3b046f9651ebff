//! Tests that weights with unusable values give an error instead of results.

use crate::bench::{Bench, trained, trained_weights};

/// A copy of the trained weights in which the first values of a tensor are replaced.
fn spoilt(tensor: &str, numbers: &[f32]) -> Vec<u8> {
    let mut file = std::fs::read(trained_weights()).unwrap();
    let start = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&file[8..start]).unwrap();
    let offset = header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
    for (place, number) in file[start + offset..].chunks_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    file
}

#[test]
fn only_inspect_accepts_weights_with_bad_numbers() {
    let bench = Bench::new();
    bench.two_classes();
    let set = "model.pretrained=bad.safetensors";
    let commands: [&[&str]; 4] = [
        &[
            "evaluate",
            "--weights",
            "bad.safetensors",
            "--data",
            "images/val",
        ],
        &[
            "predict",
            "--weights",
            "bad.safetensors",
            "--out",
            "o",
            "images/val",
        ],
        &[
            "export",
            "--weights",
            "bad.safetensors",
            "--to",
            "onnx",
            "--out",
            "o.onnx",
        ],
        &[
            "train",
            "--set",
            "data.batch_size=8",
            "--set",
            "model.width=0.25",
            "--run-dir",
            "run",
            "--set",
            "data.source=folder",
            "--set",
            "data.root=images",
            "--set",
            set,
        ],
    ];
    for (tensor, value, said) in [
        (
            "features.0.0.weight",
            f32::NAN,
            "features.0.0.weight[0, 0, 0, 0] is NaN",
        ),
        (
            "features.1.block.1.fc1.weight",
            f32::INFINITY,
            "features.1.block.1.fc1.weight[0, 0, 0, 0] is inf",
        ),
        (
            "features.0.1.running_var",
            -1.0,
            "features.0.1.running_var[0] is -1",
        ),
        (
            "classifier.3.weight",
            f32::NAN,
            "classifier.3.weight[0, 0] is NaN",
        ),
    ] {
        std::fs::write(bench.path("bad.safetensors"), spoilt(tensor, &[value])).unwrap();
        for command in commands {
            bench
                .run(command)
                .failure(1, &["bad.safetensors", said, "1 number of 1 tensor"]);
        }
        let shown = bench.run(&["inspect", "bad.safetensors"]).success();
        assert!(shown.stdout.contains(said), "{}", shown.stdout);
    }
    for left in ["o", "o.onnx", "run"] {
        assert!(!bench.path(left).exists(), "{left}");
    }
}

/// Finite weights can give infinite or NaN logits.
#[test]
fn nan_logits_are_no_class() {
    let bench = Bench::new();
    let huge = spoilt("classifier.3.weight", &[3e38; 1024]);
    std::fs::write(bench.path("huge.safetensors"), huge).unwrap();
    let test = trained().path("images/test").display().to_string();
    for command in [
        ["evaluate", "--weights", "huge.safetensors", "--data", &test].as_slice(),
        &[
            "predict",
            "--weights",
            "huge.safetensors",
            "--out",
            "o",
            &test,
        ],
    ] {
        bench
            .run(command)
            .failure(1, &["a logit of 0/", "not a finite number"]);
    }
}
