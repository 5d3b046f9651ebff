//! Image files of every format.

use std::path::Path;

use mnist_data::{
    BadImage, DecodeOptions, Decoding, Fit, Framing, Image, ImageSize, Loader, LoaderOptions,
    Orientation, Sample, TruncatedImages, image_sizes,
};

use crate::Scratch;

/// The side of resized images in pixels.
const SIDE: u32 = 16;

thread_local! {
    static SCRATCH: Scratch = Scratch::new();
}

/// Whether a file begins like a TIFF.
pub(crate) fn is_tiff(file: &[u8]) -> bool {
    file.starts_with(b"II") || file.starts_with(b"MM")
}

/// Whether a file begins like a PBM, PGM or PPM.
pub(crate) fn is_pnm(file: &[u8]) -> bool {
    matches!(file, [b'P', b'1'..=b'6', ..])
}

/// Decodes a file as by default.
pub(crate) fn strict(bytes: &[u8]) -> bool {
    Image::decode(bytes, name()).is_ok()
}

/// Decodes a file that may be truncated, and turns it upright.
pub(crate) fn lenient(bytes: &[u8]) -> bool {
    Image::decode_with(bytes, name(), LENIENT).is_ok()
}

/// Decodes a JPEG at reduced size if possible, and fits it to a square.
pub(crate) fn small(bytes: &[u8]) -> bool {
    let fast = DecodeOptions {
        decoding: Decoding::Fast,
        ..LENIENT
    };
    let framing = Framing {
        fit: Fit::Crop,
        ..Framing::default()
    };
    let image = Image::decode_at(bytes, name(), ImageSize::square(SIDE), framing, fast);
    if let Ok(image) = &image {
        assert_eq!((image.width(), image.height()), (SIDE, SIDE));
    }
    image.is_ok()
}

/// Reads the image's size from a file, and makes a batch of the image. Files are read in the same way as bytes, so a
/// sample of them is enough.
pub(crate) fn from_file(bytes: &[u8]) -> bool {
    if crc32fast::hash(bytes) % 16 != 0 {
        return false;
    }
    SCRATCH.with(|scratch| {
        let path = scratch.write("image", bytes);
        image_sizes([path.as_path()]);
        let samples = vec![Sample::new("image".into(), path, 0)];
        let options = LoaderOptions {
            batch_size: 1,
            image_size: ImageSize::square(SIDE),
            workers: 1,
            prefetch: 1,
            on_bad_image: BadImage::Skip,
            decode: LENIENT,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(samples, options).expect("valid options");
        loader.epoch(0).all(|batch| batch.is_ok())
    })
}

const LENIENT: DecodeOptions = DecodeOptions {
    decoding: Decoding::Exact,
    truncated: TruncatedImages::Accept,
    orientation: Orientation::Apply,
    max_bytes: mnist_data::MAX_IMAGE_BYTES,
};

fn name() -> &'static Path {
    Path::new("image")
}

/// A PNG with the right checksum in every chunk, since wrong ones end the reading early. `None` for other files, and if the
/// checksums are right already.
pub(crate) fn with_checksums(file: &[u8]) -> Option<Vec<u8>> {
    let mut file = file.to_vec();
    let mut at = file.starts_with(b"\x89PNG\r\n\x1a\n").then_some(8)?;
    let mut is_changed = false;
    while let Some(length) = file.get(at..at + 4) {
        let length = length
            .iter()
            .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let end = at + 8 + length;
        let Some(data) = file.get(at + 4..end) else {
            break;
        };
        let sum = crc32fast::hash(data).to_be_bytes();
        let Some(stored) = file.get_mut(end..end + 4) else {
            break;
        };
        is_changed |= stored != sum;
        stored.copy_from_slice(&sum);
        at = end + 4;
    }
    is_changed.then_some(file)
}
