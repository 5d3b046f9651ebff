//! WebP, decoded by the `image-webp` crate. An animation gives its first frame.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::bytes::Bytes;
use super::{finished, side};
use crate::decode::Decoded;
use crate::fault::{Fault, Limit};

/// Whether a file begins like a WebP.
pub(super) fn is_webp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")
}

/// Decodes into the buffer `pixels`, whose old contents are ignored.
pub(super) fn decode(bytes: &[u8], mut pixels: Vec<u8>, limit: Limit) -> Result<Decoded, Fault> {
    check_chunks(bytes)?;
    let suited = with_frame_size(bytes);
    let copy = suited.as_ref().map_or(0, Vec::len);
    let bytes = suited.as_deref().unwrap_or(bytes);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(refused)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (side(width)?, side(height)?);
    // The measured peak memory in bytes per pixel, including the result.
    let bytes_a_pixel = match (
        decoder.is_animated(),
        decoder.is_lossy(),
        decoder.has_alpha(),
    ) {
        (true, ..) => 16,
        (false, true, true) => 11,
        (false, true, false) => 6,
        (false, false, _) => 8,
    };
    let needed = (bytes.len() + copy) as u64 + bytes_a_pixel * (width * height) as u64;
    limit.check(width as u64, height as u64, Some(needed))?;
    decoder.set_memory_limit(limit.0 as usize);
    if decoder.is_animated() {
        decoder.set_background_color([0; 4]).map_err(refused)?;
    }
    let length = decoder
        .output_buffer_size()
        .ok_or_else(|| Fault::damaged("it is too large"))?;
    pixels.clear();
    pixels.resize(length, 0);
    decoder.read_image(&mut pixels).map_err(refused)?;
    if decoder.has_alpha() {
        drop_alpha(&mut pixels);
    }
    finished(width, height, 3, pixels, false)
}

/// Refuses files that libwebp refuses before decoding: a chunk that extends beyond the end of the file or the length in
/// the header.
fn check_chunks(file: &[u8]) -> Result<(), Fault> {
    let mut bytes = Bytes::new(file);
    bytes.seek(4);
    let end = (bytes.u32_le()? as usize).saturating_add(8);
    let inside = file.get(..end).ok_or(Fault::Truncated)?;
    let mut bytes = Bytes::new(inside);
    bytes.seek(12);
    let is_simple = !bytes.rest().starts_with(b"VP8X");
    while bytes.rest().len() >= 8 {
        let name: [u8; 4] = bytes.array()?;
        let length = bytes.u32_le()? as usize;
        bytes.take(length)?;
        if is_simple && matches!(&name, b"VP8 " | b"VP8L") {
            // libwebp does not check later chunks.
            break;
        }
        // Chunks are padded to an even length; at the end the padding may be missing.
        bytes.up_to(length % 2);
    }
    Ok(())
}

/// The name and the data of the next chunk.
pub(super) fn chunk<'a>(bytes: &mut Bytes<'a>) -> Result<([u8; 4], &'a [u8]), Fault> {
    let (name, length) = chunk_header(bytes)?;
    let data = bytes.take(length)?;
    // Chunks are padded to an even length.
    bytes.up_to(length % 2);
    Ok((name, data))
}

fn chunk_header(bytes: &mut Bytes) -> Result<([u8; 4], usize), Fault> {
    Ok((bytes.array()?, bytes.u32_le()? as usize))
}

/// The file with the true size of the first frame in that frame's header; `None` if the header is right, or there are no
/// frames. libwebp reads the size from the compressed pixels. `image-webp` refuses a header with another size, or
/// panics.
fn with_frame_size(file: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Bytes::new(file);
    bytes.seek(12);
    let start = loop {
        let start = bytes.at() + 8;
        if chunk(&mut bytes).ok()?.0 == *b"ANMF" {
            break start;
        }
    };
    let [width, height] = frame_size(file, start + 16).ok()?;
    let size = [width, height].map(|side| (side.wrapping_sub(1)).to_le_bytes());
    let size = [&size[0][..3], &size[1][..3]].concat();
    // The size follows the frame's place, two numbers of three bytes.
    let place = start + 6..start + 12;
    if file.get(place.clone())? == size {
        return None;
    }
    let mut file = file.to_vec();
    file[place].copy_from_slice(&size);
    Some(file)
}

/// Width and height of the compressed pixels in the frame whose chunks begin at `start`.
fn frame_size(file: &[u8], start: usize) -> Result<[u32; 2], Fault> {
    let mut bytes = Bytes::new(file);
    bytes.seek(start);
    let (mut name, length) = chunk_header(&mut bytes)?;
    if &name == b"ALPH" {
        bytes.seek(bytes.at() + length.next_multiple_of(2));
        chunk_header(&mut bytes)?;
        // Only lossy pixels have a separate alpha channel.
        name = *b"VP8 ";
    }
    match &name {
        b"VP8L" => {
            bytes.u8()?;
            let size = bytes.u32_le()?;
            Ok([size, size >> 14].map(|side| (side & 0x3FFF) + 1))
        }
        _ => {
            let [_, _, _, _, _, _, size @ ..]: [u8; 10] = bytes.array()?;
            let size = u32::from_le_bytes(size);
            Ok([size, size >> 16].map(|side| side & 0x3FFF))
        }
    }
}

fn refused(error: DecodingError) -> Fault {
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Fault::Truncated
        }
        other => Fault::damaged(other),
    }
}

/// Removes the fourth byte of each pixel, in place.
fn drop_alpha(pixels: &mut Vec<u8>) {
    let count = pixels.len() / 4;
    for index in 0..count {
        pixels.copy_within(4 * index..4 * index + 3, 3 * index);
    }
    pixels.truncate(3 * count);
}
