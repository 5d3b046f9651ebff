//! Shared state of all phases of a step: the team, the batch's division into groups, and each
//! thread's scratch memory.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::layout::StepWeights;
use crate::isa::Isa;
use crate::kernels::{Sums, convert_rows};
use crate::layered::conv;
use crate::memory::{Buffer, Dst, Planes, padded, planes};
use crate::simd::LANES;
use crate::team::Team;

/// Maximum number of f32 values in a block of rows, over all its operands, so that the block fits the
/// cache. bf16 values take half the space.
const BLOCK: usize = 80 * 1024;

/// Planes of at least this many values are written with stores that bypass the caches. Chosen by
/// measurement.
const STREAM: usize = 640 * 1024;

/// Splits a range of rows into blocks. `channels` is the total row length of all operands.
pub(crate) fn blocks(
    isa: Isa,
    rows: Range<usize>,
    channels: usize,
) -> impl Iterator<Item = Range<usize>> {
    blocks_of(isa, 2 * isa.block_rows(), rows, channels)
}

/// As [`blocks`], of at least this many rows where there are so many. The number of rows is a multiple of
/// [`Isa::block_rows`] where possible.
pub(crate) fn blocks_of(
    isa: Isa,
    least: usize,
    rows: Range<usize>,
    channels: usize,
) -> impl Iterator<Item = Range<usize>> {
    let unit = isa.block_rows();
    let most = (BLOCK * isa.rank() / channels / unit * unit).clamp(least, 192);
    let count = rows.len().div_ceil(most).max(1);
    let step = rows.len().div_ceil(count).next_multiple_of(unit);
    let step = step.min(rows.len()).max(1);
    let end = rows.end;
    rows.step_by(step)
        .map(move |start| start..end.min(start + step))
}

/// Each block, and the one after it.
pub(crate) fn and_next(
    blocks: impl Iterator<Item = Range<usize>>,
) -> impl Iterator<Item = (Range<usize>, Option<Range<usize>>)> {
    let mut blocks = blocks.peekable();
    std::iter::from_fn(move || {
        let block = blocks.next()?;
        Some((block, blocks.peek().cloned()))
    })
}

/// Scratch memory of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    blocks: [Option<Buffer>; 4],
    ring: Option<Buffer>,
    sums: Option<Buffer>,
    /// Memory of convolutions of any shape.
    pub(crate) conv: conv::Scratch,
}

impl Scratch {
    /// Block buffer `index` (0 to 3), for `rows` pixels of `channels` channels. Each pixel of a
    /// plane takes `pixel` values.
    pub(crate) fn block(
        &mut self,
        index: usize,
        rows: usize,
        channels: usize,
        pixel: usize,
    ) -> Planes {
        // The stride is an odd number of cache lines, so that planes start in different cache sets.
        let stride = ((rows * pixel).div_ceil(LANES) | 1) * LANES;
        let length = padded(channels) / LANES * stride;
        Planes {
            start: at_least(&mut self.blocks[index], length),
            stride,
            pixel,
        }
    }

    pub(crate) fn ring(&mut self, length: usize) -> Dst {
        at_least(&mut self.ring, length)
    }

    /// Two zeroed vectors of sums over `channels`.
    pub(crate) fn sums(&mut self, channels: usize) -> [Dst; 2] {
        let length = padded(channels);
        let start = at_least(&mut self.sums, 2 * length);
        // SAFETY: both are within the buffer.
        unsafe {
            start.fill_zero(2 * length);
            [start, start.at(length)]
        }
    }
}

/// A buffer of at least `length` values. If it grows, its contents are lost.
pub(crate) fn at_least(buffer: &mut Option<Buffer>, length: usize) -> Dst {
    match buffer {
        Some(buffer) if buffer.len() >= length => buffer.dst(),
        _ => buffer.insert(Buffer::new(length)).dst(),
    }
}

/// Adds the f32 sums to the f64 `sums`, and sets the f32 sums to zero.
///
/// # Safety
/// Both f32 buffers must have at least as many values as `sums`.
pub(crate) unsafe fn flush([first, second]: [Dst; 2], sums: &mut Sums) {
    for (from, to) in [(first, &mut sums.first), (second, &mut sums.second)] {
        for (at, sum) in to.iter_mut().enumerate() {
            // SAFETY: as promised by the caller.
            *sum += f64::from(unsafe { from.src().get(at) });
        }
        // SAFETY: as promised by the caller.
        unsafe { from.fill_zero(to.len()) };
    }
}

/// A range of the batch's images. One thread processes it. Sums are computed group by group, so
/// that they are reproducible.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) index: usize,
    pub(crate) images: Range<usize>,
}

impl Group {
    /// The rows of the group, if each image has `pixels` pixels.
    pub(crate) fn rows(&self, pixels: usize) -> Range<usize> {
        self.images.start * pixels..self.images.end * pixels
    }
}

/// Splits a batch into one group per thread, or one per image if there are fewer images than
/// threads.
pub(crate) fn groups(images: usize, threads: usize) -> Vec<Group> {
    let count = threads.min(images).max(1);
    (0..count)
        .map(|index| Group {
            index,
            images: images * index / count..images * (index + 1) / count,
        })
        .collect()
}

/// State that all phases of a step share.
pub(crate) struct Context<'a> {
    pub(crate) isa: Isa,
    pub(crate) team: &'a Team,
    pub(crate) groups: &'a [Group],
    /// One scratch memory per thread.
    pub(crate) scratch: &'a [Mutex<Scratch>],
    /// One set of sums per group.
    pub(crate) sums: &'a [Mutex<Sums>],
    /// Weight gradients of every group except the first. Each has one buffer for the current layer
    /// and one for the previous layer.
    pub(crate) partials: &'a [[Buffer; 2]],
    pub(crate) pending: Mutex<Pending>,
    pub(crate) weights: StepWeights<'a>,
    /// The factors of each random layer, in the plan's order; empty if none are applied.
    pub(crate) masks: &'a [Vec<f32>],
}

impl Context<'_> {
    /// The factors of a random layer, if they are applied.
    pub(crate) fn mask(&self, index: Option<usize>) -> Option<&[f32]> {
        self.masks.get(index?).map(Vec::as_slice)
    }

    /// Runs `work` on each group. The group's sums over `channels` start at zero.
    pub(crate) fn each_group(
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

    /// f32 activations as the operand of a product: themselves, or rounded to bf16 in block `index` of the scratch.
    ///
    /// # Safety
    /// `x` must have these rows and channels.
    pub(super) unsafe fn operand(
        &self,
        scratch: &mut Scratch,
        index: usize,
        rows: usize,
        channels: usize,
        x: Planes,
    ) -> Planes {
        if self.isa.rank() == 1 {
            return x;
        }
        let target = scratch.block(index, rows, channels, self.isa.pixel());
        // SAFETY: as promised by the caller; the block has this shape.
        unsafe { convert_rows(self.isa, rows, planes(channels), x, target) };
        target
    }

    /// Blocks 2 and 3 of the scratch, which a weight gradient needs for `rows` pixels of these channels; `None` if it needs
    /// none.
    pub(crate) fn ranks(
        &self,
        scratch: &mut Scratch,
        rows: usize,
        [inputs, outputs]: [usize; 2],
    ) -> Option<[Planes; 2]> {
        let rank = self.isa.rank();
        (rank > 1 && !self.isa.has_tiles()).then(|| {
            [(2, inputs), (3, outputs)]
                .map(|(index, channels)| scratch.block(index, rows.div_ceil(rank), channels, LANES))
        })
    }

    /// Whether planes are so long that their start has left the caches by the time their end is
    /// written.
    pub(crate) fn streams(&self, planes: Planes) -> bool {
        planes.stride >= STREAM
    }

    /// Adds both sums of all groups, in the groups' order, and passes the totals to `f`. The next
    /// phase starts with new sums.
    pub(crate) fn with_totals(&self, channels: usize, f: impl FnOnce([&[f64]; 2])) {
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

    /// The buffer for one group's part of a weight gradient.
    pub(crate) fn partial(&self, group: &Group, gradient: Dst) -> Dst {
        match group.index.checked_sub(1) {
            None => gradient,
            Some(index) => self.partials[index][lock(&self.pending).turn].dst(),
        }
    }

    /// Adds the other groups' parts of a gradient of `length` values to the first group's part. The
    /// next phase does this addition: a separate phase would take longer than the addition itself.
    pub(crate) fn add_partials(&self, gradient: Dst, length: usize) {
        if !self.partials.is_empty() {
            let mut pending = lock(&self.pending);
            // The next phase writes its parts of a gradient to the other buffer.
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

/// An addition of the groups' parts of a gradient that is deferred to the next phase.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pending {
    sum: Option<(Dst, usize)>,
    /// Index of the buffer that the current phase writes its parts to.
    turn: usize,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
                for isa in [Isa::best(), Isa::portable_tiles()] {
                    let covered: Vec<usize> =
                        blocks(isa, 5..5 + rows, channels).flatten().collect();
                    assert_eq!(covered, (5..5 + rows).collect::<Vec<_>>());
                }
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
