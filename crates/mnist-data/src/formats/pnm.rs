//! PBM, PGM and PPM, plain and raw, decoded as in Pillow (`PpmImagePlugin.py`).
//!
//! Gray of more than 8 bits is scaled to 8 bits here; Pillow clips it.

use super::bytes::Bytes;
use super::{finished, side};
use crate::decode::Decoded;
use crate::fault::{Fault, Limit};

/// The most digits that a number may have.
const MAX_TOKEN: usize = 10;

/// Whether a file begins like a PBM, PGM or PPM file.
pub(super) fn is_pnm(bytes: &[u8]) -> bool {
    matches!(bytes, [b'P', b'1'..=b'6', next, ..] if is_space(*next))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Decodes into the buffer `pixels`, whose old contents are ignored.
pub(super) fn decode(
    file: &[u8],
    mut pixels: Vec<u8>,
    accept_truncated: bool,
    limit: Limit,
) -> Result<Decoded, Fault> {
    let mut bytes = Bytes::new(file);
    bytes.seek(3);
    let kind = file[1];
    let (width, height) = (header_side(&mut bytes)?, header_side(&mut bytes)?);
    let channels = if matches!(kind, b'3' | b'6') { 3 } else { 1 };
    let max = match kind {
        b'1' | b'4' => 1,
        _ => header_number(&mut bytes)?,
    };
    let max = u16::try_from(max).ok().filter(|&max| max > 0);
    let max = max.ok_or_else(|| Fault::damaged("its largest value is not from 1 to 65535"))?;
    let length = width * height * channels;
    limit.check(
        width as u64,
        height as u64,
        Some((file.len() + length) as u64),
    )?;
    pixels.clear();
    pixels.reserve(length);
    let data = bytes.rest();
    match kind {
        b'1' => plain_bits(data, length, &mut pixels)?,
        b'2' | b'3' => plain(data, length, max, &mut pixels)?,
        b'4' => {
            for row in data.chunks(width.div_ceil(8)).take(height) {
                let bits = super::png::samples(row, 1).take(width);
                pixels.extend(bits.map(|bit| if bit == 0 { 255 } else { 0 }));
            }
        }
        _ if max == 255 => pixels.extend(data.iter().take(length)),
        _ if max < 256 => pixels.extend(
            data.iter()
                .take(length)
                .map(|&value| scaled(value.into(), max)),
        ),
        _ => {
            let values = data.as_chunks().0.iter().take(length);
            pixels.extend(values.map(|&value| scaled(u16::from_be_bytes(value), max)));
        }
    }
    let is_truncated = pixels.len() < length;
    if is_truncated && !accept_truncated {
        return Err(Fault::Truncated);
    }
    pixels.resize(length, 0);
    finished(width, height, channels, pixels, is_truncated)
}

/// Scales 0..=`max` to 0..=255. Halves round to even, as in Python.
fn scaled(value: u16, max: u16) -> u8 {
    let value = f64::from(value) / f64::from(max) * 255.0;
    value.round_ties_even().min(255.0) as u8
}

fn header_side(bytes: &mut Bytes) -> Result<usize, Fault> {
    let number = header_number(bytes)?;
    side(u32::try_from(number).unwrap_or(if number < 0 { 0 } else { u32::MAX }))
}

fn header_number(bytes: &mut Bytes) -> Result<i64, Fault> {
    let mut token = Vec::new();
    while token.len() <= MAX_TOKEN {
        match bytes.u8() {
            Err(_) => break,
            Ok(byte) if is_space(byte) => {
                if !token.is_empty() {
                    break;
                }
            }
            Ok(b'#') => while !matches!(bytes.u8(), Ok(b'\r' | b'\n') | Err(_)) {},
            Ok(byte) => token.push(byte),
        }
    }
    if token.is_empty() {
        return Err(Fault::Truncated);
    }
    number(&token)
}

fn number(token: &[u8]) -> Result<i64, Fault> {
    let text = std::str::from_utf8(token)
        .ok()
        .filter(|_| token.len() <= MAX_TOKEN);
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let token = token[..token.len().min(MAX_TOKEN)].escape_ascii();
        Fault::Damaged(format!("`{token}` is no number"))
    })
}

/// The bytes of plain data, without comments and the line ends after them.
fn without_comments(data: &[u8]) -> impl Iterator<Item = u8> {
    let mut in_comment = false;
    data.iter().copied().filter(move |&byte| {
        let was_in_comment = in_comment;
        in_comment = match was_in_comment {
            true => !matches!(byte, b'\r' | b'\n'),
            false => byte == b'#',
        };
        !was_in_comment && !in_comment
    })
}

fn plain_bits(data: &[u8], length: usize, pixels: &mut Vec<u8>) -> Result<(), Fault> {
    for byte in without_comments(data).filter(|&byte| !is_space(byte)) {
        match byte {
            b'0' | b'1' if pixels.len() == length => {}
            b'0' => pixels.push(255),
            b'1' => pixels.push(0),
            other => {
                let other = [other];
                return Err(Fault::Damaged(format!(
                    "`{}` is no bit",
                    other.escape_ascii()
                )));
            }
        }
    }
    Ok(())
}

fn plain(data: &[u8], length: usize, max: u16, pixels: &mut Vec<u8>) -> Result<(), Fault> {
    let mut token = Vec::with_capacity(MAX_TOKEN + 1);
    // A space is added so that the last number has an end.
    for byte in without_comments(data).chain([b' ']) {
        if !is_space(byte) {
            if token.len() <= MAX_TOKEN {
                token.push(byte);
            }
            continue;
        }
        if token.is_empty() {
            continue;
        }
        if pixels.len() == length {
            break;
        }
        let value = number(&token)?;
        let value = u16::try_from(value).ok().filter(|&value| value <= max);
        let problem = || Fault::Damaged(format!("a value is not from 0 to {max}"));
        pixels.push(scaled(value.ok_or_else(problem)?, max));
        token.clear();
    }
    Ok(())
}
