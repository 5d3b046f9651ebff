//! Memory for inference. It is kept between calls and grows to the needs of the largest call so
//! far.

use std::sync::Mutex;

use super::super::context::{Scratch, at_least, lock};
use super::folded::Folded;
use crate::fused::workspace::Side;
use crate::memory::{Buffer, Dst, Planes, plane_stride, planes};
use crate::simd::LANES;

/// Memories that no call is using.
#[derive(Default)]
pub(in crate::fused) struct Memories {
    idle: Mutex<Vec<Memory>>,
}

/// Memory of one call.
pub(super) struct Memory {
    /// One scratch memory per thread.
    pub(super) scratch: Vec<Mutex<Scratch>>,
    /// One backbone memory per thread that processes a group of images alone.
    pub(super) spaces: Vec<Mutex<Space>>,
    pub(super) head: Head,
}

impl Memories {
    /// Calls `work` with memory that no other call uses.
    pub(super) fn with<R>(&self, threads: usize, work: impl FnOnce(&mut Memory) -> R) -> R {
        let idle = lock(&self.idle).pop();
        let mut memory = idle.unwrap_or_else(|| Memory {
            scratch: (0..threads).map(|_| Mutex::default()).collect(),
            spaces: (0..threads).map(|_| Mutex::default()).collect(),
            head: Head::default(),
        });
        let result = work(&mut memory);
        lock(&self.idle).push(memory);
        result
    }
}

/// Distance in values from one plane of `rows` rows to the next: an odd number of cache lines.
fn stride(rows: usize, pixel: usize) -> usize {
    if rows < 64 {
        (rows | 1) * LANES
    } else {
        plane_stride(rows, pixel)
    }
}

/// Length in values of activations with `rows` rows of `channels` channels.
fn length(channels: usize, rows: usize) -> usize {
    planes(channels) * stride(rows, LANES)
}

/// A range of memory, reused for activations of different shapes.
#[derive(Clone, Copy)]
pub(super) struct Area {
    start: Dst,
    /// Values per pixel.
    pixel: usize,
}

impl Area {
    /// Activations of `rows` rows in this area. The area must be large enough.
    pub(super) fn planes(self, rows: usize) -> Planes {
        Planes {
            start: self.start,
            stride: stride(rows, self.pixel),
            pixel: self.pixel,
        }
    }

    /// The same area for f32 activations, even if other activations are bf16.
    pub(super) fn wide(self) -> Area {
        Area {
            pixel: LANES,
            ..self
        }
    }
}

/// Memory of the head. All areas are `[planes][images][16]`.
#[derive(Default)]
pub(super) struct Head {
    buffers: [Option<Buffer>; 3],
}

impl Head {
    /// Areas for the pooled features, the hidden layer and the logits.
    pub(super) fn areas(&mut self, folded: &Folded, images: usize) -> [Area; 3] {
        let hidden = folded.hidden.as_ref().map_or(0, |layer| layer.outputs);
        let channels = [folded.last.outputs, hidden, folded.classifier.outputs];
        let mut channels = channels.into_iter();
        self.buffers.each_mut().map(|buffer| {
            let channels = channels.next().unwrap_or(0);
            Area {
                start: at_least(buffer, length(channels, images)),
                pixel: folded.isa().pixel(),
            }
        })
    }
}

/// Memory of the backbone.
#[derive(Default)]
pub(super) struct Space {
    buffers: [Option<Buffer>; 7],
}

/// Areas of the backbone, for one group of images.
#[derive(Clone, Copy)]
pub(super) struct Areas {
    /// Two areas for the inputs and outputs of blocks. The output of one block is the input of the
    /// next.
    pub(super) turns: [Area; 2],
    /// The input of block `cut`, for all images.
    pub(super) joined: Area,
    /// The output of a depthwise convolution.
    pub(super) filtered: Area,
    /// Squeeze-excite's averages, hidden layer and factors.
    pub(super) averages: Area,
    pub(super) hidden: Area,
    pub(super) factors: Area,
    /// Blocks with an index below `cut` process `few` images at a time, so that their large
    /// activations stay in the cache. Later blocks process all images at once.
    pub(super) cut: usize,
    /// Number of images that the blocks before `cut` process at a time.
    pub(super) few: usize,
}

/// Maximum number of values in a thread's activations, chosen by measurement. This is more than a
/// core's own cache can hold. With fewer images at a time, the weights would have to be read more
/// often, which costs more than the cache misses.
const CACHE: usize = 640 * 1024;

impl Space {
    /// Creates areas for `images` images of this size. If `together`, all images run at once.
    pub(super) fn areas(
        &mut self,
        folded: &Folded,
        images: usize,
        image: Side,
        together: bool,
    ) -> Areas {
        let (cut, few) = if together {
            (0, images)
        } else {
            cut(folded, images, image)
        };
        let count = |index: usize| if index < cut { few } else { images };
        let mut side = image.strided(folded.stem.stride);
        let mut channels = folded.stem.channels;
        // Sizes of the activations between block `index - 1` and block `index`.
        let (mut turns, mut joined) = (0, 0);
        let mut between = |index: usize, channels: usize, side: Side| {
            if index == cut {
                joined = length(channels, images * side.pixels());
            } else {
                turns = turns.max(length(channels, count(index) * side.pixels()));
            }
        };
        let (mut filtered, mut wide, mut narrow) = (0, 0, 0);
        for (index, block) in folded.blocks.iter().enumerate() {
            between(index, channels, side);
            let expanded = block.depthwise.channels;
            side = side.strided(block.depthwise.stride);
            channels = block.project.outputs;
            filtered = filtered.max(length(expanded, count(index) * side.pixels()));
            if let Some(layer) = &block.squeeze {
                wide = wide.max(length(expanded, images));
                narrow = narrow.max(length(layer.reduce.outputs, images));
            }
        }
        between(folded.blocks.len(), channels, side);
        let lengths = [turns, turns, joined, filtered, wide, narrow, wide];
        let mut lengths = lengths.into_iter();
        let areas = self.buffers.each_mut().map(|buffer| Area {
            start: at_least(buffer, lengths.next().unwrap_or(0)),
            pixel: folded.isa().pixel(),
        });
        let [first, second, joined, filtered, averages, hidden, factors] = areas;
        Areas {
            turns: [first, second],
            joined,
            filtered,
            averages,
            hidden,
            factors,
            cut,
            few,
        }
    }
}

/// Returns `cut` and `few`: the first block from which the activations of all images fit the cache,
/// and the number of images at a time before that block.
fn cut(folded: &Folded, images: usize, image: Side) -> (usize, usize) {
    let mut side = image.strided(folded.stem.stride);
    let mut channels = folded.stem.channels;
    let (mut cut, mut largest) = (0, 0);
    for (index, block) in folded.blocks.iter().enumerate() {
        let before = length(channels, side.pixels());
        side = side.strided(block.depthwise.stride);
        channels = block.project.outputs;
        let after = block.depthwise.channels + channels;
        let numbers = before + length(after, side.pixels());
        if numbers * images > CACHE {
            cut = index + 1;
            largest = largest.max(numbers);
        }
    }
    if cut == 0 {
        (0, images)
    } else {
        (cut, (CACHE / largest).clamp(1, images))
    }
}
