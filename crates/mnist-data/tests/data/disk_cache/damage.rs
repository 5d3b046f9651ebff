//! Tests cache files that are truncated, damaged, forged or of another program.

use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::index::{CHANNELS, CRC, KEY, OFFSET, STAMP, forge, invert, parts};
use super::{COUNT, SIZE, Scene, inverted};

#[test]
fn a_file_of_another_version_is_rebuilt() {
    let scene = Scene::new();
    let expected = scene.run(scene.options());
    invert(&scene.cache());
    let (pixels, mut index) = parts(&scene.cache());
    let other = json!("mnist-data 0.0.0");
    index.header["made_by"] = other.clone();
    // Earlier versions had an index of JSON alone.
    let mut early = index.header.clone();
    early["entries"] = json!([{ "id": "0/000.png", "offset": 0, "channels": 1, "crc": 0 }]);
    let mut long = early.clone();
    long["entries"] = json!(vec![early["entries"][0].clone(); 2000]);
    let early = [early, long].map(|index| serde_json::to_vec(&index).unwrap());
    for index in [&[index.bytes()][..], &early].concat() {
        forge(&scene.cache(), &pixels, &index);
        assert_eq!(scene.run(scene.options()), expected);
        let (_, index) = parts(&scene.cache());
        assert_ne!(index.header["made_by"], other);
    }
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
        let records = index.records.len();
        assert_eq!((pixels.len(), records), (COUNT * SIZE * SIZE, COUNT));
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
    let end = (COUNT * SIZE * SIZE) as u64;
    let lies = [
        (OFFSET, u64::MAX.to_le_bytes().to_vec()),
        (OFFSET, end.to_le_bytes().to_vec()),
        (OFFSET, 1_u64.to_le_bytes().to_vec()),
        (CHANNELS, vec![0]),
        (CHANNELS, vec![3]),
        (CHANNELS, vec![255]),
        (CRC, vec![0; 4]),
        (KEY, vec![0; 16]),
        (STAMP, vec![0; 24]),
    ];
    for (field, lie) in lies {
        let mut index = index.clone();
        index.records[3][field.clone()].copy_from_slice(&lie);
        forge(&scene.cache(), &pixels, &index.bytes());
        assert_eq!(scene.run(scene.options()), expected, "{field:?} {lie:?}");
    }
    let mut half = index.bytes();
    half.truncate(half.len() - 20);
    for index in [
        &half,
        &b""[..],
        b"\n",
        b"{}\n",
        b"null\n",
        b"[[[[",
        b"{\"made_by\": \"\", \"image_size\": 0}\n",
    ] {
        forge(&scene.cache(), &pixels, index);
        let shown = String::from_utf8_lossy(index);
        assert_eq!(scene.run(scene.options()), expected, "{shown}");
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
