//! Paths of the caches for decoded images and features.

use std::path::{Path, PathBuf};

use mnist_data::{
    DecodeOptions, Decoding, DiskCache, Fit, Framing, ImageSize, Interpolation, Orientation,
};
use mobilenet::weights::WeightsMetadata;

/// The cache folder inside the data folder. Image listings skip it because of the leading dot.
const FOLDER: &str = ".classify-cache";

/// The cache folder for the splits of `root`.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join(FOLDER)
}

/// The file for a split of `root`. Each combination of image size, framing and decoding options has its own file.
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

/// The read-only disk cache of a split's images, if a training run has written it.
///
/// `None` if there is no such cache for the image size, framing and orientation of these weights with exact decoding.
/// The cache is read-only because only a training run may write beside the images.
pub fn kept_images(split: &Path, metadata: &WeightsMetadata) -> Option<DiskCache> {
    // `.` and a bare name have no parent in the path, so the path is made absolute. Links are not resolved: the cache
    // of a linked folder is beside the link.
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
