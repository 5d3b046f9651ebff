//! The description of a network. Executors, weight files, initialisation and cost estimates are
//! derived from it.

/// The activation after a normalised convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// No activation.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)` (Sandler et al. 2018, `torch.nn.ReLU6`).
    Relu6,
    /// `x * min(max(x + 3, 0), 6) / 6` (Howard et al. 2019, `torch.nn.Hardswish`).
    Hardswish,
}

/// Zero padding of a convolution. With either variant the convolution has `ceil(size / stride)`
/// outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Half the kernel on every side, for any image size, as in torch.
    #[default]
    Symmetric,
    /// As little padding as the outputs need, with the smaller half first, as in TensorFlow's
    /// `SAME`. At stride 1, the same as `Symmetric`.
    Same,
}

/// The padding before an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zeros {
    /// Rows above the image.
    pub above: usize,
    /// Columns to the left of the image.
    pub left: usize,
}

impl Padding {
    /// Number of zeros before the first of `size` rows or columns, for a kernel of this side and
    /// stride.
    #[inline]
    pub fn before(self, size: usize, kernel: usize, stride: usize) -> usize {
        match self {
            Padding::Symmetric => kernel / 2,
            Padding::Same => {
                let seen = (size.div_ceil(stride).max(1) - 1) * stride + kernel;
                seen.saturating_sub(size) / 2
            }
        }
    }

    /// The padding of an image of `height` × `width` pixels, along both axes.
    pub fn zeros(self, (height, width): (usize, usize), kernel: usize, stride: usize) -> Zeros {
        Zeros {
            above: self.before(height, kernel, stride),
            left: self.before(width, kernel, stride),
        }
    }
}

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

/// The constants of every batch normalisation in a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormSpec {
    /// Constant that is added to the variance before the square root.
    pub epsilon: f64,
    /// Weight of a new batch in the running statistics, as in torch. The first batches have a
    /// larger weight; see [`BatchNormSpec::momentum_after`].
    pub momentum: f64,
}

impl BatchNormSpec {
    /// Weight of the next batch, after `batches` batches are already in the running statistics. It
    /// is `1 / (batches + 1)` while that is larger than the constant momentum; after that, it is
    /// the momentum. So the statistics begin as the plain mean of the batches, as with
    /// `momentum=None` in torch.
    ///
    /// The initial zeros and ones therefore have no influence.
    pub fn momentum_after(self, batches: u64) -> f64 {
        self.momentum.max(1.0 / (batches as f64 + 1.0))
    }
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
    pub fn validate(&self) -> Result<(), SpecError> {
        let check = |ok: bool, what: &str, value: f64, expected: &'static str| {
            if ok {
                Ok(())
            } else {
                Err(SpecError::Value {
                    what: what.into(),
                    value,
                    expected,
                })
            }
        };
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
        let dropout = self.head.dropout;
        check(
            (0.0..1.0).contains(&dropout),
            "dropout",
            dropout,
            "0 or more, and below 1",
        )?;
        let BatchNormSpec { epsilon, momentum } = self.batch_norm;
        check(
            epsilon > 0.0 && epsilon < 1.0,
            "batch-norm epsilon",
            epsilon,
            "between 0 and 1",
        )?;
        check(
            momentum > 0.0 && momentum <= 1.0,
            "batch_norm_momentum",
            momentum,
            "above 0, and at most 1",
        )?;
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
}
