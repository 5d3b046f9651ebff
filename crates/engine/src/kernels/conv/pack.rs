//! Weights of a convolution, between torch's layout and the layouts of the kernels.
//!
//! Torch stores `[outputs][inputs / groups][taps]`. Weights between different groups do not exist; where a panel
//! needs them, they are 0.

use super::ranks::rank_channels;
use crate::kernels::{entry_f32, entry_ranks};
use crate::memory::{Dst, Src};
use crate::simd::{LANES, Simd};

/// The weights of a convolution, and the part of them that a panel needs.
#[derive(Clone, Copy)]
pub(crate) struct Packing<'a> {
    /// Inputs and outputs of a group.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) groups: usize,
    /// Number of weights between an input and an output.
    pub(crate) taps: usize,
    /// For each tap, its place in the panel.
    pub(crate) order: &'a [usize],
    /// Whether the panel's columns are inputs, for the gradient of the input. Otherwise they are outputs.
    pub(crate) transposed: bool,
    /// The panel's first plane of columns.
    pub(crate) plane: usize,
    /// The panel's number of planes.
    pub(crate) width: usize,
    /// The range of channels that the panel reads, and the number of their ranks.
    pub(crate) channels: (usize, usize),
    pub(crate) ranks: usize,
}

impl Packing<'_> {
    /// The range of inputs that an output reads.
    #[inline(always)]
    fn group(&self, output: usize) -> (usize, usize) {
        let group = output / self.outputs;
        (group * self.inputs, (group + 1) * self.inputs)
    }

    /// The place of the weights between an output and an input, if they belong to one group.
    #[inline(always)]
    fn place(&self, output: usize, input: usize) -> Option<usize> {
        let group = output / self.outputs;
        let exists = group < self.groups && input / self.inputs == group;
        exists.then(|| (output * self.inputs + input % self.inputs) * self.taps)
    }

    /// The first `count` taps from `tap` on between `channel` and the columns of a plane. Channels behind the last have
    /// weights of 0.
    #[inline(always)]
    unsafe fn columns<S: Simd>(
        &self,
        s: S,
        weights: Src,
        channel: usize,
        plane: usize,
        (tap, count): (usize, usize),
    ) -> [S::Vector; LANES] {
        let mut rows = [s.zero(); LANES];
        if channel < self.channels.1 {
            for (lane, row) in rows.iter_mut().enumerate() {
                let column = plane * LANES + lane;
                let place = match self.transposed {
                    true => self.place(channel, column),
                    false => self.place(column, channel),
                };
                if let Some(place) = place {
                    *row = s.load_first(count, weights, place + tap);
                }
            }
        }
        s.transpose(rows)
    }

    /// The weights of a matrix between 16 channels from `channel` on and the columns of a plane, `[channels][columns]`.
    #[inline(always)]
    unsafe fn square<S: Simd>(
        &self,
        s: S,
        weights: Src,
        channel: usize,
        plane: usize,
    ) -> [S::Vector; LANES] {
        // A row of weights is an output's.
        let (row, column) = match self.transposed {
            true => (channel, plane * LANES),
            false => (plane * LANES, channel),
        };
        let columns = self.inputs;
        let count = columns.saturating_sub(column).min(LANES);
        let mut rows = [s.zero(); LANES];
        for (lane, values) in rows.iter_mut().enumerate() {
            if row + lane < self.outputs && count > 0 {
                *values = s.load_first(count, weights, (row + lane) * columns + column);
            }
        }
        if self.transposed {
            rows
        } else {
            s.transpose(rows)
        }
    }
}

entry_ranks! {
    /// Packs the weights of a panel, `[taps][ranks][width * 16]`.
    ///
    /// # Safety
    /// `weights` holds all weights in torch's layout, and `target` has space for the panel.
    fn pack_panel(operands: &Packing<'_>, weights: Src, target: Dst) => pack_panel_kernel
}

#[inline(always)]
unsafe fn pack_panel_kernel<S: Simd>(s: S, o: &Packing<'_>, weights: Src, target: Dst) {
    if o.taps == 1 && o.groups == 1 {
        return pack_matrix(s, o, weights, target);
    }
    for rank in 0..o.ranks {
        let channels = rank_channels::<S>(rank).map(|channel| o.channels.0 + channel);
        for vector in 0..o.width {
            for tap in (0..o.taps).step_by(LANES) {
                let count = LANES.min(o.taps - tap);
                let plane = o.plane + vector;
                let first = o.columns(s, weights, channels[0], plane, (tap, count));
                let second = match S::RANK {
                    1 => first,
                    _ => o.columns(s, weights, channels[1], plane, (tap, count)),
                };
                for index in 0..count {
                    let row = o.order[tap + index] * o.ranks + rank;
                    let value = s.rank(first[index], second[index]);
                    s.store(target, (row * o.width + vector) * LANES, value);
                }
            }
        }
    }
}

/// As [`pack_panel`], for one tap and one group.
#[inline(always)]
unsafe fn pack_matrix<S: Simd>(s: S, o: &Packing<'_>, weights: Src, target: Dst) {
    for first in (0..o.ranks).step_by(LANES) {
        let [channel, next] = rank_channels::<S>(first);
        for vector in 0..o.width {
            let plane = o.plane + vector;
            let channels = o.square(s, weights, channel, plane);
            let others = match S::RANK {
                1 => channels,
                _ => o.square(s, weights, next, plane),
            };
            for rank in 0..LANES.min(o.ranks - first) {
                let value = s.rank(channels[rank], others[rank]);
                s.store(target, ((first + rank) * o.width + vector) * LANES, value);
            }
        }
    }
}

entry_f32! {
    /// Stores a panel's gradient, `[outputs][planes][taps][16]`, in torch's layout. The planes are those of the
    /// panel's channels. The order of taps is torch's.
    ///
    /// # Safety
    /// `panel` and `target` hold all their values.
    fn unpack_gradient(operands: &Packing<'_>, panel: Src, target: Dst) => unpack_gradient_kernel
}

#[inline(always)]
unsafe fn unpack_gradient_kernel<S: Simd>(s: S, o: &Packing<'_>, panel: Src, target: Dst) {
    let (from, to) = (o.channels.0 / LANES, o.channels.1.div_ceil(LANES));
    let first = o.plane * LANES;
    let last = (first + o.width * LANES).min(o.outputs * o.groups);
    for output in first..last {
        if o.taps == 1 {
            let (start, end) = o.group(output);
            let row = (output - first) * (to - from) * LANES;
            for channel in (start..end).step_by(LANES) {
                let count = LANES.min(end - channel);
                let value = s.load_first(count, panel, row + channel - from * LANES);
                s.store_first(count, target, output * o.inputs + channel - start, value);
            }
            continue;
        }
        for plane in from..to {
            let at = ((output - first) * (to - from) + plane - from) * o.taps * LANES;
            for tap in (0..o.taps).step_by(LANES) {
                let count = LANES.min(o.taps - tap);
                let mut rows = [s.zero(); LANES];
                for (index, row) in rows.iter_mut().enumerate().take(count) {
                    *row = s.load(panel, at + (tap + index) * LANES);
                }
                let columns = s.transpose(rows);
                for (lane, &value) in columns.iter().enumerate() {
                    if let Some(place) = o.place(output, plane * LANES + lane) {
                        s.store_first(count, target, place + tap, value);
                    }
                }
            }
        }
    }
}

entry_f32! {
    /// Stores a gradient, `[taps][count]`, as `[count][taps]`.
    ///
    /// # Safety
    /// `from` and `target` hold all their values.
    fn unpack_taps(taps: usize, count: usize, from: Src, target: Dst) => unpack_taps_kernel
}

#[inline(always)]
unsafe fn unpack_taps_kernel<S: Simd>(s: S, taps: usize, count: usize, from: Src, target: Dst) {
    for first in (0..count).step_by(LANES) {
        let lanes = LANES.min(count - first);
        for tap in (0..taps).step_by(LANES) {
            let used = LANES.min(taps - tap);
            let mut rows = [s.zero(); LANES];
            for (index, row) in rows.iter_mut().enumerate().take(used) {
                *row = s.load_first(lanes, from, (tap + index) * count + first);
            }
            let columns = s.transpose(rows);
            for (lane, &value) in columns.iter().enumerate().take(lanes) {
                s.store_first(used, target, (first + lane) * taps + tap, value);
            }
        }
    }
}
