//! Reads a JPEG file: bytes, markers, and the bits between markers.
//!
//! Damaged data is read as in libjpeg (jdhuff.c, jdmarker.c): a marker ends the bits of a segment,
//! and missing bits are zeros.

use super::huffman::Table;
use crate::fault::Fault;

/// End of image.
pub(super) const EOI: u8 = 0xD9;
/// The first of the eight restart markers.
const RST0: u8 = 0xD0;
const RST7: u8 = 0xD7;
const SOF0: u8 = 0xC0;
/// The number of bits in a full buffer.
const FULL: u32 = 57;

/// A position in a file, with the bits read ahead of it.
pub(super) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    /// A marker that was read but not processed yet; 0 for none.
    pub(super) marker: u8,
    /// Whether the file's end was reached. The end then counts as an end marker.
    pub(super) ended: bool,
    /// Whether, since the last restart, a segment had fewer bits than its blocks need.
    pub(super) insufficient: bool,
    /// Whether bits beyond the file's end were needed.
    pub(super) truncated: bool,
    pub(super) bits: Bits,
}

/// Bits read ahead.
#[derive(Clone, Copy, Default)]
pub(super) struct Bits {
    /// The bits, from the high end; zeros follow the unused ones.
    buffer: u64,
    /// The number of unused bits.
    left: u32,
}

impl Bits {
    /// The next `count` bits of the buffer.
    #[inline(always)]
    fn take(&mut self, count: u32) -> i32 {
        let value = self.buffer >> 1 >> (63 - count);
        self.skip(count);
        value as i32
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.left -= count;
    }

    /// Appends `count` bits to the buffer.
    #[inline(always)]
    fn push(&mut self, bits: u64, count: u32) {
        self.buffer |= bits << (64 - count - self.left);
        self.left += count;
    }
}

/// `HUFF_EXTEND`: a signed number of `size` bits.
#[inline(always)]
fn extend(value: i32, size: u32) -> i32 {
    let half = (1 << size) >> 1;
    if value < half {
        value + 1 - (1 << size)
    } else {
        value
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            marker: 0,
            ended: false,
            insufficient: false,
            truncated: false,
            bits: Bits::default(),
        }
    }

    /// The next byte of a marker's segment.
    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        let byte = self.data.get(self.at).copied().ok_or(Fault::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// The length of a table segment's contents.
    pub(super) fn table_length(&mut self) -> Result<usize, Fault> {
        let length = usize::from(self.u16()?).checked_sub(2);
        length.ok_or_else(|| Fault::damaged("a segment's length is wrong"))
    }

    /// The length of a segment's contents; a length below 2 means none.
    pub(super) fn length(&mut self) -> Result<usize, Fault> {
        Ok(usize::from(self.u16()?).saturating_sub(2))
    }

    /// The next bytes of a segment; fewer at the file's end.
    pub(super) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let rest = self.data.get(self.at..).unwrap_or_default();
        self.at += count;
        &rest[..count.min(rest.len())]
    }

    /// Skips to the next marker, unless one is pending.
    pub(super) fn next_marker(&mut self) {
        if self.marker != 0 {
            return;
        }
        loop {
            let rest = self.data.get(self.at..).unwrap_or_default();
            let Some(ff) = rest.iter().position(|&byte| byte == 0xFF) else {
                return self.end();
            };
            let Some(code) = rest[ff..].iter().position(|&byte| byte != 0xFF) else {
                return self.end();
            };
            let code = ff + code;
            self.at += code + 1;
            if rest[code] != 0 {
                self.marker = rest[code];
                return;
            }
        }
    }

    fn end(&mut self) {
        self.at = self.data.len();
        self.marker = EOI;
        self.ended = true;
    }

    /// Resets the bits at the beginning of a scan.
    pub(super) fn start_bits(&mut self) {
        (self.bits, self.insufficient) = (Bits::default(), false);
    }

    /// Skips restart marker number `expected`, or resynchronises if it is missing:
    /// `jpeg_resync_to_restart`.
    pub(super) fn restart(&mut self, expected: u8) {
        self.bits = Bits::default();
        self.next_marker();
        let restart = |offset: u8| RST0 + (expected.wrapping_add(offset) & 7);
        loop {
            let marker = self.marker;
            let is_restart = (RST0..=RST7).contains(&marker);
            if marker < SOF0 || (is_restart && (marker == restart(7) || marker == restart(6))) {
                // The marker is none of an image's, or an earlier restart: it is skipped.
                self.marker = 0;
                self.next_marker();
                continue;
            }
            // A marker that is one or two restarts ahead, or of another kind, stays pending: this segment has no data.
            if is_restart && marker != restart(1) && marker != restart(2) {
                self.marker = 0;
            }
            break;
        }
        if self.marker == 0 {
            self.insufficient = false;
        }
    }

    /// Fills the buffer. If a marker or the file's end leaves fewer than `needed` bits, zeros are
    /// added.
    #[inline]
    fn fill(&mut self, needed: u32) {
        if self.marker == 0
            && self.bits.left <= 32
            && let Some(chunk) = self.data.get(self.at..self.at + 4)
        {
            let word = u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
            // None of the eight bytes is 0xFF.
            if word & 0x8080_8080 & (!word).wrapping_sub(0x0101_0101) == 0 {
                self.bits.push(word.into(), 32);
                self.at += 4;
                return;
            }
        }
        self.fill_bytewise(needed);
    }

    #[cold]
    #[inline(never)]
    fn fill_bytewise(&mut self, needed: u32) {
        while self.marker == 0 && self.bits.left < FULL {
            match self.data.get(self.at) {
                Some(0xFF) => match self.data.get(self.at + 1) {
                    Some(0) => {
                        self.at += 2;
                        self.bits.push(0xFF, 8);
                    }
                    _ => self.fill_after_many_ff(),
                },
                Some(&byte) => {
                    self.at += 1;
                    self.bits.push(byte.into(), 8);
                }
                None => self.end(),
            }
        }
        if needed > self.bits.left {
            self.insufficient = true;
            self.truncated |= self.ended;
            self.bits.left = FULL;
        }
    }

    /// This is a marker, or a data byte of 0xFF after padding bytes of 0xFF.
    fn fill_after_many_ff(&mut self) {
        let rest = &self.data[self.at..];
        let Some(code) = rest.iter().position(|&byte| byte != 0xFF) else {
            return self.end();
        };
        self.at += code + 1;
        if rest[code] == 0 {
            self.bits.push(0xFF, 8);
        } else {
            self.marker = rest[code];
        }
    }

    /// The next `count` bits, at most 16.
    #[inline]
    pub(super) fn bits(&mut self, count: u32) -> i32 {
        if self.bits.left < count {
            self.fill(count);
        }
        self.bits.take(count)
    }

    /// `HUFF_EXTEND`: the next `size` bits as a signed number.
    #[inline]
    pub(super) fn signed(&mut self, size: u32) -> i32 {
        extend(self.bits(size), size)
    }

    /// The next symbol of a Huffman code, and the number after it, with as many bits as the symbol's lower half. The
    /// bits are taken from `bits` instead of the reader's own buffer.
    #[inline(always)]
    pub(super) fn number(&mut self, bits: &mut Bits, table: &Table) -> (u8, i32) {
        if bits.left < Table::MOST {
            self.bits = *bits;
            self.fill(0);
            *bits = self.bits;
        }
        if bits.left >= Table::MOST {
            let (length, symbol) = table.look_up(bits.buffer);
            if length > 0 {
                let size = u32::from(symbol & 15);
                let value = bits.buffer << (length - size) >> 1 >> (63 - size);
                bits.skip(length);
                return (symbol, extend(value as i32, size));
            }
        }
        self.bits = *bits;
        let symbol = self.symbol(table);
        let value = self.signed(u32::from(symbol & 15));
        *bits = self.bits;
        (symbol, value)
    }

    /// The next symbol of a Huffman code; an unknown code gives symbol 0.
    pub(super) fn symbol(&mut self, table: &Table) -> u8 {
        if self.bits.left < Table::LOOK {
            self.fill(0);
            if self.bits.left < Table::LOOK {
                return self.long_symbol(table, 1);
            }
        }
        let (length, symbol) = table.look_up(self.bits.buffer);
        if length == 0 {
            return self.long_symbol(table, Table::LOOK + 1);
        }
        self.bits.skip(length - u32::from(symbol & 15));
        symbol
    }

    /// The next symbol, if its code has at least `length` bits.
    #[cold]
    #[inline(never)]
    fn long_symbol(&mut self, table: &Table, mut length: u32) -> u8 {
        let mut code = self.bits(length);
        while length <= 16 && code > table.last_code(length) {
            code = code << 1 | self.bits(1);
            length += 1;
        }
        table.symbol(code, length)
    }
}
