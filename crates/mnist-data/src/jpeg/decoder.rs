//! Decodes a file. The pixels equal those of libjpeg-turbo, which PIL and torchvision use.

use pulp::Arch;

use super::coefficients::Coefficients;
use super::entropy::{Block, Entropy};
use super::frame::{Frame, Scan};
use super::idct;
use super::markers::{Next, Tables};
use super::output::{Colours, Output, Shape};
use super::reader::Reader;
use super::reduced;
use crate::decode::{Decoded, Image};
use crate::fault::{Fault, Limit};
use crate::resize::Target;

/// The bytes of the memory limit for each block that all scans of an image may read together. So the largest accepted
/// image may have each colour in twelve scans; usual files have up to six. Without the limit, a small file with thousands
/// of empty scans takes minutes.
const BYTES_A_BLOCK: u64 = 16;

/// Decodes a file into the buffer `pixels`, whose old contents are ignored. Gray stays one byte per pixel. With
/// `accept_truncated`, missing data at the end becomes gray; otherwise it is a fault. With a `target`, an image that will
/// later be resized to a smaller one is decoded at reduced size.
pub(super) fn decode(
    bytes: &[u8],
    pixels: Vec<u8>,
    accept_truncated: bool,
    target: Option<Target>,
    limit: Limit,
) -> Result<Decoded, Fault> {
    let mut reader = Reader::new(bytes);
    let mut tables = Tables::default();
    let Next::Frame(frame) = tables.read(&mut reader, None)? else {
        return Err(Fault::damaged("it holds no image"));
    };
    let Next::Scan(scan) = tables.read(&mut reader, Some(&frame))? else {
        return Err(Fault::damaged("it holds no scan"));
    };
    let colours = Colours::of(&frame, tables.jfif, tables.adobe);
    if !frame.progressive {
        tables.complete();
    }
    let one_pass = !frame.progressive && scan.parts.len() == frame.components.len();
    let shape = shape(&frame, target);
    let length = shape.width as u64 * shape.height as u64 * colours.channels() as u64;
    let stored = if one_pass {
        0
    } else {
        Coefficients::memory(&frame)
    };
    limit.check(
        frame.width as u64,
        frame.height as u64,
        Some(bytes.len() as u64 + length + stored + shape.memory()),
    )?;
    let mut decoder = Decoder {
        reader,
        tables,
        frame: &frame,
        shape: &shape,
        colours,
        factors: vec![None; frame.components.len()],
        accept_truncated,
        most_blocks: (limit.0 / BYTES_A_BLOCK) as usize,
        vectors: idct::vectors(),
    };
    let mut pixels = pixels;
    pixels.clear();
    pixels.resize(length as usize, 0);
    // Inlined code is compiled once per instruction set.
    Arch::new().dispatch(
        #[inline(always)]
        || match one_pass {
            true => decoder.one_pass(&scan, &mut pixels),
            false => decoder.many_passes(scan, &mut pixels),
        },
    )?;
    let (width, height, channels) = (
        shape.width as u32,
        shape.height as u32,
        colours.channels() as u8,
    );
    let image = Image::from_raw(width, height, channels, pixels).map_err(Fault::damaged)?;
    Ok(Decoded {
        image,
        is_truncated: decoder.reader.truncated,
        original: shape.original(&frame),
    })
}

/// The reduced size for decoding: the fewest eighths of the image that the resize need not enlarge, as in PIL's `draft`.
fn shape(frame: &Frame, target: Option<Target>) -> Shape {
    let least = target.map(|target| target.resized(frame.width as u32, frame.height as u32));
    let is_enough = |shape: &Shape| {
        least.is_some_and(|(width, height)| {
            shape.width >= width as usize && shape.height >= height as usize
        })
    };
    let mut shapes = (1..reduced::WHOLE).map(|side| Shape::new(frame, side));
    shapes
        .find(is_enough)
        .unwrap_or_else(|| Shape::new(frame, reduced::WHOLE))
}

struct Decoder<'a> {
    reader: Reader<'a>,
    tables: Tables,
    frame: &'a Frame,
    shape: &'a Shape,
    colours: Colours,
    /// The quantisation table of each colour, as it was at the colour's first scan.
    factors: Vec<Option<Block>>,
    accept_truncated: bool,
    /// The most blocks that all scans may read together.
    most_blocks: usize,
    vectors: idct::Vectors,
}

impl Decoder<'_> {
    /// The entropy decoder of a scan.
    fn start(&mut self, scan: &Scan) -> Result<Entropy, Fault> {
        for part in &scan.parts {
            let number = usize::from(self.frame.components[part.component].quantisation);
            let table = self
                .tables
                .quantisation
                .get(number)
                .and_then(Option::as_ref);
            let missing = || Fault::damaged("it lacks a quantisation table");
            let factors = &mut self.factors[part.component];
            if factors.is_none() {
                *factors = Some(table.ok_or_else(missing)?.map(|factor| factor as i16));
            }
        }
        self.reader.start_bits();
        Entropy::new(&self.tables, self.frame, scan)
    }

    fn check_truncation(&self) -> Result<(), Fault> {
        match self.reader.truncated && !self.accept_truncated {
            true => Err(Fault::Truncated),
            false => Ok(()),
        }
    }

    /// Decodes an image with a single complete scan: each row of MCUs becomes pixels at once.
    #[inline(always)]
    fn one_pass(&mut self, scan: &Scan, pixels: &mut [u8]) -> Result<(), Fault> {
        let mut entropy = self.start(scan)?;
        let frame = self.frame;
        let mut output = Output::new(self.shape, self.colours, pixels);
        let (wide, high) = scan.mcus(frame);
        // With a single colour, an MCU is one block, whatever the sampling factors are.
        let rows_of_mcus = if scan.parts.len() == 1 { frame.v } else { 1 };
        let factors: Vec<Block> = self
            .factors
            .iter()
            .map(|of| of.unwrap_or([0; 64]))
            .collect();
        for row in 0..high {
            for column in 0..wide {
                entropy.start_mcu(&mut self.reader);
                for (index, part) in scan.parts.iter().enumerate() {
                    let component = &frame.components[part.component];
                    let (factors, ring) =
                        (&factors[part.component], &mut output.rings[part.component]);
                    for y in row * part.high..(row + 1) * part.high {
                        for x in column * part.wide..(column + 1) * part.wide {
                            let mut block = [0; 64];
                            let more = entropy.sequential(&mut self.reader, index, &mut block);
                            // Blocks beyond the image's edge are decoded but not used.
                            if x < component.blocks_wide && y < component.blocks_high {
                                let (stride, side) = (ring.stride, ring.side);
                                let out = ring.block(y, x);
                                idct::samples(
                                    self.vectors,
                                    &block,
                                    more,
                                    factors,
                                    out,
                                    stride,
                                    side,
                                );
                            }
                        }
                    }
                }
            }
            self.check_truncation()?;
            if (row + 1) % rows_of_mcus == 0 || row + 1 == high {
                output.advance((row + 1).div_ceil(rows_of_mcus));
            }
        }
        self.finish()
    }

    /// Reads on to the end marker, if there is one. Errors before the end marker are reported; another scan is an
    /// error.
    fn finish(&mut self) -> Result<(), Fault> {
        match self.tables.read(&mut self.reader, Some(self.frame)) {
            Ok(Next::End) | Err(Fault::Truncated) => Ok(()),
            Ok(_) => Err(Fault::damaged("it has more scans than it should")),
            Err(fault) => Err(fault),
        }
    }

    /// Decodes an image with several scans; the coefficients are kept until the last one.
    #[inline(always)]
    fn many_passes(&mut self, first: Scan, pixels: &mut [u8]) -> Result<(), Fault> {
        let mut coefficients = Coefficients::new(self.frame);
        let mut scan = first;
        let mut blocks = 0;
        loop {
            blocks += scan.blocks(self.frame);
            if blocks > self.most_blocks {
                return Err(Fault::damaged("it has too many scans"));
            }
            self.pass(&scan, &mut coefficients)?;
            match self.tables.read(&mut self.reader, Some(self.frame)) {
                Ok(Next::Scan(next)) => scan = next,
                Ok(_) => break,
                // The end marker may be missing, but a scan may not.
                Err(Fault::Truncated) => {
                    self.reader.truncated |= !coefficients.is_complete();
                    self.check_truncation()?;
                    break;
                }
                Err(fault) => return Err(fault),
            }
        }
        let factors: Vec<Block> = self
            .factors
            .iter()
            .map(|of| of.unwrap_or([0; 64]))
            .collect();
        let smooth = self.frame.progressive && coefficients.are_smoothed(&factors);
        let mut output = Output::new(self.shape, self.colours, pixels);
        for row in 0..self.frame.mcus_high() {
            for (index, component) in self.frame.components.iter().enumerate() {
                let (plane, factors) = (&coefficients.planes[index], &factors[index]);
                let ring = &mut output.rings[index];
                let (stride, side) = (ring.stride, ring.side);
                for y in row * component.v..((row + 1) * component.v).min(component.blocks_high) {
                    for x in 0..component.blocks_wide {
                        let estimated =
                            smooth.then(|| coefficients.smoothed(self.frame, index, factors, x, y));
                        let block = estimated.as_ref().unwrap_or_else(|| plane.block(x, y));
                        idct::samples(
                            self.vectors,
                            block,
                            true,
                            factors,
                            ring.block(y, x),
                            stride,
                            side,
                        );
                    }
                }
            }
            output.advance(row + 1);
        }
        Ok(())
    }

    fn pass(&mut self, scan: &Scan, coefficients: &mut Coefficients) -> Result<(), Fault> {
        let mut entropy = self.start(scan)?;
        coefficients.note(scan, self.frame.progressive);
        let (wide, high) = scan.mcus(self.frame);
        let rows_of_mcus = match scan.parts.as_slice() {
            [part] => self.frame.components[part.component].v,
            _ => 1,
        };
        for row in 0..high {
            for column in 0..wide {
                if !self.reader.insufficient {
                    coefficients.last_good = row / rows_of_mcus;
                }
                entropy.start_mcu(&mut self.reader);
                for (index, part) in scan.parts.iter().enumerate() {
                    let plane = &mut coefficients.planes[part.component];
                    for y in row * part.high..(row + 1) * part.high {
                        for x in column * part.wide..(column + 1) * part.wide {
                            entropy.block(&mut self.reader, index, plane.block_mut(x, y))?;
                        }
                    }
                }
            }
            self.check_truncation()?;
            if self.reader.insufficient && self.tables.restart_interval == 0 {
                // The rest of the scan changes nothing.
                break;
            }
        }
        Ok(())
    }
}
