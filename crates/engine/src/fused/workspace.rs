//! Activations that a training step keeps from its forward pass for its backward pass.

use std::sync::Mutex;

use super::context::{Group, Scratch, groups};
use super::layout::{Layout, SqueezeLayout};
use super::norm::Norm;
use crate::kernels::Sums;
use crate::memory::{Buffer, Tensor, plane_stride, planes};
use crate::spec::{Activation, Padding, Zeros};

/// Height and width of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Side {
    pub(super) fn pixels(self) -> usize {
        self.height * self.width
    }

    /// The padding of a convolution with this kernel and stride, before the first row and column.
    pub(super) fn zeros(self, padding: Padding, kernel: usize, stride: usize) -> Zeros {
        padding.zeros((self.height, self.width), kernel, stride)
    }

    /// The size after a convolution with this stride.
    pub(super) fn strided(self, stride: usize) -> Side {
        Side {
            height: self.height.div_ceil(stride),
            width: self.width.div_ceil(stride),
        }
    }
}

/// The sizes of all activations, for images of one size.
#[derive(Clone, Debug)]
pub(super) struct Sides {
    pub(super) image: Side,
    /// The input size of each block; the last entry is the last block's output size.
    pub(super) blocks: Vec<Side>,
}

impl Sides {
    pub(super) fn new(layout: &Layout, image: Side) -> Self {
        let mut side = image.strided(layout.stem_stride);
        let mut blocks = vec![side];
        for block in &layout.blocks {
            side = side.strided(block.stride);
            blocks.push(side);
        }
        Sides { image, blocks }
    }

    /// The size of the last feature map, before pooling.
    pub(super) fn last(&self) -> Side {
        self.blocks[self.blocks.len() - 1]
    }
}

/// Squeeze-excite of one block. All tensors are `[planes][images][16]`.
pub(super) struct SqueezeSpace {
    pub(super) averages: Tensor,
    /// The hidden layer, after its activation.
    pub(super) hidden: Tensor,
    /// The hidden layer, before its activation, if that is SiLU.
    pub(super) before: Option<Tensor>,
    pub(super) factors: Tensor,
    /// Gradient of `factors`, later overwritten with the gradient of `averages`.
    pub(super) gradient: Tensor,
    pub(super) hidden_gradient: Tensor,
}

impl SqueezeSpace {
    fn new(layer: &SqueezeLayout, images: usize) -> Self {
        let (narrow, wide) = (layer.reduce.outputs, layer.expand.outputs);
        SqueezeSpace {
            averages: Tensor::new(wide, images),
            hidden: Tensor::new(narrow, images),
            before: (layer.activation == Activation::Silu).then(|| Tensor::new(narrow, images)),
            factors: Tensor::new(wide, images),
            gradient: Tensor::new(wide, images),
            hidden_gradient: Tensor::new(narrow, images),
        }
    }
}

/// Activations of one block. Each `z` is a convolution's output before normalisation.
pub(super) struct BlockSpace {
    pub(super) expanded: Option<Tensor>,
    pub(super) filtered: Tensor,
    pub(super) squeeze: Option<SqueezeSpace>,
    pub(super) projected: Tensor,
    /// The block's output.
    pub(super) output: Tensor,
}

/// The head. All tensors are `[planes][images][16]`.
pub(super) struct HeadSpace {
    pub(super) pooled: Tensor,
    /// The hidden layer, before its activation.
    pub(super) hidden: Option<Tensor>,
    /// The classifier's input.
    pub(super) features: Tensor,
    pub(super) logits: Tensor,
    /// Gradients of the logits, of the hidden layer and of the pooled features.
    pub(super) hidden_gradient: Tensor,
    pub(super) pooled_gradient: Tensor,
}

/// All memory of a training step for batches of one shape.
pub(super) struct Workspace {
    pub(super) images: usize,
    pub(super) sides: Sides,
    pub(super) groups: Vec<Group>,
    pub(super) stem: Tensor,
    pub(super) stem_output: Tensor,
    pub(super) blocks: Vec<BlockSpace>,
    pub(super) last: Tensor,
    pub(super) head: HeadSpace,
    pub(super) norms: Vec<Norm>,
    pub(super) packed: Buffer,
    pub(super) scratch: Vec<Mutex<Scratch>>,
    pub(super) sums: Vec<Mutex<Sums>>,
    pub(super) partials: Vec<[Buffer; 2]>,
    /// Gradients of the current layer's kernel weights, one buffer per group.
    pub(super) tap_gradients: Vec<Buffer>,
    /// Two buffers for gradients of expanded activations (`wide`) and two for gradients of blocks'
    /// outputs (`narrow`), used in turn.
    pub(super) wide: [Tensor; 2],
    pub(super) narrow: [Tensor; 2],
    /// The gradient of a projection before stochastic depth, if the network has that.
    pub(super) dropped: Option<Tensor>,
}

impl Workspace {
    /// Creates the memory, with `pixel` values for each pixel of a plane.
    pub(super) fn new(
        layout: &Layout,
        images: usize,
        image: Side,
        threads: usize,
        pixel: usize,
    ) -> Self {
        let sides = Sides::new(layout, image);
        let groups = groups(images, threads);
        let rows = |side: Side| images * side.pixels();
        let tensor = |channels, rows| Tensor::of(channels, rows, pixel);
        let stem_channels = layout.stem.0.channels;
        let (mut wide, mut narrow) = (Largest::new(pixel), Largest::new(pixel));
        narrow.add(stem_channels, rows(sides.blocks[0]));
        let mut blocks = Vec::new();
        for (block, side) in layout.blocks.iter().zip(sides.blocks.windows(2)) {
            let (before, after) = (rows(side[0]), rows(side[1]));
            wide.add(block.expanded, before);
            wide.add(block.expanded, after);
            narrow.add(block.in_channels, before);
            narrow.add(block.out_channels, after);
            blocks.push(BlockSpace {
                expanded: (block.expand.as_ref()).map(|_| tensor(block.expanded, before)),
                filtered: tensor(block.expanded, after),
                squeeze: (block.squeeze.as_ref()).map(|layer| SqueezeSpace::new(layer, images)),
                projected: tensor(block.out_channels, after),
                output: tensor(block.out_channels, after),
            });
        }
        let features = layout.last.0.outputs;
        let last_rows = rows(sides.last());
        wide.add(features, last_rows);
        let head = HeadSpace {
            pooled: Tensor::new(features, images),
            hidden: layout
                .hidden
                .map(|hidden| Tensor::new(hidden.outputs, images)),
            features: Tensor::new(layout.classifier.inputs, images),
            logits: Tensor::new(layout.classifier.outputs, images),
            hidden_gradient: Tensor::new(layout.classifier.inputs, images),
            pooled_gradient: Tensor::new(features, images),
        };
        let largest = layout.largest_partial();
        Workspace {
            images,
            stem: tensor(stem_channels, rows(sides.blocks[0])),
            stem_output: tensor(stem_channels, rows(sides.blocks[0])),
            blocks,
            last: tensor(features, last_rows),
            head,
            norms: layout
                .norms
                .iter()
                .map(|norm| Norm::new(norm.channels))
                .collect(),
            packed: Buffer::new(layout.packed),
            scratch: (0..threads).map(|_| Mutex::default()).collect(),
            sums: groups.iter().map(|_| Mutex::default()).collect(),
            tap_gradients: groups
                .iter()
                .map(|_| Buffer::new(layout.largest_taps()))
                .collect(),
            partials: groups
                .iter()
                .skip(1)
                .map(|_| [(); 2].map(|()| Buffer::new(largest)))
                .collect(),
            wide: wide.pair(),
            narrow: narrow.pair(),
            dropped: (layout.blocks.iter())
                .any(|block| block.drop_path.is_some())
                .then(|| narrow.tensor()),
            groups,
            sides,
        }
    }

    pub(super) fn fits(&self, images: usize, image: Side) -> bool {
        self.images == images && self.sides.image == image
    }
}

/// The shape that takes the most memory.
struct Largest {
    pixel: usize,
    length: usize,
    channels: usize,
    rows: usize,
}

impl Largest {
    fn new(pixel: usize) -> Self {
        Largest {
            pixel,
            length: 0,
            channels: 0,
            rows: 0,
        }
    }

    fn add(&mut self, channels: usize, rows: usize) {
        let length = planes(channels) * plane_stride(rows, self.pixel);
        if length > self.length {
            *self = Largest {
                length,
                channels,
                rows,
                ..*self
            };
        }
    }

    fn tensor(&self) -> Tensor {
        Tensor::of(self.channels, self.rows, self.pixel)
    }

    fn pair(&self) -> [Tensor; 2] {
        [(); 2].map(|()| self.tensor())
    }
}
