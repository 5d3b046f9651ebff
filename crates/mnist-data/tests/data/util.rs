//! Helpers shared by several tests.

use std::fs;
use std::path::{Path, PathBuf};

use mnist_data::{
    Compression, IdxImages, IdxLabels, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS,
};
use tempfile::TempDir;

/// A new temporary folder, deleted when dropped.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Image `index` of [`idx_set`]: 3 × 5 pixels with values that depend on the index.
pub(crate) fn image(index: usize) -> Vec<u8> {
    (0..15).map(|pixel| (index * 16 + pixel) as u8).collect()
}

/// Writes a data set of `train` and `test` images with labels 0, 1, 2, 0, ….
pub(crate) fn idx_set(dir: &Path, train: usize, test: usize) {
    for (images_name, labels_name, count) in [
        (TRAIN_IMAGES, TRAIN_LABELS, train),
        (TEST_IMAGES, TEST_LABELS, test),
    ] {
        let pixels = (0..count).flat_map(image).collect();
        let labels = (0..count).map(|index| (index % 3) as u8).collect();
        let images = IdxImages::new(3, 5, pixels).unwrap();
        images
            .write(&dir.join(images_name), Compression::None)
            .unwrap();
        IdxLabels::new(labels)
            .write(&dir.join(labels_name), Compression::None)
            .unwrap();
    }
}

/// Writes a PNG of 2 × 2 pixels with one gray level, and creates its folders.
pub(crate) fn png(path: &Path, shade: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_pixel(2, 2, image::Luma([shade]))
        .save_with_format(path, image::ImageFormat::Png)
        .unwrap();
}

/// The paths of all files below `dir`, relative to `dir` and sorted.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(dir, &mut found);
    let relative = |path: &PathBuf| {
        path.strip_prefix(dir)
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/")
    };
    let mut names: Vec<String> = found.iter().map(relative).collect();
    names.sort();
    names
}

/// A pipe with a writer that writes text instead of an image: code that reads it by mistake reaches its end, so that a
/// test fails instead of waiting forever.
#[cfg(unix)]
pub(crate) struct Pipe {
    path: PathBuf,
    writer: Option<std::thread::JoinHandle<()>>,
}

#[cfg(unix)]
impl Pipe {
    pub(crate) fn new(path: &Path) -> Self {
        use std::io::Write;

        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
        let to = path.to_owned();
        let writer = std::thread::spawn(move || {
            // Waits until a reader opens the pipe.
            let mut pipe = fs::File::options().write(true).open(to).unwrap();
            // Writing fails if the reader is already gone, as intended.
            let _ = pipe.write_all(b"no image");
        });
        Self {
            path: path.to_owned(),
            writer: Some(writer),
        }
    }
}

#[cfg(unix)]
impl Drop for Pipe {
    fn drop(&mut self) {
        use std::os::unix::fs::OpenOptionsExt;

        // If the writer still waits for a reader, lets it continue. Then joins its thread.
        let reader = fs::File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&self.path);
        if let (Ok(_reader), Some(writer)) = (reader, self.writer.take()) {
            let _ = writer.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}
