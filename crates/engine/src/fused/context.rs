//! Shared state of all phases of a step: the team, the batch's division into groups, and each
//! thread's scratch memory.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::layout::StepWeights;
use crate::isa::Isa;
use crate::kernels::Sums;
use crate::memory::{Buffer, Dst, Planes, padded};
use crate::simd::LANES;
use crate::team::Team;

/// Cache budget of a block of rows, over all its operands, in values.
const BLOCK: usize = 80 * 1024;

/// Planes of at least this many values are stored past the caches. Measured.
const STREAM: usize = 640 * 1024;

/// Block height for `rows` rows. `channels` is the row length of all operands together. A multiple
/// of every tile's height where possible.
pub(super) fn block_rows(rows: usize, channels: usize) -> usize {
    let most = (BLOCK / channels / 24 * 24).clamp(48, 192);
    let blocks = rows.div_ceil(most).max(1);
    rows.div_ceil(blocks).next_multiple_of(24).min(rows)
}

/// The blocks of a range of rows.
pub(super) fn blocks(rows: Range<usize>, channels: usize) -> impl Iterator<Item = Range<usize>> {
    let step = block_rows(rows.len(), channels).max(1);
    let end = rows.end;
    rows.step_by(step)
        .map(move |start| start..end.min(start + step))
}

/// Memory of one thread.
#[derive(Default)]
pub(super) struct Scratch {
    blocks: [Option<Buffer>; 3],
    ring: Option<Buffer>,
    sums: Option<Buffer>,
}

impl Scratch {
    /// One of three blocks of `rows` pixels of `channels`, each pixel of `pixel` values.
    pub(super) fn block(
        &mut self,
        index: usize,
        rows: usize,
        channels: usize,
        pixel: usize,
    ) -> Planes {
        // An odd number of cache lines.
        let stride = ((rows * pixel).div_ceil(LANES) | 1) * LANES;
        let length = padded(channels) / LANES * stride;
        Planes {
            start: at_least(&mut self.blocks[index], length),
            stride,
            pixel,
        }
    }

    pub(super) fn ring(&mut self, length: usize) -> Dst {
        at_least(&mut self.ring, length)
    }

    /// Two zeroed vectors of sums over `channels`.
    pub(super) fn sums(&mut self, channels: usize) -> [Dst; 2] {
        let length = padded(channels);
        let start = at_least(&mut self.sums, 2 * length);
        // SAFETY: both are within the buffer.
        unsafe {
            start.fill_zero(2 * length);
            [start, start.at(length)]
        }
    }
}

/// Space for `length` values. Growing loses the contents.
pub(super) fn at_least(buffer: &mut Option<Buffer>, length: usize) -> Dst {
    match buffer {
        Some(buffer) if buffer.len() >= length => buffer.dst(),
        _ => buffer.insert(Buffer::new(length)).dst(),
    }
}

/// Adds f32 sums to those in f64, and zeroes them.
///
/// # Safety
/// Both have at least as many values as `sums`.
pub(super) unsafe fn flush([first, second]: [Dst; 2], sums: &mut Sums) {
    for (from, to) in [(first, &mut sums.first), (second, &mut sums.second)] {
        for (at, sum) in to.iter_mut().enumerate() {
            // SAFETY: as promised by the caller.
            *sum += f64::from(unsafe { from.src().get(at) });
        }
        // SAFETY: as promised by the caller.
        unsafe { from.fill_zero(to.len()) };
    }
}

/// A part of the batch: the unit of work and of reproducible sums.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) index: usize,
    pub(super) images: Range<usize>,
}

impl Group {
    /// Its rows, for images of `pixels` pixels.
    pub(super) fn rows(&self, pixels: usize) -> Range<usize> {
        self.images.start * pixels..self.images.end * pixels
    }
}

/// Cuts a batch into groups: one for each thread, or one for each image of a smaller batch.
pub(super) fn groups(images: usize, threads: usize) -> Vec<Group> {
    let count = threads.min(images).max(1);
    (0..count)
        .map(|index| Group {
            index,
            images: images * index / count..images * (index + 1) / count,
        })
        .collect()
}

/// The environment of the phases.
pub(super) struct Context<'a> {
    pub(super) isa: Isa,
    pub(super) team: &'a Team,
    pub(super) groups: &'a [Group],
    /// One for each thread.
    pub(super) scratch: &'a [Mutex<Scratch>],
    /// One for each group.
    pub(super) sums: &'a [Mutex<Sums>],
    /// Weight gradients of every group except the first: one buffer for the current layer, one for
    /// the previous.
    pub(super) partials: &'a [[Buffer; 2]],
    pub(super) pending: Mutex<Pending>,
    pub(super) weights: StepWeights<'a>,
}

impl Context<'_> {
    /// Runs work for each group, with zeroed sums over `channels`.
    pub(super) fn each_group(
        &self,
        channels: usize,
        work: impl Fn(&Group, &mut Scratch, &mut Sums) + Sync,
    ) {
        let pending = {
            let mut pending = lock(&self.pending);
            let taken = *pending;
            pending.sum = None;
            taken
        };
        self.team.run(self.groups.len(), |task, thread| {
            self.add_part(task, pending);
            let mut scratch = lock(&self.scratch[thread]);
            let mut sums = lock(&self.sums[task]);
            sums.reset(padded(channels));
            work(&self.groups[task], &mut scratch, &mut sums);
        });
    }

    /// Scratch in which a weight gradient gathers `rows` pixels of `channels`; `None` if it needs
    /// none.
    pub(super) fn ranks(
        &self,
        scratch: &mut Scratch,
        rows: usize,
        channels: usize,
    ) -> Option<Planes> {
        let rank = self.isa.rank();
        (rank > 1).then(|| scratch.block(2, rows.div_ceil(rank), channels, LANES))
    }

    /// Whether planes are so long that their start has left the caches when their end is written.
    pub(super) fn streams(&self, planes: Planes) -> bool {
        planes.stride >= STREAM
    }

    /// Passes `f` both sums of all groups over `channels`, added in the groups' order. The next
    /// phase starts new sums.
    pub(super) fn with_totals(&self, channels: usize, f: impl FnOnce([&[f64]; 2])) {
        let mut groups = self.sums[..self.groups.len()].iter();
        let Some(mut totals) = groups.next().map(lock) else {
            return;
        };
        for sums in groups {
            let sums = lock(sums);
            for (total, sum) in totals.first.iter_mut().zip(&sums.first) {
                *total += sum;
            }
            for (total, sum) in totals.second.iter_mut().zip(&sums.second) {
                *total += sum;
            }
        }
        f([&totals.first[..channels], &totals.second[..channels]]);
    }

    /// The buffer for a group's share of a weight gradient.
    pub(super) fn partial(&self, group: &Group, gradient: Dst) -> Dst {
        match group.index.checked_sub(1) {
            None => gradient,
            Some(index) => self.partials[index][lock(&self.pending).turn].dst(),
        }
    }

    /// Adds the other groups' shares of a gradient of `length` values to the first one's. The sum
    /// runs as part of the next phase: a phase of its own would take longer than the sum.
    pub(super) fn add_partials(&self, gradient: Dst, length: usize) {
        if !self.partials.is_empty() {
            let mut pending = lock(&self.pending);
            // The next phase writes its shares to the other buffer.
            pending.turn = 1 - pending.turn;
            pending.sum = Some((gradient, length));
        }
    }

    /// Computes one part of a pending sum; there are as many parts as groups.
    fn add_part(&self, part: usize, pending: Pending) {
        let Some((target, length)) = pending.sum else {
            return;
        };
        let parts = self.groups.len();
        let range = length * part / parts..length * (part + 1) / parts;
        // SAFETY: the parts do not overlap and are within the gradient.
        let sum = unsafe {
            std::slice::from_raw_parts_mut(target.pointer(range.start, range.len()), range.len())
        };
        for buffers in self.partials {
            let values = &buffers[1 - pending.turn].as_slice()[range.clone()];
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += value;
            }
        }
    }
}

/// A sum of the groups' shares of a gradient, deferred to the next phase.
#[derive(Clone, Copy, Default)]
pub(super) struct Pending {
    sum: Option<(Dst, usize)>,
    /// Index of the buffer for the current phase's shares.
    turn: usize,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves scratch and sums usable: they are written before they are read.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_row_once() {
        for rows in [0, 1, 23, 24, 47, 97, 192, 193, 1000] {
            for channels in [16, 500, 2000] {
                let covered: Vec<usize> = blocks(5..5 + rows, channels).flatten().collect();
                assert_eq!(covered, (5..5 + rows).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn groups_cover_every_image_once() {
        for (images, threads) in [(1, 4), (5, 2), (128, 3)] {
            let groups = groups(images, threads);
            assert_eq!(groups.len(), threads.min(images));
            let covered: Vec<usize> = groups.into_iter().flat_map(|g| g.images).collect();
            assert_eq!(covered, (0..images).collect::<Vec<_>>());
        }
    }
}
