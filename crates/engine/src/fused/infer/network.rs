//! Runs a group of images through the network's layers.

use std::ops::Range;

use super::super::context::{Scratch, blocks};
use super::crew::Crew;
use super::filter;
use super::folded::{Folded, FoldedBlock, FoldedSqueeze, Pointwise};
use super::memory::Areas;
use crate::fused::workspace::Side;
use crate::kernels::{
    Images, Pixels, Stem, activate_values, image_averages, multiply_rows, stem_rows,
};
use crate::memory::Planes;
use crate::simd::LANES;

/// Images that run through the backbone together, and their memory.
pub(super) struct Group<'a> {
    pub(super) folded: &'a Folded,
    pub(super) crew: Crew<'a>,
    pub(super) areas: Areas,
    pub(super) images: usize,
    /// Size of an image.
    pub(super) side: Side,
    /// Pixels from the group's first image on.
    pub(super) pixels: Pixels<'a>,
}

impl Group<'_> {
    /// Pooled features of all images, `[planes][images][16]`.
    ///
    /// # Safety
    /// The caller must own the areas and the images' rows of `pooled`.
    pub(super) unsafe fn features(&self, pooled: Planes) {
        let Areas { cut, few, .. } = self.areas;
        let count = self.folded.blocks.len();
        // SAFETY: as promised by the caller.
        unsafe {
            for first in (0..self.images).step_by(few) {
                let images = first..self.images.min(first + few);
                let side = self.stem(images.clone());
                self.blocks(0..cut, images, side);
            }
            let mut side = self.side.strided(self.folded.stem.stride);
            for block in &self.folded.blocks[..cut] {
                side = side.strided(block.depthwise.stride);
            }
            let side = self.blocks(cut..count, 0..self.images, side);
            self.last(self.between(count, &(0..self.images), side), side, pooled);
        }
    }

    /// The buffer with the input of block `index`, for some images.
    unsafe fn between(&self, index: usize, images: &Range<usize>, side: Side) -> Planes {
        if index == self.areas.cut {
            let all = self.areas.joined.planes(self.images * side.pixels());
            // SAFETY: the area holds the rows of all images.
            unsafe { all.row(images.start * side.pixels()) }
        } else {
            self.areas.turns[index % 2].planes(images.len() * side.pixels())
        }
    }

    unsafe fn stem(&self, images: Range<usize>) -> Side {
        let (folded, stem) = (self.folded, &self.folded.stem);
        let side = self.side.strided(stem.stride);
        let (taps, bias) = folded.filter(stem, 0);
        // SAFETY: the area holds the rows of all images.
        let target = unsafe { self.between(0, &images, side) };
        let cost = images.len() * side.pixels() * stem.channels * crate::kernels::TAPS;
        self.crew
            .run(images.len() * side.height, 8, cost, |rows, scratch| {
                let operands = Stem {
                    images: 1,
                    height: self.side.height,
                    width: self.side.width,
                    stride: stem.stride,
                    zeros: stem.zeros(self.side),
                    planes: stem.planes(),
                    taps,
                    scratch: scratch.ring(Stem::scratch_length(self.side.width)),
                };
                for (image, part) in filter::images(rows, side.height) {
                    let pixels = self.pixels.image(images.start + image, self.side.pixels());
                    // SAFETY: every part writes its own rows.
                    unsafe {
                        let row = (image * side.height + part.start) * side.width;
                        let target = target.row(row);
                        let activation = stem.activation;
                        stem_rows(
                            folded.isa(),
                            &operands,
                            pixels,
                            part,
                            bias,
                            activation,
                            target,
                        );
                    }
                }
            });
        side
    }

    unsafe fn blocks(&self, range: Range<usize>, images: Range<usize>, mut side: Side) -> Side {
        for index in range {
            let block = &self.folded.blocks[index];
            let after = side.strided(block.depthwise.stride);
            // SAFETY: the areas are large enough for the layer's activations.
            unsafe {
                let input = self.between(index, &images, side);
                let output = self.between(index + 1, &images, after);
                let filtered = self.areas.filtered.planes(images.len() * after.pixels());
                let averages = self.areas.averages.planes(images.len());
                let operands = filter::Operands {
                    folded: self.folded,
                    block,
                    images: images.len(),
                    side,
                    input,
                    filtered,
                    averages: block.squeeze.is_some().then_some(averages),
                };
                operands.run(&self.crew);
                let factors = (block.squeeze.as_ref())
                    .map(|layer| self.squeeze(layer, images.len(), averages));
                self.project(block, images.len(), after, filtered, factors, input, output);
            }
            side = after;
        }
        side
    }

    /// Computes the factors of squeeze-excite from the averages.
    unsafe fn squeeze(&self, layer: &FoldedSqueeze, images: usize, averages: Planes) -> Planes {
        let hidden = self.areas.hidden.planes(images);
        let factors = self.areas.factors.planes(images);
        // SAFETY: as promised by the caller.
        unsafe {
            linear(
                &self.crew,
                self.folded,
                &layer.reduce,
                images,
                averages,
                hidden,
                |_, _| {},
            );
            let isa = self.folded.isa();
            linear(
                &self.crew,
                self.folded,
                &layer.expand,
                images,
                hidden,
                factors,
                |outputs, rows| {
                    let factors = factors.plane(outputs.start).row(rows.start);
                    activate_values(isa, rows.len(), outputs.len(), layer.gate, factors);
                },
            );
        }
        factors
    }

    #[allow(clippy::too_many_arguments, reason = "a layer has many operands")]
    unsafe fn project(
        &self,
        block: &FoldedBlock,
        images: usize,
        side: Side,
        filtered: Planes,
        factors: Option<Planes>,
        input: Planes,
        output: Planes,
    ) {
        let (folded, layer) = (self.folded, &block.project);
        let rows = images * side.pixels();
        let channels = layer.inputs + layer.outputs;
        self.crew.run(rows, 8, rows * layer.cost(), |rows, _| {
            for rows in blocks(folded.isa(), rows, channels) {
                // SAFETY: every part has its own rows.
                unsafe {
                    let a = filtered.row(rows.start);
                    if let Some(factors) = factors {
                        let images = Images {
                            first_row: rows.start,
                            pixels: side.pixels(),
                        };
                        let planes = block.depthwise.planes();
                        let activation = block.squeezed;
                        let isa = folded.isa();
                        multiply_rows(isa, rows.len(), planes, images, factors, activation, a);
                    }
                    let residual = block.residual.then(|| input.row(rows.start));
                    let c = output.row(rows.start);
                    folded.multiply(layer, 0..layer.planes(), rows.len(), a, c, residual);
                }
            }
        });
    }

    /// Computes the last convolution, and averages its outputs over each image.
    unsafe fn last(&self, input: Planes, side: Side, pooled: Planes) {
        let (folded, layer) = (self.folded, &self.folded.last);
        let pixels = side.pixels();
        let cost = self.images * pixels * layer.cost();
        self.crew
            .run(layer.panels.len(), 1, cost, |panels, scratch| {
                let few = filter::few(pixels).min(self.images);
                for panel in &layer.panels[panels] {
                    for first in (0..self.images).step_by(few) {
                        let images = few.min(self.images - first);
                        let rows = images * pixels;
                        // SAFETY: every part writes its own planes.
                        unsafe {
                            let channels = panel.len() * LANES;
                            let wide = scratch.block(0, rows, channels, folded.isa().pixel());
                            let a = input.row(first * pixels);
                            folded.multiply(layer, panel.clone(), rows, a, wide, None);
                            let pooled = pooled.plane(panel.start).row(first);
                            image_averages(folded.isa(), images, pixels, panel.len(), wide, pooled);
                        }
                    }
                }
            });
    }
}

/// A fully connected layer on `rows` images. Each finished range of planes and rows is passed to
/// `after`.
///
/// # Safety
/// `a` and `c` must hold `rows` rows. The caller must own the rows of `c`.
pub(super) unsafe fn linear(
    crew: &Crew<'_>,
    folded: &Folded,
    layer: &Pointwise,
    rows: usize,
    a: Planes,
    c: Planes,
    after: impl Fn(Range<usize>, Range<usize>) + Sync,
) {
    /// Rows of a work item.
    const ROWS: usize = 64;
    let chunks = rows.div_ceil(ROWS);
    let work = |items: Range<usize>, _: &mut Scratch| {
        for item in items {
            // Consecutive items are rows of the same panel, so that the panel's weights stay in the
            // cache.
            let panel = layer.panels[item / chunks].clone();
            let start = item % chunks * ROWS;
            let rows = start..rows.min(start + ROWS);
            // SAFETY: every item writes its own rows of its own planes.
            unsafe {
                let (a, c) = (a.row(rows.start), c.plane(panel.start).row(rows.start));
                folded.multiply(layer, panel.clone(), rows.len(), a, c, None);
            }
            after(panel, rows);
        }
    };
    // For up to eight rows, reading the weights takes longer than multiplying them.
    let cost = rows.max(8) * layer.cost();
    crew.run(layer.panels.len() * chunks, 1, cost, work);
}

/// Copies rows of `channels` channels from planes to `target`, `[rows][channels]`.
///
/// # Safety
/// The rows must exist, and the caller must own the rows of `target`.
pub(super) unsafe fn unpack(
    source: Planes,
    channels: usize,
    rows: Range<usize>,
    target: crate::memory::Dst,
) {
    for row in rows {
        for first in (0..channels).step_by(LANES) {
            let count = LANES.min(channels - first);
            // SAFETY: as promised by the caller.
            unsafe {
                let source = source.plane(first / LANES).row(row).src();
                let target = target.pointer(row * channels + first, count);
                std::ptr::copy_nonoverlapping(source.pointer(0, count), target, count);
            }
        }
    }
}
