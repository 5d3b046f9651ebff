//! The steps of a network, and the values that they read.

use crate::network::{BatchNorm, Conv, Plan, Window};
use crate::spec::Activation;

/// A layer's value as later layers read it: `activation(norm(z))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// The layer that is stored.
    pub z: usize,
    /// The layer of the batch normalisation.
    pub norm: Option<usize>,
    /// Applied last.
    pub activation: Activation,
}

impl Value {
    /// A value that is stored as it is read.
    pub fn stored(z: usize) -> Value {
        Value {
            z,
            norm: None,
            activation: Activation::Identity,
        }
    }

    /// Whether the value itself is stored.
    pub fn is_plain(self) -> bool {
        self.norm.is_none() && self.activation == Activation::Identity
    }

    /// The gradient that the readers of this value compute: of the normalisation's output, or of the stored layer. It
    /// is the gradient before the activation.
    pub fn slot(self) -> usize {
        self.norm.map_or(slot(self.z), norm_slot)
    }
}

/// Index of the gradient of a stored layer.
pub fn slot(layer: usize) -> usize {
    2 * layer
}

/// Index of the gradient of a normalisation's output.
pub fn norm_slot(layer: usize) -> usize {
    2 * layer + 1
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A matrix product over the pixels.
    Pointwise,
    /// 3×3 or 5×5, one kernel for each channel.
    Depthwise,
    /// The first convolution, from the images.
    Stem,
    /// Any other.
    General,
}

/// A convolution or a fully connected layer.
#[derive(Clone, Debug)]
pub struct ConvStep {
    /// The layer of the convolution.
    pub layer: usize,
    /// `None`: the images.
    pub input: Option<Value>,
    /// How it is computed.
    pub kind: Kind,
    /// The convolution.
    pub conv: Conv,
    /// What inference does with its outputs.
    pub after: After,
}

/// What inference does with a convolution's outputs before they are stored.
#[derive(Clone, Copy, Debug)]
pub struct After {
    /// The layer of the normalisation that is folded into the weights.
    pub norm: Option<usize>,
    /// A value that is added.
    pub addend: Option<usize>,
    /// Applied last.
    pub activation: Activation,
}

impl After {
    /// The outputs are stored as they are.
    pub const NOTHING: After = After {
        norm: None,
        addend: None,
        activation: Activation::Identity,
    };
}

/// One step. `layer` is the layer whose value the step stores.
#[derive(Clone, Debug)]
pub enum Step {
    /// A convolution or a fully connected layer.
    Conv(ConvStep),
    /// A batch normalisation: the coefficients from the sums of `z`.
    Norm {
        /// The layer whose value is stored.
        layer: usize,
        /// The stored layer that is normalised.
        z: usize,
        /// The normalisation.
        norm: BatchNorm,
    },
    /// Stores a value that is otherwise computed when it is read.
    Make {
        /// The layer whose value is stored.
        layer: usize,
        /// What the step reads.
        input: Value,
    },
    /// `activation(a + b)`
    Add {
        /// The layer whose value is stored.
        layer: usize,
        /// What is added.
        inputs: [Value; 2],
        /// Applied to the sum.
        activation: Activation,
    },
    /// The product of a map and a factor for each image and channel.
    Gate {
        /// The layer whose value is stored.
        layer: usize,
        /// The map.
        map: Value,
        /// The stored layer of the factors.
        factors: usize,
    },
    /// The largest value or the mean of each window.
    Pool {
        /// The layer whose value is stored.
        layer: usize,
        /// What the step reads.
        input: Value,
        /// The windows.
        window: Window,
        /// Whether the largest value of a window counts, or else the mean.
        largest: bool,
    },
    /// The mean over all pixels.
    Average {
        /// The layer whose value is stored.
        layer: usize,
        /// What the step reads.
        input: Value,
    },
    /// Copies channels: for each channel, the index of its source and the channel there.
    Gather {
        /// The layer whose value is stored.
        layer: usize,
        /// What the step reads.
        sources: Vec<Value>,
        /// For each channel, the source and the channel there.
        map: Vec<(usize, usize)>,
    },
    /// A layer that the CPU's engine lacks: a layer normalisation, patch merging, channel scales, an attention. Its input
    /// is stored as it is read.
    Other {
        /// The layer whose value is stored.
        layer: usize,
        /// What the step reads.
        input: Value,
    },
    /// A dropout: a product with a mask.
    Mask {
        /// The layer whose value is stored.
        layer: usize,
        /// What the step reads.
        input: Value,
        /// Index of the mask.
        mask: usize,
    },
}

impl Step {
    /// The layer whose value the step computes.
    pub fn layer(&self) -> usize {
        match *self {
            Step::Conv(ConvStep { layer, .. })
            | Step::Norm { layer, .. }
            | Step::Make { layer, .. }
            | Step::Add { layer, .. }
            | Step::Gate { layer, .. }
            | Step::Pool { layer, .. }
            | Step::Average { layer, .. }
            | Step::Gather { layer, .. }
            | Step::Other { layer, .. }
            | Step::Mask { layer, .. } => layer,
        }
    }

    /// Whether it is a batch normalisation.
    pub fn is_norm(&self) -> bool {
        matches!(self, Step::Norm { .. })
    }

    /// The values that the step reads.
    pub fn inputs(&self) -> Vec<Value> {
        match self {
            Step::Conv(step) => step.input.into_iter().collect(),
            Step::Norm { z, .. } => vec![Value::stored(*z)],
            Step::Add { inputs, .. } => inputs.to_vec(),
            Step::Gate { map, factors, .. } => vec![*map, Value::stored(*factors)],
            Step::Gather { sources, .. } => sources.clone(),
            Step::Make { input, .. }
            | Step::Pool { input, .. }
            | Step::Average { input, .. }
            | Step::Other { input, .. }
            | Step::Mask { input, .. } => vec![*input],
        }
    }
}

/// A network as steps.
#[derive(Clone, Debug)]
pub struct Program {
    /// The steps, in an order of execution.
    pub steps: Vec<Step>,
    /// Values that lie one after the other in the same memory. Each list has layers of whole planes.
    pub roots: Vec<Vec<usize>>,
    /// For each layer that lies in a root: the root, and its first channel there.
    pub parts: Vec<Option<(usize, usize)>>,
    /// For each layer, its value as others read it, if it has one.
    pub values: Vec<Option<Value>>,
    /// Layers with masks.
    pub masks: Vec<usize>,
}

impl Program {
    /// The layers of `z`: itself, or the parts of a concatenation.
    pub fn members(&self, plan: &Plan, z: usize) -> Vec<usize> {
        let Some((root, first)) = self.parts[z] else {
            return vec![z];
        };
        let (mut at, end) = (0, first + plan.channels[z]);
        let mut found = Vec::new();
        for &layer in &self.roots[root] {
            if at >= first && at < end {
                found.push(layer);
            }
            at += plan.channels[layer];
        }
        found
    }
}
