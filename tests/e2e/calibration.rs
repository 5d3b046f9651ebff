//! Tests `--calibrated`.

use crate::bench::{Bench, Run, trained_weights};

#[test]
fn probabilities_are_calibrated_on_request() {
    let bench = Bench::new();
    bench.copy_images("images/test/3", "images/test/3", 20);
    bench.copy_images("images/test/7", "images/test/7", 20);
    let weights = trained_weights();
    let temperature = bench.run(&["inspect", &weights]).success();
    let temperature = temperature.value("temperature").to_owned();
    assert!(temperature.parse::<f64>().unwrap() > 0.0);
    let evaluate = |weights: &str, more: &[&str]| {
        let evaluate = [
            "evaluate",
            "--weights",
            weights,
            "--data",
            "images/test",
            "--json",
        ];
        bench.run(&[&evaluate[..], more].concat())
    };
    let of = |run: Run| serde_json::from_str::<serde_json::Value>(&run.stdout).unwrap();
    let plain = of(evaluate(&weights, &[]).success());
    let run = evaluate(&weights, &["--calibrated"]).success();
    assert!(
        run.stderr.contains(&format!("temperature {temperature}")),
        "{}",
        run.stderr
    );
    let calibrated = of(run);
    assert_eq!(plain["temperature"], serde_json::Value::Null);
    let found = calibrated["temperature"].as_f64().unwrap();
    assert_eq!(format!("{found:.4}"), temperature);
    assert_eq!(plain["confusion"], calibrated["confusion"]);
    assert_ne!(plain["calibration"], calibrated["calibration"]);

    let export = [
        "export",
        "--weights",
        &weights,
        "--to",
        "onnx",
        "--out",
        "model.onnx",
    ];
    let export = |more: &[&str]| bench.run(&[&export[..], more].concat());
    export(&["--softmax", "--calibrated"]).success();
    export(&["--calibrated"]).failure(2, &["--softmax"]);

    // Weights of an earlier version have no temperature.
    let metadata_end =
        |bytes: &[u8]| 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let bytes = std::fs::read(&weights).unwrap();
    let end = metadata_end(&bytes);
    let header = std::str::from_utf8(&bytes[8..end]).unwrap();
    let start = header.find(r#",\"temperature\":"#).unwrap();
    let length = 1 + header[start + 1..].find([',', '}']).unwrap();
    let shorter = format!("{}{}", &header[..start], &header[start + length..]);
    let shorter = format!("{shorter:width$}", width = header.len());
    let old = [&bytes[..8], shorter.as_bytes(), &bytes[end..]].concat();
    std::fs::write(bench.path("old.safetensors"), old).unwrap();
    evaluate("old.safetensors", &[]).success();
    evaluate("old.safetensors", &["--calibrated"])
        .failure(2, &["old.safetensors", "--calibrated", "train again"]);
}
