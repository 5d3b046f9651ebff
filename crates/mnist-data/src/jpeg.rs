//! JPEG files straight to gray or RGB bytes, into memory that is used again.
//! `image` has the same decoder inside, but copies the file, reads its headers
//! twice and allocates anew for every picture.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::decode::{MAX_BYTES, MAX_SIDE, Picture};

/// Whether a file's contents begin as a JPEG does.
pub(crate) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xD8, 0xFF])
}

/// Decodes into `pixels`, whose old contents do not matter. Gray stays one byte
/// a pixel; every other colour space becomes RGB. The error is a reason.
pub(crate) fn decode(
    bytes: &[u8],
    mut pixels: Vec<u8>,
) -> Result<Picture, Box<dyn std::error::Error>> {
    // Not strict, as in `image`: what a cut file lacks at its end becomes gray.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(MAX_SIDE as usize)
        .set_max_height(MAX_SIDE as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers()?;
    let mut channels = 3;
    if decoder.input_colorspace() == Some(ColorSpace::Luma) {
        decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
        channels = 1;
    }
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    let length = width * height * usize::from(channels);
    if length as u64 > MAX_BYTES {
        return Err(format!("{width} × {height} pixels are beyond the limit").into());
    }
    // Zeroes, because a decoder that gives up early must not leave what the
    // picture before left here.
    pixels.clear();
    pixels.resize(length, 0);
    decoder.decode_into(&mut pixels)?;
    let picture = Picture::from_raw(width as u32, height as u32, channels, pixels)?;
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn equals_what_image_makes_of_it_whatever_the_buffer_held() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode");
        let mut cases = 0;
        for entry in std::fs::read_dir(golden).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            if !is_jpeg(&bytes) {
                continue;
            }
            // Cut files too: what is filled in must not depend on the buffer.
            for length in [bytes.len(), bytes.len() - 8] {
                let theirs = image::load_from_memory(&bytes[..length]).unwrap();
                let ours = decode(&bytes[..length], vec![123; 1 << 16]).unwrap();
                assert_eq!(
                    (ours.width(), ours.height(), ours.channels()),
                    (
                        theirs.width(),
                        theirs.height(),
                        theirs.color().channel_count()
                    )
                );
                assert_eq!(ours.into_pixels(), theirs.into_bytes());
            }
            cases += 1;
        }
        assert_eq!(cases, 5, "generate_decode.py makes five");
    }
}
