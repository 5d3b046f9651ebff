//! The steps without weights.

use super::pass::{Pass, Share};
use crate::kernels::{
    ActivateRows, Factors, Images, JoinRows, Pool, Reading, activate_rows, activate_values,
    average, average_pool, gather_channels, is_for_maps, join_rows, max_pool,
};
use crate::memory::{Planes, planes};
use crate::network::Window;
use crate::program::Value;
use crate::simd::LANES;
use crate::spec::Activation;

impl Pass<'_> {
    /// Stores a value, times each image's factors.
    ///
    /// # Safety
    /// The share must belong to the caller.
    pub(super) unsafe fn make(
        &self,
        layer: usize,
        input: Value,
        factors: Option<Planes>,
        share: &Share,
    ) {
        let shape = self.shape(layer);
        let rows = self.share_rows(layer, share);
        let images = Images {
            first_row: rows.start,
            pixels: shape.pixels(),
        };
        // The activations of factors are a pass of their own.
        let mapped = is_for_maps(input.activation);
        // SAFETY: as promised by the caller.
        unsafe {
            let operands = ActivateRows {
                rows: rows.len(),
                planes: planes(shape.channels),
                z: self.space.value(input.z).row(rows.start),
                norm: self.affine(input),
                activation: if mapped {
                    input.activation
                } else {
                    Activation::Identity
                },
                factors: factors.map(|values| Factors {
                    values,
                    images,
                    before_activation: false,
                }),
                target: self.space.value(layer).row(rows.start),
            };
            activate_rows(self.context.isa, &operands);
            if !mapped {
                let (count, target) = (operands.planes, operands.target);
                let activation = input.activation;
                activate_values(self.context.isa, rows.len(), count, activation, target);
            }
        }
    }

    /// # Safety
    /// The share must belong to the caller.
    pub(super) unsafe fn add(
        &self,
        layer: usize,
        inputs: [Value; 2],
        activation: Activation,
        share: &Share,
    ) {
        let rows = self.share_rows(layer, share);
        // SAFETY: as promised by the caller.
        unsafe {
            let input = |value: Value| {
                let z = self.space.value(value.z).row(rows.start);
                (z, self.affine(value))
            };
            let operands = JoinRows {
                rows: rows.len(),
                planes: planes(self.shape(layer).channels),
                inputs: inputs.map(input),
                activation,
                target: self.space.value(layer).row(rows.start),
            };
            join_rows(self.context.isa, &operands);
        }
    }

    /// The geometry of a pooling, for some images.
    pub(super) fn pooling(
        &self,
        layer: usize,
        input: Value,
        window: Window,
        images: usize,
    ) -> Pool {
        let (before, after) = (self.shape(input.z), self.shape(layer));
        Pool {
            window,
            height: before.height,
            width: before.width,
            rows: after.height,
            columns: after.width,
            images,
            planes: planes(after.channels),
        }
    }

    /// # Safety
    /// The share must belong to the caller.
    pub(super) unsafe fn pool(
        &self,
        layer: usize,
        input: Value,
        window: Window,
        largest: bool,
        share: &Share,
    ) {
        let first = share.images.start;
        let mut pool = self.pooling(layer, input, window, share.images.len());
        let range = share.of(pool.planes);
        pool.planes = range.len();
        // SAFETY: as promised by the caller.
        unsafe {
            let source = self.reading_at(input, first, range.start);
            let target = self.space.value(layer).plane(range.start);
            let target = target.row(first * self.shape(layer).pixels());
            if range.is_empty() {
            } else if largest {
                max_pool(self.context.isa, &pool, source, target);
            } else {
                average_pool(self.context.isa, &pool, source, target);
            }
        }
    }

    /// # Safety
    /// The share must belong to the caller.
    pub(super) unsafe fn average(&self, layer: usize, input: Value, share: &Share) {
        let before = self.shape(input.z);
        let range = share.of(planes(before.channels));
        let first = share.images.start;
        if range.is_empty() {
            return;
        }
        // SAFETY: as promised by the caller.
        unsafe {
            let source = self.space.value(input.z).plane(range.start);
            let target = self.space.value(layer).plane(range.start);
            average(
                self.context.isa,
                share.images.len(),
                before.pixels(),
                range.len(),
                source.row(first * before.pixels()),
                self.affine_at(input, range.start * LANES),
                input.activation,
                target.row(first),
            );
        }
    }

    /// # Safety
    /// The share must belong to the caller.
    pub(super) unsafe fn gather(
        &self,
        index: usize,
        layer: usize,
        sources: &[Value],
        share: &Share,
    ) {
        let Some((gather, _)) = &self.space.fitted[index].gathers else {
            unreachable!("a gather has its map");
        };
        let rows = self.share_rows(layer, share);
        // SAFETY: as promised by the caller.
        unsafe {
            let readings: Vec<Reading> = (sources.iter())
                .map(|&source| self.reading(source, 0).row(rows.start))
                .collect();
            let target = self.space.value(layer).row(rows.start);
            gather_channels(
                self.context.isa,
                rows.len(),
                gather,
                &readings,
                None,
                target,
            );
        }
    }
}
