//! The coefficients of an image with several scans.

use super::entropy::Block;
use super::frame::{Frame, Scan};
use super::smooth;

/// The coefficients of one colour.
pub(super) struct Plane {
    blocks: Vec<Block>,
    /// Blocks per row, including those beyond the edge.
    wide: usize,
    /// The number of bits that each coefficient still lacks; -1 if it has none yet.
    lacks: [i8; 64],
    /// The number of missing bits before the colour's last scan.
    before: [i8; 64],
}

impl Plane {
    pub(super) fn block(&self, x: usize, y: usize) -> &Block {
        &self.blocks[y * self.wide + x]
    }

    pub(super) fn block_mut(&mut self, x: usize, y: usize) -> &mut Block {
        &mut self.blocks[y * self.wide + x]
    }
}

/// The coefficients of an image.
pub(super) struct Coefficients {
    pub(super) planes: Vec<Plane>,
    /// The last row of MCUs for which the last scan had data.
    pub(super) last_good: usize,
    /// The number of scans so far.
    scans: usize,
}

impl Coefficients {
    /// The memory of the coefficients in bytes.
    pub(super) fn memory(frame: &Frame) -> u64 {
        let samples = frame
            .components
            .iter()
            .map(|component| component.h * component.v * 64);
        let samples: usize = samples.sum();
        2 * samples as u64 * frame.mcus_wide() as u64 * frame.mcus_high() as u64
    }

    pub(super) fn new(frame: &Frame) -> Self {
        let planes = frame.components.iter().map(|component| {
            let wide = frame.mcus_wide() * component.h;
            Plane {
                blocks: vec![[0; 64]; wide * frame.mcus_high() * component.v],
                wide,
                lacks: [-1; 64],
                before: [-1; 64],
            }
        });
        Self {
            planes: planes.collect(),
            last_good: 0,
            scans: 0,
        }
    }

    /// Records which coefficients a scan contains.
    pub(super) fn note(&mut self, scan: &Scan, progressive: bool) {
        self.scans += 1;
        for part in &scan.parts {
            let plane = &mut self.planes[part.component];
            plane.before = if self.scans > 1 { plane.lacks } else { [0; 64] };
            match progressive {
                true => plane.lacks[usize::from(scan.first)..=usize::from(scan.last)]
                    .fill(scan.low as i8),
                false => plane.lacks.fill(0),
            }
        }
    }

    /// Whether all bits of all coefficients are present.
    pub(super) fn is_complete(&self) -> bool {
        let mut all = self.planes.iter().flat_map(|plane| &plane.lacks);
        all.all(|&lacks| lacks == 0)
    }

    /// Whether missing coefficients are estimated.
    pub(super) fn are_smoothed(&self, factors: &[Block]) -> bool {
        let lacks = self.planes.iter().map(|plane| first(&plane.lacks));
        smooth::is_useful(factors.iter().zip(lacks))
    }

    /// A block of a colour with estimates for its missing coefficients.
    pub(super) fn smoothed(
        &self,
        frame: &Frame,
        colour: usize,
        factors: &Block,
        x: usize,
        y: usize,
    ) -> Block {
        let (plane, component) = (&self.planes[colour], &frame.components[colour]);
        let mcu_row = y / component.v;
        let lacks = match mcu_row > self.last_good {
            true if self.scans > 1 => first(&plane.before),
            true => [-1; 10],
            false => first(&plane.lacks),
        };
        // In the last row of MCUs, only visible blocks are used. In other rows of MCUs, all blocks are used.
        let is_last = mcu_row + 1 == frame.mcus_high();
        let rows_of_last = component.blocks_high - (frame.mcus_high() - 1) * component.v;
        let end = if is_last {
            component.blocks_high
        } else {
            frame.mcus_high() * component.v
        };
        // libjpeg finds the rows above in this way.
        let counted = if is_last {
            mcu_row * rows_of_last + y % component.v
        } else {
            y
        };
        let dc = |down: isize, right: isize| {
            let down = down.max(-(counted as isize)).min((end - 1 - y) as isize);
            let column = (x as isize + right).clamp(0, component.blocks_wide as isize - 1);
            plane.block(column as usize, (y as isize + down) as usize)[0]
        };
        smooth::estimated(plane.block(x, y), factors, lacks, dc)
    }
}

fn first(lacks: &[i8; 64]) -> smooth::Lacks {
    std::array::from_fn(|index| lacks[index])
}
