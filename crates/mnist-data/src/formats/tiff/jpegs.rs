//! Checks JPEG strips and tiles, which the `tiff` crate decodes whole, whatever their size.

use std::io::Cursor;

use tiff::decoder::{ChunkType, Decoder};
use tiff::tags::Tag;
use zune_jpeg::JpegDecoder;

use super::refused;
use crate::fault::Fault;

/// The number of JPEG compression in the directory.
const JPEG: u16 = 7;

/// Refuses JPEGs larger than their strip or tile, as libtiff does. Returns the memory in bytes for decoding the largest
/// one; 0 if the image is not compressed as JPEG.
pub(super) fn check(decoder: &mut Decoder<Cursor<&[u8]>>, file: &[u8]) -> Result<usize, Fault> {
    let compression = decoder
        .find_tag_unsigned(Tag::Compression)
        .map_err(refused)?;
    if compression != Some(JPEG) {
        return Ok(0);
    }
    let tables = match decoder.find_tag(Tag::JPEGTables).map_err(refused)? {
        Some(tables) => tables.into_u8_vec().map_err(refused)?,
        None => Vec::new(),
    };
    let tags = match decoder.get_chunk_type() {
        ChunkType::Strip => [Tag::StripOffsets, Tag::StripByteCounts],
        ChunkType::Tile => [Tag::TileOffsets, Tag::TileByteCounts],
    };
    let [offsets, lengths] = tags.map(|tag| decoder.get_tag_u64_vec(tag));
    let (offsets, lengths) = (offsets.map_err(refused)?, lengths.map_err(refused)?);
    let (width, height) = decoder.chunk_dimensions();
    let (mut total, mut largest) = (0, 0);
    for (offset, length) in offsets.into_iter().zip(lengths) {
        let chunk = usize::try_from(offset)
            .ok()
            .and_then(|offset| file.get(offset..));
        let chunk = chunk.unwrap_or_default();
        let chunk = &chunk[..chunk
            .len()
            .min(usize::try_from(length).unwrap_or(usize::MAX))];
        total += chunk.len();
        if total > file.len() {
            return Err(Fault::damaged("its strips or tiles overlap"));
        }
        // The start marker of the second part is left out.
        let jpeg = match tables.len().checked_sub(2) {
            Some(end) => [&tables[..end], chunk.get(2..).unwrap_or_default()].concat(),
            None => chunk.to_vec(),
        };
        let mut jpeg = JpegDecoder::new(Cursor::new(jpeg));
        // `tiff` reports errors.
        let info = jpeg.decode_headers().ok().and_then(|()| jpeg.info());
        let Some(info) = info else { continue };
        if u32::from(info.width) > width || u32::from(info.height) > height {
            return Err(Fault::damaged(
                "a JPEG in it is larger than its strip or tile",
            ));
        }
        // The pixels, and twice as much for the coefficients of a progressive JPEG. Blocks beyond the edges take memory, too.
        let side = |length: u16| usize::from(length).next_multiple_of(32);
        largest =
            largest.max(3 * side(info.width) * side(info.height) * usize::from(info.components));
    }
    Ok(largest)
}
