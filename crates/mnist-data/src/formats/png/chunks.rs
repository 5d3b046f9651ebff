//! Reads the chunks of a PNG file, with Pillow's checks.

use std::io::Read;

use flate2::Crc;
use flate2::read::ZlibDecoder;

use super::{Header, MAGIC};
use crate::fault::Fault;
use crate::formats::bytes::Bytes;

/// The most bytes of text in a compressed chunk.
const MAX_TEXT: u64 = 1 << 20;

/// The relevant chunks of a file.
pub(super) struct Chunks<'a> {
    pub(super) header: Header,
    pub(super) palette: &'a [u8],
    /// The compressed pixels.
    pub(super) data: Vec<&'a [u8]>,
    /// The bytes after the compressed pixels.
    rest: Bytes<'a>,
}

impl<'a> Chunks<'a> {
    pub(super) fn read(file: &'a [u8]) -> Result<Self, Fault> {
        let mut bytes = Bytes::new(file);
        bytes.seek(MAGIC.len());
        let (mut header, mut palette) = (None, [].as_slice());
        let first = loop {
            let (name, length) = start(&mut bytes)?;
            if &name == b"IDAT" {
                break length;
            }
            let data = bytes.take(length)?;
            check(name, data)?;
            match &name {
                b"IHDR" => header = Some(Header::read(data)?),
                b"PLTE" => palette = data,
                b"tRNS" => check_transparency(header.as_ref(), data)?,
                b"fdAT" => return Err(Fault::damaged("its first frame is not a separate image")),
                _ => {}
            }
            let mut crc = Crc::new();
            crc.update(&name);
            crc.update(data);
            if bytes.u32_be()? != crc.sum() {
                let name = name.escape_ascii();
                return Err(Fault::Damaged(format!(
                    "the checksum of its chunk {name} is wrong"
                )));
            }
        };
        let mut data = vec![bytes.up_to(first)];
        loop {
            bytes.up_to(4);
            let mut next = bytes;
            match start(&mut next) {
                Ok((name, length)) if &name == b"IDAT" => {
                    data.push(next.up_to(length));
                    bytes = next;
                }
                _ => break,
            }
        }
        Ok(Self {
            header: header.ok_or_else(|| Fault::damaged("it has no header"))?,
            palette,
            data,
            rest: bytes,
        })
    }

    /// Refuses files that Pillow refuses because of chunks after the image data.
    pub(super) fn check_rest(&self) -> Result<(), Fault> {
        let mut bytes = self.rest;
        // An invalid or missing chunk is treated as the end marker.
        while let Ok((name, length)) = start(&mut bytes) {
            if &name == b"IEND" || &name == b"fcTL" {
                break;
            }
            check(name, bytes.take(length)?)?;
            bytes.up_to(4);
        }
        Ok(())
    }
}

/// The name and length of a chunk.
fn start(bytes: &mut Bytes) -> Result<([u8; 4], usize), Fault> {
    let length = bytes.u32_be()? as usize;
    let name: [u8; 4] = bytes.array()?;
    if !name
        .iter()
        .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        let name = name.escape_ascii();
        return Err(Fault::Damaged(format!("{name} is no name of a chunk")));
    }
    Ok((name, length))
}

/// Pillow's checks of chunks that do not affect the pixels.
fn check(name: [u8; 4], data: &[u8]) -> Result<(), Fault> {
    let least = match &name {
        b"IHDR" => 13,
        b"cHRM" => 32,
        b"gAMA" => 4,
        b"sRGB" => 1,
        b"pHYs" => 9,
        b"acTL" => 8,
        b"fcTL" => 26,
        _ => 0,
    };
    let bad = |problem: &str| {
        let name = name.escape_ascii();
        Err(Fault::Damaged(format!("its chunk {name} {problem}")))
    };
    if data.len() < least {
        return bad("is too short");
    }
    let end = data.iter().position(|&byte| byte == 0);
    let after = |end: usize| &data[end + 1..];
    match (&name, end) {
        (b"iCCP", end) => {
            // If the name has no terminator, Pillow takes the name's first byte for the compression method.
            let rest = end.map_or(data, after);
            match rest.first() {
                Some(0) if is_small(&rest[1..]) => Ok(()),
                _ => bad("is compressed by an unknown method, or too large"),
            }
        }
        (b"zTXt", Some(end)) => match after(end).split_first() {
            None => Ok(()),
            Some((0, text)) if is_small(text) => Ok(()),
            Some(_) => bad("is compressed by an unknown method, or too large"),
        },
        _ => Ok(()),
    }
}

/// Whether decompressed text stays within the limit.
fn is_small(compressed: &[u8]) -> bool {
    let mut text = ZlibDecoder::new(compressed).take(MAX_TEXT + 1);
    // Invalid compressed data is no error.
    std::io::copy(&mut text, &mut std::io::sink()).map_or(true, |length| length <= MAX_TEXT)
}

fn check_transparency(header: Option<&Header>, data: &[u8]) -> Result<(), Fault> {
    let least = match header.map(|header| header.colour) {
        Some(super::Colour::Gray) => 2,
        Some(super::Colour::Rgb) => 6,
        _ => 0,
    };
    match data.len() < least {
        true => Err(Fault::damaged("its chunk tRNS is too short")),
        false => Ok(()),
    }
}
