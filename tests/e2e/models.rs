//! Tests the list of networks.

use serde_json::Value;

use crate::bench::Bench;

/// Rows of `classify models --json` with these arguments.
fn rows(arguments: &[&str]) -> Vec<Value> {
    let run = Bench::new().run(&[&["models", "--json"], arguments].concat());
    let lines = run.success();
    let lines = lines
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn the_list_has_every_network_with_the_figures_of_its_project() {
    let all = rows(&[]);
    assert!(all.len() > 70, "{}", all.len());
    // Parameters and GFLOP as in torchvision's documentation of the weights.
    for (name, parameters, gflop, size) in [
        ("mobilenet_v2", 3_504_872, 0.30, 224),
        ("resnet18", 11_689_512, 1.81, 224),
        ("resnet50", 25_557_032, 4.09, 224),
        ("efficientnet_b0", 5_288_548, 0.39, 224),
        ("densenet121", 7_978_856, 2.83, 224),
        ("regnet_y_400mf", 4_344_144, 0.40, 224),
        ("shufflenet_v2_x1_0", 2_278_604, 0.14, 224),
        ("convnext_tiny", 28_589_128, 4.46, 224),
        ("swin_t", 28_288_354, 4.49, 224),
        ("xception", 22_855_952, 8.4, 299),
    ] {
        let row = all.iter().find(|row| row["name"] == name).unwrap();
        assert_eq!(row["parameters"], parameters, "{name}");
        let found = row["gflop"].as_f64().unwrap();
        assert!((found / gflop - 1.0).abs() < 0.05, "{name}: {found}");
        assert_eq!(row["image_size"], size, "{name}");
        assert!(!row["schemes"].as_array().unwrap().is_empty(), "{name}");
    }
    let schemes = |name: &str| {
        let row = all.iter().find(|row| row["name"] == name).unwrap();
        let schemes = row["schemes"].as_array().unwrap().clone();
        schemes
            .iter()
            .map(|s| s.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let others = ["easy-classification", "timm", "kuan-wang", "d-li14"];
    assert_eq!(schemes("mobilenet_v3_small")[1..], others);
    assert_eq!(
        schemes("efficientnet_b0")[1..],
        ["timm", "efficientnet-pytorch", "pycls"]
    );
    let fused = |name: &str| {
        let row = all.iter().find(|row| row["name"] == name);
        row.unwrap()["fused"] == true
    };
    assert!(fused("mobilenet_v3_small") && fused("mobilenet_v2") && !fused("swin_t"));
    let table = Bench::new().run(&["models"]).success();
    assert!(table.stdout.lines().count() > all.len());
    for (name, fetch, mark) in [
        ("mobilenet_v2", true, "yes"),
        ("mobilenetv4_conv_small", false, "-"),
    ] {
        let row = all.iter().find(|row| row["name"] == name).unwrap();
        assert_eq!(row["fetch"], fetch, "{name}");
        let mut lines = table.stdout.lines();
        let line = lines.find(|line| line.split_whitespace().next() == Some(name));
        let mut words = line.unwrap().split_whitespace();
        assert!(words.any(|word| word == mark), "{line:?}");
    }
}

#[test]
fn networks_are_chosen_by_name_and_measured() {
    let arguments = ["shufflenet_v2_x0_5", "--measure", "--image-size", "32"];
    let found = rows(&arguments);
    let [row] = &found[..] else {
        panic!("{found:?}")
    };
    for speed in ["infer_images_per_second", "train_images_per_second"] {
        assert!(row[speed].as_f64().unwrap() > 0.0, "{row}");
    }
    let names = |texts: &[&str]| -> Vec<String> {
        let rows = rows(texts).into_iter();
        rows.map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&["swin", "swin_t"]),
        ["swin_t", "swin_s", "swin_b", "swin_l"]
    );
    let bench = Bench::new();
    bench
        .run(&["models", "resnet17"])
        .failure(2, &["resnet17", "resnet18"]);
}
