//! Tests cache files that are truncated, damaged, forged or of another program.

use std::fs;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{COUNT, SIZE, Scene, forge, invert, inverted, parts};

#[test]
fn a_file_of_another_version_is_rebuilt() {
    let scene = Scene::new();
    let expected = scene.run(scene.options());
    invert(&scene.cache());
    let (pixels, mut index) = parts(&scene.cache());
    index["made_by"] = json!("mnist-data 0.0.0");
    forge(
        &scene.cache(),
        &pixels,
        &serde_json::to_vec(&index).unwrap(),
    );
    assert_eq!(scene.run(scene.options()), expected);
    let (_, index) = parts(&scene.cache());
    assert_ne!(index["made_by"], json!("mnist-data 0.0.0"));
}

#[test]
fn truncated_and_damaged_files_are_rebuilt() {
    let scene = Scene::new();
    let expected = scene.run(scene.options());
    let whole = fs::read(scene.cache()).unwrap();
    let cuts = [0, 1, 19, 20, 45, whole.len() / 2, whole.len() - 1];
    let mut damaged: Vec<Vec<u8>> = cuts.iter().map(|&cut| whole[..cut].to_vec()).collect();
    damaged.push([&whole[..], b"\n"].concat());
    damaged.push(vec![0; whole.len()]);
    for bytes in damaged {
        fs::write(scene.cache(), bytes).unwrap();
        assert_eq!(scene.run(scene.options()), expected);
        let (pixels, index) = parts(&scene.cache());
        let entries = index["entries"].as_array().unwrap().len();
        assert_eq!((pixels.len(), entries), (COUNT * SIZE * SIZE, COUNT));
    }
    // One image is damaged in an otherwise intact file.
    let mut bytes = whole.clone();
    bytes[SIZE * SIZE + 1] ^= 1;
    fs::write(scene.cache(), bytes).unwrap();
    assert_eq!(scene.run(scene.options()), expected);
    invert(&scene.cache());
    assert_eq!(scene.run(scene.options()), inverted(&expected));
}

#[test]
fn a_wrong_index_does_no_harm() {
    let scene = Scene::new();
    let expected = scene.run(scene.options());
    let (pixels, index) = parts(&scene.cache());
    let lies = [
        ("offset", json!(u64::MAX)),
        ("offset", json!(COUNT * SIZE * SIZE)),
        ("offset", json!(1)),
        ("offset", json!(-1)),
        ("channels", json!(0)),
        ("channels", json!(3)),
        ("channels", json!(255)),
        ("crc", json!(0)),
        ("id", json!("")),
        ("id", json!(7)),
        (
            "stamp",
            json!({ "bytes": 0, "modified": i64::MIN, "changed": i64::MAX }),
        ),
        ("stamp", Value::Null),
    ];
    for (key, lie) in lies {
        let mut index = index.clone();
        index["entries"][3][key] = lie.clone();
        forge(
            &scene.cache(),
            &pixels,
            &serde_json::to_vec(&index).unwrap(),
        );
        assert_eq!(scene.run(scene.options()), expected, "{key} {lie}");
    }
    for index in [
        "",
        "{}",
        "null",
        "[[[[",
        "{\"made_by\": \"\", \"image_size\": 0, \"entries\": []}",
    ] {
        forge(&scene.cache(), &pixels, index.as_bytes());
        assert_eq!(scene.run(scene.options()), expected, "{index}");
    }
}

#[test]
fn a_file_with_any_damage_changes_no_batch() {
    let scene = Scene::new();
    let expected = scene.run(scene.options());
    let whole = fs::read(scene.cache()).unwrap();
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20);
    let ends = any::<prop::sample::Index>();
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    let outcome = runner.run(&(flips, ends, noise), |(flips, end, noise)| {
        let mut bytes = whole.clone();
        for (place, byte) in flips {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(bytes.len() - end.index(2) * end.index(bytes.len()));
        bytes.extend(noise);
        fs::write(scene.cache(), bytes).unwrap();
        prop_assert_eq!(&scene.run(scene.options()), &expected);
        Ok(())
    });
    outcome.unwrap();
}
