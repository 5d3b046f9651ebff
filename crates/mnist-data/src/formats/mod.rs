//! Chooses an image file's decoder by its first bytes. All decoders give Pillow's pixels.

mod bmp;
mod bytes;
mod exif;
mod gif;
mod png;
mod pnm;
mod tiff;
mod webp;

use framing::Orientation;

use crate::decode::{Decoded, Image};
use crate::decode_options::{DecodeOptions, TruncatedImages};
use crate::fault::{Fault, Limit, side};
use crate::jpeg;
use crate::resize::Target;
use exif::Turn;

/// Colours by palette index.
type Palette = [[u8; 3]; 256];

/// Decodes a file's contents, into `memory` if the format allows it. `target` is the later resize. Fast decoding may give
/// a smaller image than the file's, but none that the resize must enlarge.
pub(crate) fn decode(
    bytes: &[u8],
    memory: Vec<u8>,
    options: DecodeOptions,
    target: Option<Target>,
) -> Result<Decoded, Fault> {
    let accept_truncated = options.truncated == TruncatedImages::Accept;
    let limit = Limit(options.max_bytes);
    let turned = |decoded: Decoded, turn: fn(&[u8]) -> Turn| match options.orientation {
        Orientation::Ignore => Ok(decoded),
        Orientation::Apply => turn(bytes).apply(decoded, bytes.len(), limit),
    };
    if jpeg::is_jpeg(bytes) {
        let is_turned = options.orientation == Orientation::Apply
            && target.is_some_and(|target| target != target.turned())
            && Turn::of_jpeg(bytes).is_sideways();
        let target = match is_turned {
            true => target.map(Target::turned),
            false => target,
        };
        let decoded = jpeg::decode(bytes, memory, options, target)?;
        turned(decoded, Turn::of_jpeg)
    } else if bytes.starts_with(png::MAGIC) {
        let decoded = png::decode(bytes, memory, accept_truncated, limit)?;
        turned(decoded, Turn::of_png)
    } else if gif::is_gif(bytes) {
        gif::decode(bytes, memory, accept_truncated, limit)
    } else if bytes.starts_with(b"BM") {
        bmp::decode(bytes, memory, accept_truncated, limit)
    } else if pnm::is_pnm(bytes) {
        pnm::decode(bytes, memory, accept_truncated, limit)
    } else if tiff::is_tiff(bytes) {
        tiff::decode(bytes, memory, limit)
    } else if webp::is_webp(bytes) {
        turned(webp::decode(bytes, memory, limit)?, Turn::of_webp)
    } else {
        let known = "it is no JPEG, PNG, GIF, BMP, PNM, TIFF or WebP image";
        // HEIC and AVIF files begin with the file-type box of ISO 14496-12.
        Err(match bytes.get(4..8) == Some(b"ftyp") {
            true => Fault::damaged(
                "it is a HEIC, AVIF or video file, which is not read; convert it to JPEG",
            ),
            false => Fault::damaged(known),
        })
    }
}

fn finished(
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
    is_truncated: bool,
) -> Result<Decoded, Fault> {
    let image = Image::from_raw(width as u32, height as u32, channels as u8, pixels);
    Ok(Decoded {
        image: image.map_err(Fault::damaged)?,
        is_truncated,
        original: None,
    })
}

/// The palette of these colours (red, green and blue); missing entries are black.
fn palette_of(colours: &[u8]) -> Palette {
    let mut palette = [[0; 3]; 256];
    for (colour, given) in palette.iter_mut().zip(colours.as_chunks::<3>().0) {
        *colour = *given;
    }
    palette
}
