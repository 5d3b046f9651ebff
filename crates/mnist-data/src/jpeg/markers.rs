//! Reads the segments before and between scans, as jdmarker.c does.

use super::frame::{Frame, Scan};
use super::huffman::{Definition, standard};
use super::reader::{EOI, Reader};
use crate::fault::Fault;

/// Maps a coefficient's index in the file to its index in rows of eight. 16 extra entries are for damaged files with
/// runs that are too long.
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 80] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14,
    21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53,
    60, 61, 54, 47, 55, 62, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
];

/// The definitions of the segments read so far.
#[derive(Default)]
pub(super) struct Tables {
    /// The quantisation tables, in rows of eight.
    pub(super) quantisation: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Definition>; 4],
    pub(super) ac: [Option<Definition>; 4],
    /// The number of MCUs between restart markers; 0 without restarts.
    pub(super) restart_interval: u32,
    pub(super) jfif: bool,
    /// The colour transform in Adobe's segment.
    pub(super) adobe: Option<u8>,
    saw_start: bool,
}

/// The marker that ends a sequence of segments.
pub(super) enum Next {
    Frame(Frame),
    Scan(Scan),
    /// The end marker.
    End,
}

impl Tables {
    /// Reads segments up to the next frame or scan or the end. `frame` is the previous frame.
    pub(super) fn read(
        &mut self,
        reader: &mut Reader,
        frame: Option<&Frame>,
    ) -> Result<Next, Fault> {
        loop {
            reader.next_marker();
            match reader.marker {
                0xD8 if self.saw_start => return Err(Fault::damaged("it has two start markers")),
                0xD8 => self.saw_start = true,
                sof @ 0xC0..=0xC2 if frame.is_none() => {
                    let frame = Frame::read(reader, sof == 0xC2)?;
                    reader.marker = 0;
                    return Ok(Next::Frame(frame));
                }
                0xC0..=0xC2 => return Err(Fault::damaged("it has two frames")),
                0xC4 => self.huffman(reader)?,
                0xDB => self.quantisation(reader)?,
                0xDD => self.restart_interval(reader)?,
                0xE0 => self.app0(reader)?,
                0xEE => self.app14(reader)?,
                // Segments that are skipped: of other applications, comments, and the number of lines.
                0xE1..=0xED | 0xEF | 0xFE | 0xDC | 0xCC => {
                    let length = reader.length()?;
                    reader.bytes(length);
                }
                0xD0..=0xD7 | 0x01 => {}
                0xDA => {
                    let frame = frame.ok_or_else(|| Fault::damaged("a scan without a frame"))?;
                    let scan = Scan::read(reader, frame)?;
                    reader.marker = 0;
                    return Ok(Next::Scan(scan));
                }
                EOI if reader.ended => return Err(Fault::Truncated),
                EOI => return Ok(Next::End),
                0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => {
                    let problem =
                        "it is a lossless, arithmetic or hierarchical JPEG, which is not supported";
                    return Err(Fault::damaged(problem));
                }
                other => {
                    return Err(Fault::Damaged(format!(
                        "its marker {other:#04x} is unknown"
                    )));
                }
            }
            reader.marker = 0;
        }
    }

    fn huffman(&mut self, reader: &mut Reader) -> Result<(), Fault> {
        let mut length = reader.table_length()?;
        while length > 16 {
            let index = reader.byte()?;
            let mut counts = [0; 16];
            for count in &mut counts {
                *count = reader.byte()?;
            }
            length -= 17;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            if total > 256 || total > length {
                return Err(Fault::damaged("a Huffman table has too many codes"));
            }
            length -= total;
            let mut symbols = [0; 256];
            for symbol in &mut symbols[..total] {
                *symbol = reader.byte()?;
            }
            let tables = match index & 0x10 {
                0 => &mut self.dc,
                _ => &mut self.ac,
            };
            let table = tables.get_mut(usize::from(index & !0x10));
            let table =
                table.ok_or_else(|| Fault::damaged("a Huffman table's number is above 3"))?;
            *table = Some(Definition { counts, symbols });
        }
        at_end(length)
    }

    fn quantisation(&mut self, reader: &mut Reader) -> Result<(), Fault> {
        let mut length = reader.table_length()?;
        while length > 0 {
            let kind = reader.byte()?;
            let table = self.quantisation.get_mut(usize::from(kind & 0x0F));
            let table =
                table.ok_or_else(|| Fault::damaged("a quantisation table's number is above 3"))?;
            let values = table.insert([0; 64]);
            for &place in &ZIGZAG[..64] {
                values[usize::from(place)] = match kind >> 4 {
                    0 => reader.byte()?.into(),
                    _ => reader.u16()?,
                };
            }
            let taken = if kind >> 4 == 0 { 65 } else { 129 };
            let left = length.checked_sub(taken);
            length = left.ok_or_else(|| Fault::damaged("a quantisation table is too short"))?;
        }
        Ok(())
    }

    fn restart_interval(&mut self, reader: &mut Reader) -> Result<(), Fault> {
        let length = reader.u16()?;
        self.restart_interval = reader.u16()?.into();
        at_end(usize::from(length.abs_diff(4)))
    }

    fn app0(&mut self, reader: &mut Reader) -> Result<(), Fault> {
        let length = reader.length()?;
        let data = reader.bytes(length);
        self.jfif |= data.len() >= 14 && data.starts_with(b"JFIF\0");
        Ok(())
    }

    fn app14(&mut self, reader: &mut Reader) -> Result<(), Fault> {
        let length = reader.length()?;
        let data = reader.bytes(length);
        if data.len() >= 12 && data.starts_with(b"Adobe") {
            self.adobe = Some(data[11]);
        }
        Ok(())
    }

    /// Adds the standard's Huffman tables if the file has none, as in frames of Motion JPEG.
    pub(super) fn complete(&mut self) {
        let [dc, ac] = standard();
        for (tables, standard) in [(&mut self.dc, dc), (&mut self.ac, ac)] {
            for (table, standard) in tables.iter_mut().zip(standard) {
                table.get_or_insert(standard);
            }
        }
    }
}

fn at_end(length: usize) -> Result<(), Fault> {
    match length {
        0 => Ok(()),
        _ => Err(Fault::damaged("a segment's length is wrong")),
    }
}
