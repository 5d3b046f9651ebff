//! Packs weights into the layout of the matrix products.
//!
//! Torch stores a weight matrix as `[outputs][inputs]`. For the forward pass it is packed into
//! panels of outputs, each `[inputs][width * 16]`. For the backward pass it is packed into panels
//! of inputs, each `[outputs][width * 16]`. Unused channels of the last panel are 0. For
//! tiles, the depth is padded with zeros to a multiple of 16 ranks.

use super::entry_tiles;
use super::product::panels;
use crate::isa::Isa;
use crate::memory::{Dst, Src, padded, planes};
use crate::simd::{LANES, Simd};

/// Length in values of a packed matrix of this depth.
pub(crate) fn packed_length(isa: Isa, depth: usize, columns: usize) -> usize {
    isa.ranks(depth) * padded(columns)
}

/// Clears the ranks of a panel of `width` vectors behind the last one of `depth`.
#[inline(always)]
unsafe fn clear_rest<S: Simd>(depth: usize, width: usize, panel: Dst) {
    let used = depth.div_ceil(S::RANK);
    let rest = S::ranks(depth) - used;
    panel
        .at(used * width * LANES)
        .fill_zero(rest * width * LANES);
}

entry_tiles! {
    /// Packs `weights` for the forward pass: depth `inputs`, columns `outputs`.
    ///
    /// # Safety
    /// `weights` is `[outputs][inputs]`; `target` has [`packed_length`] values.
    fn pack_outputs(outputs: usize, inputs: usize, weights: Src, target: Dst)
        => pack_outputs_kernel
}

#[inline(always)]
unsafe fn pack_outputs_kernel<S: Simd>(
    s: S,
    outputs: usize,
    inputs: usize,
    weights: Src,
    target: Dst,
) {
    for (plane, width) in panels::<S>(planes(outputs)) {
        let panel = target.at(S::ranks(inputs) * plane * LANES);
        clear_rest::<S>(inputs, width, panel);
        for vector in 0..width {
            let first = (plane + vector) * LANES;
            let count = LANES.min(outputs - first);
            for start in (0..inputs).step_by(LANES * S::RANK) {
                let depth = (LANES * S::RANK).min(inputs - start);
                let mut rows = [s.zero(); LANES];
                for (lane, row) in rows.iter_mut().enumerate().take(count) {
                    *row = s.load_ranks(depth, weights, (first + lane) * inputs + start);
                }
                let ranks = s.transpose(rows);
                for (k, &rank) in ranks.iter().enumerate().take(depth.div_ceil(S::RANK)) {
                    let row = start / S::RANK + k;
                    s.store(panel, (row * width + vector) * LANES, rank);
                }
            }
        }
    }
}

entry_tiles! {
    /// Packs `weights` for the backward pass: depth `outputs`, columns `inputs`.
    ///
    /// # Safety
    /// `weights` is `[outputs][inputs]`; `target` has [`packed_length`] values.
    fn pack_inputs(outputs: usize, inputs: usize, weights: Src, target: Dst) => pack_inputs_kernel
}

#[inline(always)]
unsafe fn pack_inputs_kernel<S: Simd>(
    s: S,
    outputs: usize,
    inputs: usize,
    weights: Src,
    target: Dst,
) {
    for (plane, width) in panels::<S>(planes(inputs)) {
        let panel = target.at(S::ranks(outputs) * plane * LANES);
        clear_rest::<S>(outputs, width, panel);
        for vector in 0..width {
            let first = (plane + vector) * LANES;
            let count = LANES.min(inputs - first);
            for output in (0..outputs).step_by(S::RANK) {
                let at = output * inputs + first;
                let row = s.load_first(count, weights, at);
                let next = if output + 1 < outputs {
                    s.load_first(count, weights, at + inputs)
                } else {
                    s.zero()
                };
                let rank = s.rank(row, next);
                s.store(panel, (output / S::RANK * width + vector) * LANES, rank);
            }
        }
    }
}

/// Packs the weights of depthwise kernels, `[channels][taps]`, to `[plane][tap][16]`.
///
/// # Safety
/// `target` has space for `padded(channels) * taps` values.
pub(crate) unsafe fn pack_taps(channels: usize, taps: usize, weights: Src, target: Dst) {
    for channel in 0..padded(channels) {
        let at = target.at(channel / LANES * LANES * taps + channel % LANES);
        for tap in 0..taps {
            let value = if channel < channels {
                weights.get(channel * taps + tap)
            } else {
                0.0
            };
            *at.pointer(tap * LANES, 1) = value;
        }
    }
}
