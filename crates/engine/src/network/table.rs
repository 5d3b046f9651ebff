//! Names, shapes and ranges of the tensors in one flat buffer.

use std::ops::Range;

/// The kind of a segment. Initialisation and regularisation depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight of a convolution, OIHW.
    ConvWeight,
    /// Weight of a fully connected layer, `[out, in]`.
    LinearWeight,
    /// Bias of a convolution or of a fully connected layer.
    Bias,
    /// Weight of a normalisation (gamma).
    NormWeight,
    /// Bias of a normalisation (beta).
    NormBias,
    /// Factors of channels (ConvNeXt's `layer_scale`).
    Scale,
    /// Biases of relative positions in attention.
    PositionBias,
    /// Running mean of a batch normalisation.
    RunningMean,
    /// Running (unbiased) variance of a batch normalisation.
    RunningVariance,
}

/// One named tensor inside the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// torchvision's name, for example `features.1.block.0.0.weight`.
    pub name: String,
    /// torch's shape.
    pub shape: Vec<usize>,
    /// The segment's range in the buffer.
    pub range: Range<usize>,
    /// The segment's kind.
    pub role: Role,
}

/// The segments of one flat buffer, in order, without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    segments: Vec<Segment>,
}

impl Table {
    /// All segments, in buffer order. This is the order of torch's `named_parameters` or
    /// `named_buffers`.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Length of the buffer.
    pub fn len(&self) -> usize {
        self.segments.last().map_or(0, |last| last.range.end)
    }

    /// Whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Appends a segment and returns its index. The length of the buffer saturates; [`Builder::finish`](crate::Builder)
    /// refuses such a network.
    pub fn push(&mut self, name: String, shape: Vec<usize>, role: Role) -> usize {
        let start = self.len();
        let count = shape
            .iter()
            .fold(1, |n: usize, &side| n.saturating_mul(side));
        let end = start.saturating_add(count);
        self.segments.push(Segment {
            name,
            shape,
            range: start..end,
            role,
        });
        self.segments.len() - 1
    }
}
