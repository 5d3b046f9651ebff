//! IDX files, plain and gzip.

use std::fs;

use mnist_data::{
    Compression, IdxImages, IdxLabels, NoProgress, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES,
    TRAIN_LABELS, UnpackOptions, unpack,
};

use crate::Scratch;

/// The number of images in the valid files.
const COUNT: usize = 4;

thread_local! {
    static SCRATCH: Scratch = whole();
}

/// A folder with a valid data set.
fn whole() -> Scratch {
    let scratch = Scratch::new();
    let dir = scratch.0.path();
    let images = IdxImages::new(2, 3, vec![7; 6 * COUNT]).expect("valid images");
    let labels = IdxLabels::new((0..COUNT as u8).collect());
    for (images_name, labels_name) in [(TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)] {
        let images = images.write(&dir.join(images_name), Compression::None);
        let labels = labels.write(&dir.join(labels_name), Compression::None);
        images.and(labels).expect("a valid data set");
    }
    scratch
}

/// Reads a file as images and as labels. If it is one of these, unpacks a data set with it.
pub(crate) fn idx(bytes: &[u8]) -> bool {
    SCRATCH.with(|scratch| {
        let path = scratch.write("file", bytes);
        let images = IdxImages::read(&path).is_ok_and(|images| {
            let _ = images.image(images.count());
            true
        });
        let labels = IdxLabels::read(&path).is_ok();
        if images {
            unpacked(scratch, TRAIN_IMAGES, bytes);
        }
        if labels {
            unpacked(scratch, TRAIN_LABELS, bytes);
        }
        images || labels
    })
}

/// Unpacks the data set with this file in the place of a valid one. Counts may differ, so this may fail.
fn unpacked(scratch: &Scratch, name: &str, bytes: &[u8]) {
    let dir = scratch.0.path();
    let valid = fs::read(dir.join(name)).expect("the valid file");
    scratch.write(name, bytes);
    let out = dir.join("out");
    let _ = unpack(dir, &out, &UnpackOptions::default(), &NoProgress);
    scratch.write(name, &valid);
    if out.exists() {
        fs::remove_dir_all(out).expect("the unpacked images can be removed");
    }
}
