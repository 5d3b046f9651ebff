//! Paths of the caches for decoded images and features.

use std::path::{Path, PathBuf};

use mnist_data::{Decoding, DiskCache};

/// In the data folder; its name hides it from the listing of images.
const FOLDER: &str = ".classify-cache";

/// The cache folder for the splits of `root`.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join(FOLDER)
}

/// The file for a split of `root`; each image size and decoding option has a separate one.
pub(crate) fn path(root: &Path, split: &str, image_size: usize, decoding: Decoding) -> PathBuf {
    let way = match decoding {
        Decoding::Exact => "",
        Decoding::Fast => "-fast",
    };
    folder(root).join(format!("{split}-{image_size}{way}.pixels"))
}

/// The decoded images that training runs have kept for a split's folder, read-only.
///
/// `None` if no run has kept its images at this size with exact decoding. A run writes caches if its
/// configuration allows it; an evaluation has no such permission.
pub fn kept_images(split: &Path, image_size: usize) -> Option<DiskCache> {
    // `.` and a bare name have no parent. A link's cache is beside the link.
    let split = std::path::absolute(split).ok()?;
    let path = path(
        split.parent()?,
        split.file_name()?.to_str()?,
        image_size,
        Decoding::Exact,
    );
    path.is_file().then_some(DiskCache {
        path,
        max_bytes: 0,
        read_only: true,
    })
}
