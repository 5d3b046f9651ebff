//! Paths of the caches for decoded images and features.

use std::path::{Path, PathBuf};

use mnist_data::{
    DecodeOptions, Decoding, DiskCache, Fit, Framing, ImageSize, Interpolation, Orientation,
};
use mobilenet::weights::WeightsMetadata;

/// In the data folder; its name hides it from the listing of images.
const FOLDER: &str = ".classify-cache";

/// The cache folder for the splits of `root`.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join(FOLDER)
}

/// The file for a split of `root`; every image size, framing and way of decoding has its own.
pub(crate) fn path(
    root: &Path,
    split: &str,
    image_size: ImageSize,
    framing: Framing,
    decode: DecodeOptions,
) -> PathBuf {
    let mut name = format!("{split}-{image_size}");
    match framing.fit {
        Fit::Squash => {}
        Fit::Crop => name.push_str(&format!("-crop{}", framing.crop_pct)),
        Fit::Letterbox => name.push_str("-letterbox"),
    }
    if framing.interpolation == Interpolation::Bicubic {
        name.push_str("-bicubic");
    }
    if decode.decoding == Decoding::Fast {
        name.push_str("-fast");
    }
    if decode.orientation == Orientation::Ignore {
        name.push_str("-as-stored");
    }
    folder(root).join(format!("{name}.pixels"))
}

/// The decoded images that training runs have kept for a split's folder, read-only.
///
/// `None` where no run has kept any of its images as these weights see them, decoded exactly. A run writes where its
/// configuration allows it; whoever only wants a folder measured has allowed nothing.
pub fn kept_images(split: &Path, metadata: &WeightsMetadata) -> Option<DiskCache> {
    // `.` and a bare name have no parent; a split that is a link lies where its link does.
    let split = std::path::absolute(split).ok()?;
    let path = path(
        split.parent()?,
        split.file_name()?.to_str()?,
        metadata.image_size,
        metadata.framing,
        DecodeOptions {
            orientation: metadata.orientation,
            ..DecodeOptions::default()
        },
    );
    path.is_file().then_some(DiskCache {
        path,
        max_bytes: 0,
        read_only: true,
    })
}
