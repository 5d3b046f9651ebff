//! Frame and scan headers.

use super::reader::Reader;
use crate::fault::{Fault, side};

/// The most blocks an MCU may have.
const MAX_BLOCKS: usize = 10;

/// A colour component of an image.
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors, 1 to 4.
    pub(super) h: usize,
    pub(super) v: usize,
    pub(super) quantisation: u8,
    /// The size of the colour in samples.
    pub(super) width: usize,
    pub(super) height: usize,
    /// The size of the colour in blocks of 8 × 8 samples.
    pub(super) blocks_wide: usize,
    pub(super) blocks_high: usize,
}

/// An image: its size and colours.
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) progressive: bool,
    /// The colours: 1, 3 or 4.
    pub(super) components: Vec<Component>,
    /// The largest sampling factors of any colour.
    pub(super) h: usize,
    pub(super) v: usize,
}

impl Frame {
    pub(super) fn read(reader: &mut Reader, progressive: bool) -> Result<Self, Fault> {
        let length = reader.length()?;
        let precision = reader.byte()?;
        let (height, width) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
        let count = usize::from(reader.byte()?);
        if precision != 8 || !matches!(count, 1 | 3 | 4) || length != 6 + 3 * count {
            let problem =
                format!("{count} colours of {precision} bits; 1, 3 or 4 of 8 bits are supported");
            return Err(Fault::Damaged(problem));
        }
        side(width as u32)?;
        side(height as u32)?;
        let mut components = Vec::new();
        for _ in 0..count {
            let (id, sampling, quantisation) = (reader.byte()?, reader.byte()?, reader.byte()?);
            let (h, v) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
                return Err(Fault::damaged("a sampling factor is not from 1 to 4"));
            }
            components.push(Component {
                id,
                h,
                v,
                quantisation,
                width: 0,
                height: 0,
                blocks_wide: 0,
                blocks_high: 0,
            });
        }
        let largest = |factor: fn(&Component) -> usize| components.iter().map(factor).max();
        let h = largest(|component| component.h).unwrap_or(1);
        let v = largest(|component| component.v).unwrap_or(1);
        for component in &mut components {
            component.width = (width * component.h).div_ceil(h);
            component.height = (height * component.v).div_ceil(v);
            component.blocks_wide = (width * component.h).div_ceil(8 * h);
            component.blocks_high = (height * component.v).div_ceil(8 * v);
            if h % component.h != 0 || v % component.v != 0 {
                return Err(Fault::damaged(
                    "its sampling factors are no multiples of each other",
                ));
            }
        }
        Ok(Self {
            width,
            height,
            progressive,
            components,
            h,
            v,
        })
    }

    /// The number of MCUs in a row, for scans of all colours.
    pub(super) fn mcus_wide(&self) -> usize {
        self.width.div_ceil(8 * self.h)
    }

    /// The number of rows of MCUs, for scans of all colours.
    pub(super) fn mcus_high(&self) -> usize {
        self.height.div_ceil(8 * self.v)
    }
}

/// A colour in a scan.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// The index of the colour in the frame.
    pub(super) component: usize,
    pub(super) dc_table: u8,
    pub(super) ac_table: u8,
    /// The number of blocks of the colour in an MCU, across and down.
    pub(super) wide: usize,
    pub(super) high: usize,
}

/// The contents of a scan.
pub(super) struct Scan {
    pub(super) parts: Vec<Part>,
    /// The first and the last coefficient in the scan.
    pub(super) first: u8,
    pub(super) last: u8,
    /// The number of low bits missing from coefficients after the previous scan, and after this scan.
    pub(super) high: u8,
    pub(super) low: u8,
}

impl Scan {
    pub(super) fn read(reader: &mut Reader, frame: &Frame) -> Result<Self, Fault> {
        let length = usize::from(reader.u16()?);
        let count = usize::from(reader.byte()?);
        if length != 2 * count + 6 || !(1..=4).contains(&count) {
            return Err(Fault::damaged("a scan's length is wrong"));
        }
        let mut parts: Vec<Part> = Vec::new();
        for _ in 0..count {
            let (id, tables) = (reader.byte()?, reader.byte()?);
            // If two colours have the same number, libjpeg's rule applies: skip one index for each colour found so far.
            let mut known = frame.components.iter().enumerate();
            let found =
                known.find(|&(place, component)| component.id == id && place >= parts.len());
            let (component, of) = found
                .filter(|&(place, _)| parts.iter().all(|part| part.component != place))
                .ok_or_else(|| Fault::damaged("a scan names an unknown colour, or one twice"))?;
            let (wide, high) = if count == 1 { (1, 1) } else { (of.h, of.v) };
            parts.push(Part {
                component,
                dc_table: tables >> 4,
                ac_table: tables & 15,
                wide,
                high,
            });
        }
        let (first, last, shifts) = (reader.byte()?, reader.byte()?, reader.byte()?);
        let scan = Self {
            parts,
            first,
            last,
            high: shifts >> 4,
            low: shifts & 15,
        };
        match scan.blocks_of_mcu() > MAX_BLOCKS {
            true => Err(Fault::damaged("an MCU has more than ten blocks")),
            false => Ok(scan),
        }
    }

    fn blocks_of_mcu(&self) -> usize {
        self.parts.iter().map(|part| part.wide * part.high).sum()
    }

    /// The number of MCUs in a row of this scan, and the number of rows.
    pub(super) fn mcus(&self, frame: &Frame) -> (usize, usize) {
        match self.parts.as_slice() {
            [part] => {
                let component = &frame.components[part.component];
                (component.blocks_wide, component.blocks_high)
            }
            _ => (frame.mcus_wide(), frame.mcus_high()),
        }
    }

    /// The number of blocks in this scan.
    pub(super) fn blocks(&self, frame: &Frame) -> usize {
        let (wide, high) = self.mcus(frame);
        wide * high * self.blocks_of_mcu()
    }
}
