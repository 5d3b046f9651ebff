//! Makes the committed sample of MNIST from the full set, reproducibly: `cargo run --release -p
//! mnist-data --example sample data/mnist/idx data/sample`.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::error::Error;
use std::fs;
use std::path::Path;

use mnist_data::{
    Compression, IdxImages, IdxLabels, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS,
    read_pair, stratified_sample,
};

/// The number of MNIST's training and test images in the sample.
const SAMPLE_TRAIN: usize = 1600;
const SAMPLE_TEST: usize = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        return Err("usage: sample IDX_FOLDER OUT_FOLDER".into());
    };
    let (from, to) = (Path::new(from), Path::new(to));
    fs::create_dir_all(to).map_err(|error| format!("cannot make {}: {error}", to.display()))?;
    write_sample(from, to, [TRAIN_IMAGES, TRAIN_LABELS], SAMPLE_TRAIN)?;
    write_sample(from, to, [TEST_IMAGES, TEST_LABELS], SAMPLE_TEST)?;
    println!("{} holds the sample", to.display());
    Ok(())
}

/// Writes a stratified sample of `count` images, in the original order, as gzipped files.
fn write_sample(from: &Path, to: &Path, names: [&str; 2], count: usize) -> mnist_data::Result<()> {
    let (images, labels) = read_pair(&from.join(names[0]), &from.join(names[1]))?;
    let drawn = stratified_sample(labels.as_slice(), count, 0);
    let pixels = drawn.iter().flat_map(|&i| images.image(i)).copied();
    let few_images = IdxImages::new(images.rows(), images.cols(), pixels.collect())?;
    let few_labels = IdxLabels::new(drawn.iter().map(|&i| labels.as_slice()[i]).collect());
    few_images.write(&to.join(format!("{}.gz", names[0])), Compression::Gzip)?;
    few_labels.write(&to.join(format!("{}.gz", names[1])), Compression::Gzip)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed sample must meet the needs of the tests and of `classify train`.
    #[test]
    fn the_sample_is_complete_and_stratified() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample");
        for (images, labels, count) in [
            (TRAIN_IMAGES, TRAIN_LABELS, SAMPLE_TRAIN),
            (TEST_IMAGES, TEST_LABELS, SAMPLE_TEST),
        ] {
            let path = |name| dir.join(format!("{name}.gz"));
            let (images, labels) = read_pair(&path(images), &path(labels)).unwrap();
            assert_eq!((images.rows(), images.cols()), (28, 28));
            assert_eq!(images.count(), count);
            for digit in 0..10 {
                let members = labels.as_slice().iter().filter(|&&l| l == digit).count();
                // MNIST has between 9.0 and 11.2 % of each digit; 5 is the rarest.
                assert!(members * 100 > count * 8, "{members} of digit {digit}");
                assert!(members * 100 < count * 12, "{members} of digit {digit}");
            }
        }
    }

    #[test]
    fn a_sample_keeps_images_beside_their_labels() {
        let dir = tempfile::tempdir().unwrap();
        let labels: Vec<u8> = (0..60).map(|i| i % 3).collect();
        let pixels = labels.iter().flat_map(|&label| [label; 4]).collect();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&to).unwrap();
        let (images_at, labels_at) = (from.join("images"), from.join("labels"));
        IdxImages::new(2, 2, pixels)
            .unwrap()
            .write(&images_at, Compression::None)
            .unwrap();
        IdxLabels::new(labels)
            .write(&labels_at, Compression::None)
            .unwrap();
        write_sample(&from, &to, ["images", "labels"], 12).unwrap();
        let (images, labels) = read_pair(&to.join("images.gz"), &to.join("labels.gz")).unwrap();
        assert_eq!(images.count(), 12);
        for class in 0..3 {
            assert_eq!(labels.as_slice().iter().filter(|&&l| l == class).count(), 4);
        }
        for (index, &label) in labels.as_slice().iter().enumerate() {
            assert_eq!(images.image(index), [label; 4]);
        }
    }
}
