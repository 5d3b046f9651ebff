//! Where the decoded images of splits, and their features, are kept on disk.

use std::path::{Path, PathBuf};

use mnist_data::{Decoding, DiskCache};

/// In the folder that holds the splits; its name hides it from the listing of images.
const FOLDER: &str = ".classify-cache";

/// The folder of what is kept on disk of the splits of `root`.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join(FOLDER)
}

/// The file for a split of `root`; every image size and way of decoding has its own.
pub(crate) fn path(root: &Path, split: &str, image_size: usize, decoding: Decoding) -> PathBuf {
    let way = match decoding {
        Decoding::Exact => "",
        Decoding::Fast => "-fast",
    };
    folder(root).join(format!("{split}-{image_size}{way}.pixels"))
}

/// What training runs have kept on disk of a split's folder, to be read and never written.
///
/// `None` where no run has kept any of its images at this size, decoded exactly. A run writes where its
/// configuration allows it; whoever only wants a folder measured has allowed nothing.
pub fn kept_images(split: &Path, image_size: usize) -> Option<DiskCache> {
    // `.` and a bare name have no parent; a split that is a link lies where its link does.
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
