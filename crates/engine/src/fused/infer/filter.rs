//! A block's expansion and depthwise convolution, one panel of channels at a time, so that the
//! expanded activations never leave the cache.

use std::ops::Range;

use super::super::context::Scratch;
use super::crew::Crew;
use super::folded::{Folded, FoldedBlock};
use crate::fused::workspace::Side;
use crate::kernels::{
    DepthwiseImages, DepthwiseRow, Ring, convert_rows, depthwise_images, depthwise_row,
    image_averages,
};
use crate::memory::Planes;
use crate::simd::LANES;

/// Images of at most this width are convolved together, if there are at least `MANY` of them.
const NARROW: usize = 8;
const MANY: usize = 4;

/// The input and output of a block's expansion and depthwise convolution.
pub(super) struct Operands<'a> {
    pub(super) folded: &'a Folded,
    pub(super) block: &'a FoldedBlock,
    pub(super) images: usize,
    /// Height and width of the input.
    pub(super) side: Side,
    pub(super) input: Planes,
    pub(super) filtered: Planes,
    /// Receives the average of each image and channel, `[planes][images][16]`, if requested.
    pub(super) averages: Option<Planes>,
}

impl Operands<'_> {
    /// # Safety
    /// Activations must have the block's shape. The caller must own the memory that is written.
    pub(super) unsafe fn run(&self, crew: &Crew<'_>) {
        let (block, after) = (self.block, self.after());
        let expand = block.expand.as_ref().map_or(0, |layer| layer.cost());
        let taps = block.depthwise.kernel.pow(2) * block.depthwise.channels;
        let (expand, filter) = (
            self.images * self.side.pixels() * expand,
            self.images * after.pixels() * taps,
        );
        let cost = expand + filter;
        let panels = block.panels.len();
        let threads = crew.size();
        let rows = self.images * after.height;
        // The slowest thread's share of the work. Panels may not divide evenly among the threads,
        // and each band of rows computes its border rows again.
        let longest = |count: usize| count.div_ceil(threads) as f64 / count as f64;
        let halo = block
            .depthwise
            .kernel
            .saturating_sub(block.depthwise.stride);
        let halo = halo as f64 / (rows.div_ceil(threads) * block.depthwise.stride) as f64;
        let by_rows = longest(rows) * (1.0 + halo * expand as f64 / cost as f64);
        if self.is_narrow() || longest(panels) <= by_rows {
            crew.run(panels, 1, cost, |panels, scratch| {
                for panel in &block.panels[panels] {
                    // SAFETY: every part writes its own planes.
                    unsafe {
                        if self.is_narrow() {
                            self.many(panel, scratch);
                        } else {
                            self.rows(panel, 0..rows, scratch);
                        }
                        self.average(panel);
                    }
                }
            });
        } else {
            crew.run(rows, rows.div_ceil(threads), cost, |rows, scratch| {
                for panel in &block.panels {
                    // SAFETY: every part writes its own rows.
                    unsafe { self.rows(panel, rows.clone(), scratch) };
                }
            });
            if self.averages.is_some() {
                let all = block.depthwise.planes();
                crew.run(all, 1, rows * after.width * all * LANES, |planes, _| {
                    // SAFETY: every part writes its own planes.
                    unsafe { self.average(&planes) };
                });
            }
        }
    }

    fn after(&self) -> Side {
        self.side.strided(self.block.depthwise.stride)
    }

    fn is_narrow(&self) -> bool {
        self.side.width <= NARROW && self.images >= MANY
    }

    unsafe fn average(&self, planes: &Range<usize>) {
        if let Some(averages) = self.averages {
            let pixels = self.after().pixels();
            // SAFETY: as promised by the caller.
            unsafe {
                let source = self.filtered.plane(planes.start);
                let target = averages.plane(planes.start);
                let isa = self.folded.isa();
                image_averages(isa, self.images, pixels, planes.len(), source, target);
            }
        }
    }

    /// Computes one panel of channels for all images, in batches of images that fit the cache.
    unsafe fn many(&self, panel: &Range<usize>, scratch: &mut Scratch) {
        let (folded, layer) = (self.folded, &self.block.depthwise);
        let (before, after) = (self.side.pixels(), self.after().pixels());
        let (taps, bias) = folded.filter(layer, panel.start);
        let few = few(before).min(self.images);
        for first in (0..self.images).step_by(few) {
            let images = few.min(self.images - first);
            // SAFETY: as promised by the caller; the block belongs to this thread.
            unsafe {
                let input = self.input.row(first * before);
                let source = match &self.block.expand {
                    None => input.plane(panel.start),
                    Some(layer) => {
                        let wide = scratch.block(0, images * before, panel.len() * LANES, LANES);
                        folded.multiply(layer, panel.clone(), images * before, input, wide, None);
                        wide
                    }
                };
                let operands = DepthwiseImages {
                    images,
                    planes: panel.len(),
                    height: self.side.height,
                    width: self.side.width,
                    kernel: layer.kernel,
                    stride: layer.stride,
                    zeros: layer.zeros(self.side),
                    source,
                    taps,
                    bias,
                    activation: layer.activation,
                    target: self.filtered.plane(panel.start).row(first * after),
                };
                depthwise_images(folded.isa(), &operands);
            }
        }
    }

    /// Computes some output rows of one panel. Rows are counted over all images.
    unsafe fn rows(&self, panel: &Range<usize>, rows: Range<usize>, scratch: &mut Scratch) {
        let (folded, layer) = (self.folded, &self.block.depthwise);
        let (side, after) = (self.side, self.after());
        let (taps, bias) = folded.filter(layer, panel.start);
        let zeros = layer.zeros(side);
        // SAFETY: as promised by the caller; the ring buffer belongs to this thread.
        unsafe {
            let place = scratch.ring(Ring::length(panel.len(), side.width));
            let ring = Ring::new(place, panel.len(), side.width);
            for (image, rows) in images(rows, after.height) {
                let mut next = (rows.start * layer.stride).saturating_sub(zeros.above);
                for y in rows {
                    while next < (y * layer.stride + layer.kernel - zeros.above).min(side.height) {
                        let input = self.input.row((image * side.height + next) * side.width);
                        self.fill(panel, input, ring.row(next));
                        next += 1;
                    }
                    let target = (image * after.height + y) * after.width;
                    let operands = DepthwiseRow {
                        planes: panel.len(),
                        height: side.height,
                        kernel: layer.kernel,
                        stride: layer.stride,
                        zeros,
                        y,
                        columns: after.width,
                        ring,
                        taps,
                        bias,
                        activation: layer.activation,
                        target: self.filtered.plane(panel.start).row(target),
                    };
                    depthwise_row(folded.isa(), &operands);
                }
            }
        }
    }

    /// Computes one input row of the depthwise convolution.
    unsafe fn fill(&self, panel: &Range<usize>, input: Planes, target: Planes) {
        let width = self.side.width;
        // SAFETY: as promised by the caller.
        unsafe {
            if let Some(layer) = &self.block.expand {
                let folded = self.folded;
                folded.multiply(layer, panel.clone(), width, input, target, None);
                return;
            }
            let input = input.plane(panel.start);
            convert_rows(self.folded.isa(), width, panel.len(), input, target);
        }
    }
}

/// Number of images with panels that fit the cache together. Each image has `pixels` pixels.
pub(super) fn few(pixels: usize) -> usize {
    /// Number of pixels of one panel that fit the cache.
    const ROWS: usize = 1024;
    // A multiple of 8, because a tile holds eight images.
    (ROWS / pixels / 8 * 8).max(8)
}

/// Splits a range of rows at the image borders. Rows are counted over images of `height` rows.
pub(super) fn images(
    rows: Range<usize>,
    height: usize,
) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut start = rows.start;
    std::iter::from_fn(move || {
        let (image, first) = (start / height, start % height);
        let count = (height - first).min(rows.end - start);
        start += count;
        (count > 0).then_some((image, first..first + count))
    })
}
