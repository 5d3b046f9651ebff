//! Decodes JPEG files to gray or RGB bytes, into reused memory.

mod coefficients;
mod decoder;
mod entropy;
mod frame;
mod huffman;
mod idct;
#[cfg(target_arch = "x86_64")]
mod idct_avx2;
mod markers;
mod output;
mod pillow;
mod reader;
mod reduced;
mod smooth;
#[cfg(test)]
mod tests;

use crate::decode::Decoded;
use crate::decode_options::{DecodeOptions, Decoding, TruncatedImages};
use crate::fault::{Fault, Limit};
use crate::resize::Target;

/// Whether a file's contents begin like a JPEG.
pub(crate) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xD8, 0xFF])
}

/// Decodes into the buffer `pixels`, whose old contents are ignored. Gray stays one byte per pixel; every other colour space
/// becomes RGB. `target` is the size and framing of the later resize, for fast decoding.
pub(crate) fn decode(
    bytes: &[u8],
    pixels: Vec<u8>,
    options: DecodeOptions,
    target: Option<Target>,
) -> Result<Decoded, Fault> {
    pillow::check_headers(bytes)?;
    let accept_truncated = options.truncated == TruncatedImages::Accept;
    let target = target.filter(|_| options.decoding == Decoding::Fast);
    let limit = Limit(options.max_bytes);
    decoder::decode(bytes, pixels, accept_truncated, target, limit)
}
