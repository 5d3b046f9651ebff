//! Compares the EXIF orientation of images with PIL. The golden data are from tests/golden/generate_exif.py.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mnist_data::{DecodeOptions, Decoding, Framing, Image, ImageSize, Orientation};

const UPRIGHT: DecodeOptions = DecodeOptions {
    decoding: Decoding::Exact,
    truncated: mnist_data::TruncatedImages::Refuse,
    orientation: Orientation::Apply,
    max_bytes: mnist_data::MAX_IMAGE_BYTES,
};

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/exif");
    folder.join(name)
}

fn fnv(bytes: &[u8]) -> String {
    let step = |value: u64, &byte: &u8| (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
    format!("{:016x}", bytes.iter().fold(0xCBF2_9CE4_8422_2325, step))
}

#[test]
fn images_are_turned_as_pil_does_it() {
    let answers = fs::read(golden("answers.json")).unwrap();
    let answers: BTreeMap<String, (u32, u32, String)> = serde_json::from_slice(&answers).unwrap();
    assert_eq!(answers.len(), 50, "generate_exif.py makes fifty");
    for (name, answer) in &answers {
        let image = Image::read_with(&golden(name), UPRIGHT).unwrap();
        let found = (image.width(), image.height(), fnv(&image.to_rgb()));
        assert_eq!(found, *answer, "{name}");
        // By default, the pixels stay as stored in the file.
        let stored = Image::read(&golden(name)).unwrap();
        assert_eq!((stored.width(), stored.height()), (8, 5), "{name}");
    }
}

#[test]
fn exif_data_that_are_cut_anywhere_do_no_harm() {
    for name in [
        "turn_6.jpg",
        "turn_6.png",
        "turn_6.webp",
        "three_values.jpg",
    ] {
        let file = fs::read(golden(name)).unwrap();
        for end in 0..file.len() {
            // Decoding must not panic; the result does not matter.
            let _ = Image::decode_with(&file[..end], Path::new(name), UPRIGHT);
        }
        for place in 0..file.len().min(200) {
            let mut damaged = file.clone();
            damaged[place] = 0xFF;
            let _ = Image::decode_with(&damaged, Path::new(name), UPRIGHT);
        }
    }
}

#[test]
fn an_image_is_turned_before_it_is_fitted() {
    let file = fs::read(golden("turn_6.png")).unwrap();
    let size = ImageSize {
        height: 8,
        width: 5,
    };
    let name = Path::new("turn_6.png");
    let fitted = Image::decode_at(&file, name, size, Framing::default(), UPRIGHT).unwrap();
    assert_eq!(fitted, Image::decode_with(&file, name, UPRIGHT).unwrap());
}
