//! JPEG files straight to gray or RGB bytes, into memory that is used again.

mod coefficients;
mod decoder;
mod entropy;
mod frame;
mod huffman;
mod idct;
mod markers;
mod output;
mod pillow;
mod reader;
mod smooth;

use crate::decode::Decoded;
use crate::decode_options::{DecodeOptions, Decoding, TruncatedImages};
use crate::fault::Fault;

/// Whether a file's contents begin as a JPEG does.
pub(crate) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xD8, 0xFF])
}

/// Decodes into `pixels`, whose old contents do not matter. Gray stays one byte a pixel; every
/// other colour space becomes RGB. `size` is that of what will be made of it, in pixels a side.
pub(crate) fn decode(
    bytes: &[u8],
    pixels: Vec<u8>,
    options: DecodeOptions,
    size: Option<u32>,
) -> Result<Decoded, Fault> {
    pillow::check_headers(bytes)?;
    let accept_truncated = options.truncated == TruncatedImages::Accept;
    let size = size.filter(|_| options.decoding == Decoding::Fast);
    decoder::decode(bytes, pixels, accept_truncated, size)
}
