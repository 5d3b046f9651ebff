//! Decodes bits to blocks of coefficients, as jdhuff.c and jdphuff.c do.

use super::frame::{Frame, Scan};
use super::huffman::Table;
use super::markers::{Tables, ZIGZAG};
use super::reader::Reader;
use crate::fault::Fault;

/// A block of coefficients in rows of eight.
pub(super) type Block = [i16; 64];

/// The kind of a scan.
enum Kind {
    /// A sequential scan: all coefficients at once.
    Sequential,
    DcFirst,
    DcRefined,
    AcFirst,
    AcRefined,
}

/// The decoder of a scan's blocks.
pub(super) struct Entropy {
    kind: Kind,
    dc: Vec<Option<Table>>,
    ac: Vec<Option<Table>>,
    /// The last DC value of each colour in the scan.
    last_dc: [i32; 4],
    /// The number of following blocks without new coefficients in this band.
    band_ends: u32,
    first: usize,
    last: usize,
    low: u8,
    restart_interval: u32,
    restarts_to_go: u32,
    next_restart: u8,
    /// Whether the current MCU is skipped because its segment has no more data.
    skip: bool,
}

impl Entropy {
    pub(super) fn new(tables: &Tables, frame: &Frame, scan: &Scan) -> Result<Self, Fault> {
        let kind = Kind::of(frame, scan)?;
        let needs = |is_dc: bool| match kind {
            Kind::Sequential => true,
            Kind::DcFirst => is_dc,
            Kind::DcRefined => false,
            Kind::AcFirst | Kind::AcRefined => !is_dc,
        };
        let table = |is_dc: bool, number: u8| -> Result<Option<Table>, Fault> {
            if !needs(is_dc) {
                return Ok(None);
            }
            let of = if is_dc { &tables.dc } else { &tables.ac };
            let definition = of.get(usize::from(number)).and_then(Option::as_ref);
            let missing = || Fault::damaged("a scan refers to a missing Huffman table");
            Table::new(definition.ok_or_else(missing)?, is_dc).map(Some)
        };
        let parts = scan.parts.iter();
        Ok(Self {
            dc: parts
                .clone()
                .map(|part| table(true, part.dc_table))
                .collect::<Result<_, _>>()?,
            ac: parts
                .map(|part| table(false, part.ac_table))
                .collect::<Result<_, _>>()?,
            kind,
            last_dc: [0; 4],
            band_ends: 0,
            first: scan.first.into(),
            last: scan.last.into(),
            low: scan.low,
            restart_interval: tables.restart_interval,
            restarts_to_go: tables.restart_interval,
            next_restart: 0,
            skip: false,
        })
    }

    /// Call this before decoding the blocks of each MCU.
    #[inline]
    pub(super) fn start_mcu(&mut self, reader: &mut Reader) {
        if self.restart_interval > 0 {
            if self.restarts_to_go == 0 {
                reader.restart(self.next_restart);
                self.next_restart = (self.next_restart + 1) & 7;
                (self.last_dc, self.band_ends) = ([0; 4], 0);
                self.restarts_to_go = self.restart_interval;
            }
            self.restarts_to_go -= 1;
        }
        self.skip = reader.insufficient && !matches!(self.kind, Kind::DcRefined);
    }

    /// Decodes the next block of one of the scan's colours.
    pub(super) fn block(
        &mut self,
        reader: &mut Reader,
        part: usize,
        block: &mut Block,
    ) -> Result<(), Fault> {
        if self.skip {
            return Ok(());
        }
        match (&self.kind, &self.dc[part], &self.ac[part]) {
            (Kind::Sequential, ..) => {
                self.sequential(reader, part, block);
            }
            (Kind::DcFirst, Some(dc), _) => {
                let difference = reader.symbol(dc);
                let difference = reader.signed(difference.into());
                let value = self.last_dc[part].checked_add(difference);
                let value = value.ok_or_else(|| Fault::damaged("its coefficients overflow"))?;
                self.last_dc[part] = value;
                block[0] = (value << self.low) as i16;
            }
            (Kind::DcRefined, ..) => block[0] |= (reader.bits(1) << self.low) as i16,
            (Kind::AcFirst, _, Some(ac)) => self.band_ends = self.ac_first(reader, ac, block),
            (Kind::AcRefined, _, Some(ac)) => self.band_ends = self.ac_refined(reader, ac, block),
            _ => {}
        }
        Ok(())
    }

    /// Decodes the next block of a sequential image. Returns whether coefficients after the first may be non-zero.
    #[inline(always)]
    pub(super) fn sequential(
        &mut self,
        reader: &mut Reader,
        part: usize,
        block: &mut Block,
    ) -> bool {
        let (false, Some(dc), Some(ac)) = (self.skip, &self.dc[part], &self.ac[part]) else {
            return false;
        };
        let mut bits = reader.bits;
        let (_, difference) = reader.number(&mut bits, dc);
        self.last_dc[part] = self.last_dc[part].wrapping_add(difference);
        block[0] = self.last_dc[part] as i16;
        let mut more = false;
        let mut k = 1;
        while k < 64 {
            let (symbol, value) = reader.number(&mut bits, ac);
            if symbol & 15 > 0 {
                k += usize::from(symbol >> 4);
                block[usize::from(ZIGZAG[k])] = value as i16;
                more = true;
            } else if symbol == 0xF0 {
                k += 15;
            } else {
                break;
            }
            k += 1;
        }
        reader.bits = bits;
        more
    }

    /// Decodes a block of a progressive scan's band. Returns the number of following blocks without new coefficients.
    fn ac_first(&self, reader: &mut Reader, table: &Table, block: &mut Block) -> u32 {
        if self.band_ends > 0 {
            return self.band_ends - 1;
        }
        let mut k = self.first;
        while k <= self.last {
            let symbol = reader.symbol(table);
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size > 0 {
                k += run as usize;
                block[usize::from(ZIGZAG[k])] = (reader.signed(size) << self.low) as i16;
            } else if run == 15 {
                k += 15;
            } else {
                return (1 << run) - 1 + reader.bits(run) as u32;
            }
            k += 1;
        }
        0
    }

    fn ac_refined(&self, reader: &mut Reader, table: &Table, block: &mut Block) -> u32 {
        let plus = (1_i32 << self.low) as i16;
        let mut k = self.first;
        let mut band_ends = self.band_ends;
        if band_ends == 0 {
            while k <= self.last {
                let symbol = reader.symbol(table);
                let (run, size) = (u32::from(symbol >> 4), symbol & 15);
                let mut value = 0;
                if size > 0 {
                    value = if reader.bits(1) == 1 { plus } else { -plus };
                } else if run < 15 {
                    band_ends = (1 << run) + reader.bits(run) as u32;
                    break;
                }
                k = self.refine(reader, block, k, Some(run), plus);
                if value != 0 {
                    block[usize::from(ZIGZAG[k])] = value;
                }
                k += 1;
            }
        }
        if band_ends == 0 {
            return 0;
        }
        self.refine(reader, block, k, None, plus);
        band_ends - 1
    }

    /// Refines the non-zero coefficients from index `k` on by one bit. With `zeros`, skips this many zero coefficients
    /// and stops at the next one. Returns the index where it stopped.
    fn refine(
        &self,
        reader: &mut Reader,
        block: &mut Block,
        mut k: usize,
        zeros: Option<u32>,
        plus: i16,
    ) -> usize {
        let mut zeros = zeros;
        while k <= self.last {
            let value = &mut block[usize::from(ZIGZAG[k])];
            if *value != 0 {
                if reader.bits(1) == 1 && *value & plus == 0 {
                    *value = value.wrapping_add(if *value >= 0 { plus } else { -plus });
                }
            } else if let Some(left) = &mut zeros {
                match left.checked_sub(1) {
                    Some(less) => *left = less,
                    None => break,
                }
            }
            k += 1;
        }
        k
    }
}

impl Kind {
    fn of(frame: &Frame, scan: &Scan) -> Result<Self, Fault> {
        // The parameters of a sequential frame's scan are ignored, since such a scan contains all coefficients.
        if !frame.progressive {
            return Ok(Self::Sequential);
        }
        let is_dc = scan.first == 0;
        let band = match is_dc {
            true => scan.last == 0,
            false => scan.first <= scan.last && scan.last < 64 && scan.parts.len() == 1,
        };
        let refined = scan.high != 0;
        if !band || scan.low > 13 || (refined && scan.low != scan.high - 1) {
            return Err(Fault::damaged("a scan is not valid in a progressive image"));
        }
        Ok(match (is_dc, refined) {
            (true, false) => Self::DcFirst,
            (true, true) => Self::DcRefined,
            (false, false) => Self::AcFirst,
            (false, true) => Self::AcRefined,
        })
    }
}
