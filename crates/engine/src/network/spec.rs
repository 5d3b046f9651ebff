//! Networks of inverted residual blocks (MobileNetV2, MobileNetV3) as data.

use super::builder::{Builder, ConvSpec};
use super::layer::Pad;
use super::plan::Plan;
use crate::spec::{Activation, BatchNormSpec, Padding};

/// torchvision's names for the layers of a block. `I` is the index of the block in the network, `J`
/// the index of the layer in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `features.I.block.J`: a convolution and its normalisation share one index
    /// (`mobilenetv3.py`).
    MobileNetV3,
    /// `features.I.conv.J`: the projecting convolution and its normalisation have separate indices
    /// (`mobilenetv2.py`).
    MobileNetV2,
}

/// The squeeze-excite of a block (Hu et al. 2018).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqueezeSpec {
    /// Number of hidden channels.
    pub hidden: usize,
    /// Whether squeeze-excite comes before the activation of the depthwise convolution, instead of
    /// after it.
    pub before_activation: bool,
}

/// One inverted residual block: expand 1×1, depthwise k×k, squeeze-excite, project 1×1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSpec {
    /// Input channels.
    pub in_channels: usize,
    /// Whether the block starts with a 1×1 convolution to `expanded` channels. If not, `expanded`
    /// equals the input channels.
    pub expansion: bool,
    /// Channels of the depthwise convolution.
    pub expanded: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Side of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
    /// The squeeze-excite, if any.
    pub squeeze: Option<SqueezeSpec>,
    /// The activation after the expansion and after the depthwise convolution.
    pub activation: Activation,
}

impl BlockSpec {
    /// Whether the block adds its input to its output.
    pub fn is_residual(&self) -> bool {
        self.stride == 1 && self.in_channels == self.out_channels
    }
}

/// The layers from pooled features to logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadSpec {
    /// Size of a fully connected hidden layer with Hardswish, before the dropout.
    pub hidden: Option<usize>,
    /// Fraction of the features that are set to zero in training.
    pub dropout: f64,
    /// Number of logits.
    pub classes: usize,
}

/// A whole network: stem, blocks, last convolution, head.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkSpec {
    /// Name in configurations and file names.
    pub name: String,
    /// Naming scheme for the layers of a block.
    pub naming: Naming,
    /// Channels of the first convolution (3×3 over RGB).
    pub stem_channels: usize,
    /// Stride of the first convolution; 1 keeps resolution on small images, with the same weights.
    pub stem_stride: usize,
    /// Padding of the first convolution and of the depthwise convolutions.
    pub padding: Padding,
    /// The activation after the first and after the last convolution.
    pub activation: Activation,
    /// The inverted residual blocks, in order.
    pub blocks: Vec<BlockSpec>,
    /// Number of channels of the last 1×1 convolution, which gives the features.
    pub features: usize,
    /// The classifier.
    pub head: HeadSpec,
    /// Stochastic depth: fraction of images that skip the last block in training, if it is residual. It grows evenly from
    /// 0 at the first block.
    pub drop_path: f64,
    /// The constants of batch normalisation.
    pub batch_norm: BatchNormSpec,
}

/// A network that cannot be built.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SpecError {
    /// A size that is zero or unsupported.
    #[error("{what} is {value}, expected {expected}")]
    Value {
        /// Name of the setting.
        what: String,
        /// Value of the setting.
        value: f64,
        /// The accepted values.
        expected: &'static str,
    },
    /// The inputs of a layer have different numbers of channels.
    #[error("{layer}: its inputs have {found:?} channels, expected equal numbers")]
    Channels {
        /// Name of the layer.
        layer: String,
        /// Channels of the inputs.
        found: Vec<usize>,
    },
    /// The features were not marked, or the last layer is not fully connected.
    #[error("the network does not end with features and a fully connected layer")]
    NoHead,
    /// A block's input channels differ from the previous output.
    #[error("block {block} takes {takes} channels, but the one before has {given}")]
    Chain {
        /// Index of the block.
        block: usize,
        /// Input channels of the block.
        takes: usize,
        /// Output channels of the previous block.
        given: usize,
    },
    /// A block without expansion that changes the number of channels.
    #[error(
        "block {block} has no expansion, but its depthwise convolution has {expanded} channels instead of {takes}"
    )]
    NoExpansion {
        /// Index of the block.
        block: usize,
        /// Input channels of the block.
        takes: usize,
        /// Channels of the block's depthwise convolution.
        expanded: usize,
    },
}

impl NetworkSpec {
    /// Checks that the parts fit together and that the kernels support them.
    ///
    /// # Errors
    /// The first value out of range, or the first block that does not fit.
    fn validate(&self) -> Result<(), SpecError> {
        let check = value;
        let positive =
            |what: &str, value: usize| check(value > 0, what, value as f64, "at least 1");
        let stride = |what: &str, value: usize| {
            check((1..=2).contains(&value), what, value as f64, "1 or 2")
        };
        positive("stem_channels", self.stem_channels)?;
        stride("stem_stride", self.stem_stride)?;
        positive("features", self.features)?;
        positive("classes", self.head.classes)?;
        positive("hidden", self.head.hidden.unwrap_or(1))?;
        let mut given = self.stem_channels;
        for (index, block) in self.blocks.iter().enumerate() {
            if block.in_channels != given {
                return Err(SpecError::Chain {
                    block: index,
                    takes: block.in_channels,
                    given,
                });
            }
            positive(&format!("block {index}: expanded"), block.expanded)?;
            if !block.expansion && block.expanded != given {
                return Err(SpecError::NoExpansion {
                    block: index,
                    takes: given,
                    expanded: block.expanded,
                });
            }
            positive(&format!("block {index}: out_channels"), block.out_channels)?;
            positive(
                &format!("block {index}: squeeze"),
                block.squeeze.map_or(1, |squeeze| squeeze.hidden),
            )?;
            stride(&format!("block {index}: stride"), block.stride)?;
            check(
                matches!(block.kernel, 3 | 5),
                &format!("block {index}: kernel"),
                block.kernel as f64,
                "3 or 5",
            )?;
            given = block.out_channels;
        }
        Ok(())
    }

    /// The network's layers.
    ///
    /// # Errors
    /// The first value out of range, or the first block that does not fit.
    pub fn plan(&self) -> Result<Plan, SpecError> {
        self.validate()?;
        let mut b = Builder::new(&self.name, self.batch_norm);
        b.block("features.0");
        let stem = self.conv(self.stem_channels, 3).stride(self.stem_stride);
        let names = ["features.0.0".to_owned(), "features.0.1".to_owned()];
        let image = b.image();
        let mut x = conv_norm(&mut b, names, image, stem, self.activation);
        for (index, block) in (1..).zip(&self.blocks) {
            b.block(format!("features.{index}"));
            x = self.block(&mut b, index, block, x);
        }
        let last = self.blocks.len() + 1;
        b.block(format!("features.{last}"));
        let names = [0, 1].map(|part| format!("features.{last}.{part}"));
        let features = self.conv(self.features, 1);
        x = conv_norm(&mut b, names, x, features, self.activation);
        x = b.global_average(x);
        b.features(x);
        let name = match self.head.hidden {
            Some(hidden) => {
                x = b.linear("classifier.0", x, hidden);
                x = b.activate(x, Activation::Hardswish);
                "classifier.3"
            }
            None => "classifier.1",
        };
        x = b.dropout(x, self.head.dropout);
        let logits = b.linear(name, x, self.head.classes);
        b.finish(logits)
    }

    /// The drop path of block `index`, counted from 1.
    fn drop_path_of(&self, index: usize) -> f64 {
        let last = self.blocks.len().max(2) - 1;
        self.drop_path * (index - 1) as f64 / last as f64
    }

    /// A convolution with the network's padding.
    fn conv(&self, out_channels: usize, kernel: usize) -> ConvSpec {
        let pad = match self.padding {
            Padding::Symmetric => Pad::Zeros(kernel / 2),
            Padding::Same => Pad::Same,
        };
        ConvSpec::new(out_channels, kernel).pad(pad)
    }

    fn block(&self, b: &mut Builder, index: usize, spec: &BlockSpec, input: usize) -> usize {
        let layer = match self.naming {
            Naming::MobileNetV3 => "block",
            Naming::MobileNetV2 => "conv",
        };
        let mut layers = 0;
        let mut next = || {
            layers += 1;
            format!("features.{index}.{layer}.{}", layers - 1)
        };
        let parts = |name: String| [0, 1].map(|part| format!("{name}.{part}"));
        let mut x = input;
        if spec.expansion {
            let conv = self.conv(spec.expanded, 1);
            x = conv_norm(b, parts(next()), x, conv, spec.activation);
        }
        let depthwise = (self.conv(spec.expanded, spec.kernel))
            .stride(spec.stride)
            .groups(spec.expanded);
        let first = spec
            .squeeze
            .is_some_and(|squeeze| squeeze.before_activation);
        let activation = if first {
            Activation::Identity
        } else {
            spec.activation
        };
        x = conv_norm(b, parts(next()), x, depthwise, activation);
        if let Some(squeeze) = spec.squeeze {
            let name = next();
            let mut factors = b.global_average(x);
            factors = b.linear_conv(format!("{name}.fc1"), factors, squeeze.hidden);
            factors = b.activate(factors, Activation::Relu);
            factors = b.linear_conv(format!("{name}.fc2"), factors, spec.expanded);
            factors = b.activate(factors, Activation::Hardsigmoid);
            x = b.gate(x, factors);
            if first {
                x = b.activate(x, spec.activation);
            }
        }
        let first = next();
        let names = match self.naming {
            Naming::MobileNetV3 => parts(first),
            Naming::MobileNetV2 => [first, next()],
        };
        let project = self.conv(spec.out_channels, 1);
        x = conv_norm(b, names, x, project, Activation::Identity);
        if spec.is_residual() {
            x = b.drop_path(x, self.drop_path_of(index));
            b.add(x, input)
        } else {
            x
        }
    }
}

/// A convolution, its batch normalisation and its activation.
fn conv_norm(
    b: &mut Builder,
    [convolution, norm]: [String; 2],
    input: usize,
    spec: ConvSpec,
    activation: Activation,
) -> usize {
    let x = b.conv(convolution, input, spec);
    let x = b.batch_norm(norm, x);
    b.activate(x, activation)
}

/// Refuses a value that is not `ok`.
pub(super) fn value(
    ok: bool,
    what: &str,
    value: f64,
    expected: &'static str,
) -> Result<(), SpecError> {
    if ok {
        return Ok(());
    }
    Err(SpecError::Value {
        what: what.into(),
        value,
        expected,
    })
}
