//! The steps of a network, and the values that they read.

use crate::network::{BatchNorm, Conv, Plan, Window};
use crate::spec::Activation;

/// A layer's value as later layers read it: `activation(norm(z))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    /// The layer that is stored.
    pub(super) z: usize,
    /// The layer of the batch normalisation.
    pub(super) norm: Option<usize>,
    pub(super) activation: Activation,
}

impl Value {
    pub(super) fn stored(z: usize) -> Value {
        Value {
            z,
            norm: None,
            activation: Activation::Identity,
        }
    }

    /// Whether the value itself is stored.
    pub(super) fn is_plain(self) -> bool {
        self.norm.is_none() && self.activation == Activation::Identity
    }

    /// The gradient that the readers of this value compute: of the normalisation's output, or of the stored layer. It
    /// is the gradient before the activation.
    pub(super) fn slot(self) -> usize {
        self.norm.map_or(slot(self.z), norm_slot)
    }
}

/// Index of the gradient of a stored layer.
pub(super) fn slot(layer: usize) -> usize {
    2 * layer
}

/// Index of the gradient of a normalisation's output.
pub(super) fn norm_slot(layer: usize) -> usize {
    2 * layer + 1
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// A matrix product over the pixels.
    Pointwise,
    /// 3×3 or 5×5, one kernel for each channel.
    Depthwise,
    /// The first convolution, from the images.
    Stem,
    General,
}

/// A convolution or a fully connected layer.
#[derive(Clone, Debug)]
pub(super) struct ConvStep {
    pub(super) layer: usize,
    /// `None`: the images.
    pub(super) input: Option<Value>,
    pub(super) kind: Kind,
    pub(super) conv: Conv,
    pub(super) after: After,
}

/// What inference does with a convolution's outputs before they are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct After {
    /// The layer of the normalisation that is folded into the weights.
    pub(super) norm: Option<usize>,
    /// A value that is added.
    pub(super) addend: Option<usize>,
    /// Applied last.
    pub(super) activation: Activation,
}

impl After {
    pub(super) const NOTHING: After = After {
        norm: None,
        addend: None,
        activation: Activation::Identity,
    };
}

/// One step. `layer` is the layer whose value the step stores.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Conv(ConvStep),
    /// A batch normalisation: the coefficients from the sums of `z`.
    Norm {
        layer: usize,
        z: usize,
        norm: BatchNorm,
    },
    /// Stores a value that is otherwise computed when it is read.
    Make {
        layer: usize,
        input: Value,
    },
    /// `activation(a + b)`
    Add {
        layer: usize,
        inputs: [Value; 2],
        activation: Activation,
    },
    /// The product of a map and a factor for each image and channel.
    Gate {
        layer: usize,
        map: Value,
        factors: usize,
    },
    Pool {
        layer: usize,
        input: Value,
        window: Window,
        largest: bool,
    },
    /// The mean over all pixels.
    Average {
        layer: usize,
        input: Value,
    },
    /// Copies channels: for each channel, the index of its source and the channel there.
    Gather {
        layer: usize,
        sources: Vec<Value>,
        map: Vec<(usize, usize)>,
    },
    /// A dropout: a product with a mask.
    Mask {
        layer: usize,
        input: Value,
        mask: usize,
    },
}

impl Step {
    /// The layer whose value the step computes.
    pub(super) fn layer(&self) -> usize {
        match *self {
            Step::Conv(ConvStep { layer, .. })
            | Step::Norm { layer, .. }
            | Step::Make { layer, .. }
            | Step::Add { layer, .. }
            | Step::Gate { layer, .. }
            | Step::Pool { layer, .. }
            | Step::Average { layer, .. }
            | Step::Gather { layer, .. }
            | Step::Mask { layer, .. } => layer,
        }
    }

    pub(super) fn is_norm(&self) -> bool {
        matches!(self, Step::Norm { .. })
    }

    /// The values that the step reads.
    pub(super) fn inputs(&self) -> Vec<Value> {
        match self {
            Step::Conv(step) => step.input.into_iter().collect(),
            Step::Norm { z, .. } => vec![Value::stored(*z)],
            Step::Add { inputs, .. } => inputs.to_vec(),
            Step::Gate { map, factors, .. } => vec![*map, Value::stored(*factors)],
            Step::Gather { sources, .. } => sources.clone(),
            Step::Make { input, .. }
            | Step::Pool { input, .. }
            | Step::Average { input, .. }
            | Step::Mask { input, .. } => vec![*input],
        }
    }
}

/// A network as steps.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    /// Values that lie one after the other in the same memory. Each list has layers of whole planes.
    pub(super) roots: Vec<Vec<usize>>,
    /// For each layer that lies in a root: the root, and its first channel there.
    pub(super) parts: Vec<Option<(usize, usize)>>,
    /// For each layer, its value as others read it, if it has one.
    pub(super) values: Vec<Option<Value>>,
    /// Layers with masks.
    pub(super) masks: Vec<usize>,
}

impl Program {
    /// The layers of `z`: itself, or the parts of a concatenation.
    pub(super) fn members(&self, plan: &Plan, z: usize) -> Vec<usize> {
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
