//! The first frame of a GIF on its canvas, as in Pillow (`GifImagePlugin.py`, `GifDecode.c`).
//!
//! Pixels of the canvas outside the frame get the frame's transparent colour, or else colour 0.

use super::bytes::Bytes;
use super::{Palette, finished, palette_of, side};
use crate::decode::Decoded;
use crate::fault::{Fault, Limit};

/// The largest number of codes: codes have at most 12 bits.
const TABLE: usize = 1 << 12;

/// Whether a file begins like a GIF.
pub(super) fn is_gif(bytes: &[u8]) -> bool {
    bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a")
}

/// A frame's header.
struct Frame<'a> {
    /// Width and height of the canvas.
    width: usize,
    height: usize,
    /// Left, top, width and height of the frame on the canvas.
    place: [usize; 4],
    interlaced: bool,
    /// The palette; `None` if colour indices are gray levels.
    palette: Option<Palette>,
    background: u8,
    /// The initial code length in bits, minus one.
    code_bits: u8,
    data: Bytes<'a>,
}

/// Decodes into the buffer `pixels`, whose old contents are ignored.
pub(super) fn decode(
    bytes: &[u8],
    mut pixels: Vec<u8>,
    accept_truncated: bool,
    limit: Limit,
) -> Result<Decoded, Fault> {
    let frame = Frame::read(bytes)?;
    let (width, height) = (frame.width, frame.height);
    let channels = if frame.palette.is_some() { 3 } else { 1 };
    let length = width * height * channels;
    let [.., columns, _] = frame.place;
    limit.check(
        width as u64,
        height as u64,
        Some((bytes.len() + length + columns + (1 << 16)) as u64),
    )?;
    let colour = |index: u8| {
        frame
            .palette
            .as_ref()
            .map_or([index; 3], |palette| palette[usize::from(index)])
    };
    let background = colour(frame.background);
    pixels.clear();
    pixels.resize(length, background[0]);
    if channels == 3 {
        pixels.as_chunks_mut::<3>().0.fill(background);
    }
    let mut lzw = Lzw::new(frame.code_bits)?;
    let mut codes = Codes::new(frame.data);
    let [left, top, columns, rows] = frame.place;
    let mut row = vec![0; columns];
    for y in row_order(rows, frame.interlaced) {
        let is_whole = lzw.fill(&mut codes, &mut row)?;
        if !is_whole && !accept_truncated {
            return Err(Fault::Truncated);
        }
        let start = ((top + y) * width + left) * channels;
        let out = &mut pixels[start..start + columns * channels];
        if !is_whole {
            return finished(width, height, channels, pixels, true);
        }
        match channels {
            1 => out.copy_from_slice(&row),
            _ => out
                .as_chunks_mut::<3>()
                .0
                .iter_mut()
                .zip(&row)
                .for_each(|(out, &index)| *out = colour(index)),
        }
    }
    finished(width, height, channels, pixels, false)
}

/// The frame's rows in the order of the file.
fn row_order(rows: usize, interlaced: bool) -> impl Iterator<Item = usize> {
    let passes: &[(usize, usize)] = match interlaced {
        true => &[(0, 8), (4, 8), (2, 4), (1, 2)],
        false => &[(0, 1)],
    };
    passes
        .iter()
        .flat_map(move |&(first, step)| (first..rows).step_by(step))
}

impl<'a> Frame<'a> {
    fn read(file: &'a [u8]) -> Result<Self, Fault> {
        let mut bytes = Bytes::new(file);
        bytes.seek(6);
        let mut canvas = [usize::from(bytes.u16_le()?), usize::from(bytes.u16_le()?)];
        let [flags, ..]: [u8; 3] = bytes.array()?;
        let global = palette(&mut bytes, flags);
        let mut transparent = None;
        loop {
            match bytes.u8()? {
                b';' => return Err(Fault::damaged("it holds no frame")),
                b'!' => extension(&mut bytes, &mut transparent)?,
                b',' => break,
                _ => {}
            }
        }
        let [left, top, columns, rows] = [
            bytes.u16_le()?,
            bytes.u16_le()?,
            bytes.u16_le()?,
            bytes.u16_le()?,
        ]
        .map(usize::from);
        let flags = bytes.u8()?;
        let palette = if flags & 0x80 != 0 {
            palette(&mut bytes, flags)
        } else {
            global
        };
        if columns == 0 || rows == 0 {
            return Err(Fault::damaged("its first frame is empty"));
        }
        canvas = [canvas[0].max(left + columns), canvas[1].max(top + rows)];
        Ok(Self {
            width: side(canvas[0] as u32)?,
            height: side(canvas[1] as u32)?,
            place: [left, top, columns, rows],
            interlaced: flags & 0x40 != 0,
            palette,
            background: transparent.unwrap_or(0),
            code_bits: bytes.u8()?,
            data: bytes,
        })
    }
}

/// Reads a palette, if `flags` says that there is one. `None` also for the gray ramp.
fn palette(bytes: &mut Bytes, flags: u8) -> Option<Palette> {
    if flags & 0x80 == 0 {
        return None;
    }
    let given = bytes.up_to(3 << ((flags & 7) + 1));
    let grays = (0..=255).map(|gray| [gray; 3]);
    let is_gray = given
        .as_chunks::<3>()
        .0
        .iter()
        .copied()
        .eq(grays.take(given.len() / 3));
    (!is_gray).then(|| palette_of(given))
}

/// The next block of an extension; `None` at its end.
fn block<'a>(bytes: &mut Bytes<'a>) -> Option<&'a [u8]> {
    match bytes.u8() {
        Ok(0) | Err(_) => None,
        Ok(length) => Some(bytes.up_to(length.into())),
    }
}

fn extension(bytes: &mut Bytes, transparent: &mut Option<u8>) -> Result<(), Fault> {
    let kind = bytes.u8()?;
    let first = block(bytes);
    match (kind, first) {
        (0xF9, Some(control)) => {
            let [flags, _, _, index] = match *control {
                [flags, a, b, index, ..] => [flags, a, b, index],
                [flags, a, b] if flags & 1 == 0 => [flags, a, b, 0],
                _ => return Err(Fault::Truncated),
            };
            if flags & 1 != 0 {
                *transparent = Some(index);
            }
        }
        (0xFE, None) => return Ok(()),
        (0xFF, Some(name)) if name.starts_with(b"NETSCAPE2.0") => {
            block(bytes);
        }
        _ => {}
    }
    while block(bytes).is_some_and(|block| !block.is_empty()) {}
    Ok(())
}

/// Reads bits from the blocks; the lowest bit of a byte comes first.
struct Codes<'a> {
    bytes: Bytes<'a>,
    block: &'a [u8],
    buffer: u32,
    left: u32,
}

impl<'a> Codes<'a> {
    fn new(bytes: Bytes<'a>) -> Self {
        Self {
            bytes,
            block: &[],
            buffer: 0,
            left: 0,
        }
    }

    /// The next code; `None` at the file's end.
    fn next(&mut self, bits: u32) -> Option<usize> {
        while self.left < bits {
            let Some((&byte, rest)) = self.block.split_first() else {
                let length = self.bytes.u8().ok()?;
                self.block = self.bytes.take(length.into()).ok()?;
                continue;
            };
            self.block = rest;
            self.buffer |= u32::from(byte) << self.left;
            self.left += 8;
        }
        let code = self.buffer & ((1 << bits) - 1);
        self.buffer >>= bits;
        self.left -= bits;
        Some(code as usize)
    }
}

/// The value of `previous` if there is no previous code.
const NONE: usize = usize::MAX;

/// The decoder of Lempel-Ziv-Welch compression.
struct Lzw {
    clear: usize,
    first_bits: u32,
    bits: u32,
    /// The next code that will be defined.
    next: usize,
    last_code: usize,
    /// The first byte of the last code.
    last_byte: u8,
    /// The previous code and the last byte of each code.
    table: Vec<(u16, u8)>,
    /// Expanded bytes not yet returned, in reverse order.
    pending: Vec<u8>,
}

impl Lzw {
    fn new(code_bits: u8) -> Result<Self, Fault> {
        if code_bits > 12 {
            return Err(Fault::damaged("its codes have more than 12 bits"));
        }
        let first_bits = u32::from(code_bits) + 1;
        Ok(Self {
            clear: 1 << code_bits,
            first_bits,
            bits: first_bits,
            next: (1 << code_bits) + 2,
            last_code: NONE,
            last_byte: 0,
            table: vec![(0, 0); TABLE],
            pending: Vec::with_capacity(TABLE),
        })
    }

    /// Fills a row with decoded bytes. Returns whether there was enough data.
    fn fill(&mut self, codes: &mut Codes, row: &mut [u8]) -> Result<bool, Fault> {
        let mut done = 0;
        while done < row.len() {
            if self.pending.is_empty() && !self.expand(codes)? {
                return Ok(false);
            }
            let count = self.pending.len().min(row.len() - done);
            let first = self.pending.len() - count;
            for (out, byte) in row[done..done + count]
                .iter_mut()
                .zip(self.pending.drain(first..).rev())
            {
                *out = byte;
            }
            done += count;
        }
        Ok(true)
    }

    /// Expands the next code. Returns false at the end of data.
    fn expand(&mut self, codes: &mut Codes) -> Result<bool, Fault> {
        let broken = || Fault::damaged("its compressed data is broken");
        loop {
            let Some(code) = codes.next(self.bits) else {
                return Ok(false);
            };
            if code == self.clear {
                if self.last_code != NONE {
                    (self.bits, self.next, self.last_code) =
                        (self.first_bits, self.clear + 2, NONE);
                }
                continue;
            }
            if code == self.clear + 1 {
                return Ok(false);
            }
            if self.last_code == NONE {
                // The first code after a reset is a literal.
                if code > self.clear {
                    return Err(broken());
                }
                (self.last_code, self.last_byte) = (code, code as u8);
                self.pending.push(self.last_byte);
                return Ok(true);
            }
            if code > self.next {
                return Err(broken());
            }
            let mut at = code;
            if code == self.next {
                self.pending.push(self.last_byte);
                at = self.last_code;
            }
            while at >= self.clear {
                if self.pending.len() >= TABLE || at >= TABLE {
                    return Err(broken());
                }
                let (before, byte) = self.table[at];
                self.pending.push(byte);
                at = before.into();
            }
            self.last_byte = at as u8;
            self.pending.push(self.last_byte);
            self.learn(code);
            return Ok(true);
        }
    }

    fn learn(&mut self, code: usize) {
        if self.next < TABLE {
            self.table[self.next] = (self.last_code as u16, self.last_byte);
            if self.next == (1 << self.bits) - 1 && self.bits < 12 {
                self.bits += 1;
            }
            self.next += 1;
        }
        self.last_code = code;
    }
}
