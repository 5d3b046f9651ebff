//! Tables of labels and weights, files of class names, and patterns of sample weights.

use std::fs;

use mnist_data::{Classes, ImageFolder, Sample, WeightPattern, WeightsConfig};

use crate::Scratch;

thread_local! {
    static SCRATCH: Scratch = with_images();
}

/// The images that the valid tables name.
const IMAGES: [&str; 4] = [
    "1.png",
    "2.png",
    "3.png",
    "a/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.png",
];

fn with_images() -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir(scratch.0.path().join("a")).expect("a folder");
    for name in IMAGES {
        scratch.write(name, b"");
    }
    scratch
}

/// Reads a file as a table of labels.
pub(crate) fn labels(bytes: &[u8]) -> bool {
    SCRATCH.with(|scratch| {
        let path = scratch.write("file", bytes);
        ImageFolder::from_csv(&path, Some(scratch.0.path()), None).is_ok()
    })
}

/// Reads a file as class names.
pub(crate) fn class_names(bytes: &[u8]) -> bool {
    SCRATCH.with(|scratch| Classes::read(&scratch.write("file", bytes)).is_ok())
}

/// Reads a file as a table of sample weights.
pub(crate) fn weights(bytes: &[u8]) -> bool {
    let file = SCRATCH.with(|scratch| scratch.write("file", bytes));
    applied(WeightsConfig {
        file: Some(file),
        patterns: Vec::new(),
    })
}

/// Takes a text as a pattern of sample weights.
pub(crate) fn pattern(bytes: &[u8]) -> bool {
    applied(WeightsConfig {
        file: None,
        patterns: vec![WeightPattern {
            pattern: String::from_utf8_lossy(bytes).into_owned(),
            weight: 2.0,
        }],
    })
}

fn applied(weights: WeightsConfig) -> bool {
    let mut samples = IMAGES.map(|id| Sample::new(id.into(), id.into(), 0));
    weights.apply(&mut samples).is_ok()
}
