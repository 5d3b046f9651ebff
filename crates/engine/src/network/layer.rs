//! The layers of a network.

use crate::spec::{Activation, Padding, Zeros};

/// One layer. It computes one value from the values of earlier layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The name of the module, as in torchvision or in the family's own project, for example
    /// `features.1.block.0.0`. Layers without parameters are named after their block, or after the
    /// module that they belong to; these names need not be unique.
    pub name: String,
    /// The operation.
    pub op: Op,
    /// Indices of the layers whose values are the inputs. They are smaller than the layer's own.
    pub inputs: Vec<usize>,
    /// Index of the layer's block, from 0 at the image on. Learning rates decay by block.
    pub depth: usize,
}

/// The operation of a layer. Maps are `[n, h, w, c]`. After [`Op::GlobalAverage`], values are `[n, c]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The images, `[n, h, w, 3]`. Always layer 0, and only layer 0.
    Image,
    /// A convolution (`torch.nn.Conv2d`).
    Conv(Conv),
    /// A batch normalisation (`torch.nn.BatchNorm2d`).
    BatchNorm(BatchNorm),
    /// A normalisation over the channels of each pixel (`torch.nn.LayerNorm`).
    LayerNorm(LayerNorm),
    /// An activation function.
    Activate(Activation),
    /// The largest value of each window (`torch.nn.MaxPool2d`). Padding never wins.
    MaxPool(Window),
    /// The mean of each window (`torch.nn.AvgPool2d`), without padding.
    AveragePool(Window),
    /// The mean over all pixels. From `[n, h, w, c]` to `[n, c]`.
    GlobalAverage,
    /// Squeeze-excite's product: a map, times one factor for each image and channel. The inputs are the map and the
    /// factors `[n, c]`.
    Gate,
    /// The sum of two values of one shape.
    Add,
    /// The channels of all inputs, one after the other.
    Concat,
    /// Some consecutive channels.
    Slice {
        /// The first channel.
        start: usize,
        /// Number of channels.
        length: usize,
    },
    /// A permutation of the channels: channel `i * (c / groups) + j` becomes channel `j * groups + i`
    /// (ShuffleNet's `channel_shuffle`).
    Shuffle {
        /// Number of groups.
        groups: usize,
    },
    /// Swin's patch merging: each 2×2 square becomes one pixel with 4 times the channels, in the order (0, 0), (1, 0),
    /// (0, 1), (1, 1) of (row, column). Odd sides are padded with zeros.
    Merge,
    /// A factor for each channel (ConvNeXt's `layer_scale`).
    Scale {
        /// Index of the factors among the parameters.
        weight: usize,
    },
    /// A fully connected layer over the channels (`torch.nn.Linear`), of a map or of `[n, c]`.
    Linear(Linear),
    /// Swin's attention within (shifted) windows.
    Attention(Attention),
    /// In training, zeroes some values and scales the others (`torch.nn.Dropout`).
    Dropout {
        /// Fraction of zeros.
        rate: f64,
    },
    /// In training, zeroes the values of some images and scales the others (stochastic depth, Huang et al. 2016;
    /// torchvision's `StochasticDepth` of mode `row`).
    DropPath {
        /// Fraction of zeroed images.
        rate: f64,
    },
}

impl Op {
    /// Indices of the operation's parameters.
    pub fn parameters(&self) -> Vec<usize> {
        let linear = |layer: &Linear| [Some(layer.weight), layer.bias];
        let mut found = Vec::new();
        match self {
            Op::Conv(conv) => found.extend([Some(conv.weight), conv.bias].into_iter().flatten()),
            Op::BatchNorm(norm) => found.extend([norm.weight, norm.weight + 1]),
            Op::LayerNorm(norm) => found.extend([norm.weight, norm.weight + 1]),
            Op::Scale { weight } => found.push(*weight),
            Op::Linear(layer) => found.extend(linear(layer).into_iter().flatten()),
            Op::Attention(attention) => {
                let layers = [linear(&attention.qkv), linear(&attention.project)];
                found.push(attention.table);
                found.extend(layers.into_iter().flatten().flatten());
            }
            Op::Image
            | Op::Activate(_)
            | Op::MaxPool(_)
            | Op::AveragePool(_)
            | Op::GlobalAverage
            | Op::Gate
            | Op::Add
            | Op::Concat
            | Op::Slice { .. }
            | Op::Shuffle { .. }
            | Op::Merge
            | Op::Dropout { .. }
            | Op::DropPath { .. } => {}
        }
        found
    }
}

/// The windows of a convolution or a pooling: squares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Side of the window.
    pub kernel: usize,
    /// Distance between windows.
    pub stride: usize,
    /// Padding.
    pub pad: Pad,
    /// Whether a last window that is partly outside counts (`ceil_mode` of torch).
    pub ceil: bool,
}

/// Padding with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pad {
    /// This many on every side.
    Zeros(usize),
    /// TensorFlow's `SAME`: as few as `ceil(size / stride)` outputs need, with the smaller half first.
    Same,
}

impl Window {
    /// A window of this side at every pixel, with padding that keeps the size (for odd sides).
    pub fn new(kernel: usize) -> Window {
        Window {
            kernel,
            stride: 1,
            pad: Pad::Zeros(kernel / 2),
            ceil: false,
        }
    }

    /// Number of outputs for `size` rows or columns. 0 if no window fits.
    pub fn outputs(&self, size: usize) -> usize {
        let Window {
            kernel,
            stride,
            pad,
            ceil,
        } = *self;
        match pad {
            Pad::Same => size.div_ceil(stride),
            Pad::Zeros(zeros) => {
                let Some(room) = (size + 2 * zeros).checked_sub(kernel) else {
                    return 0;
                };
                if !ceil {
                    return room / stride + 1;
                }
                // torch: the last window starts inside the image or its left padding.
                let count = room.div_ceil(stride) + 1;
                if (count - 1) * stride >= size + zeros {
                    count - 1
                } else {
                    count
                }
            }
        }
    }

    /// Number of zeros before the first of `size` rows or columns.
    pub fn before(&self, size: usize) -> usize {
        match self.pad {
            Pad::Zeros(zeros) => zeros,
            Pad::Same => Padding::Same.before(size, self.kernel, self.stride),
        }
    }

    /// The zeros before an image of `height` × `width` pixels, along both axes.
    pub fn zeros(&self, (height, width): (usize, usize)) -> Zeros {
        Zeros {
            above: self.before(height),
            left: self.before(width),
        }
    }

    /// The padding as a word, if one fits: half the kernel, or `SAME`.
    pub fn padding(&self) -> Option<Padding> {
        match self.pad {
            Pad::Same => Some(Padding::Same),
            Pad::Zeros(zeros) if zeros == self.kernel / 2 && self.kernel % 2 == 1 => {
                Some(Padding::Symmetric)
            }
            Pad::Zeros(_) => None,
        }
    }
}

/// A convolution. Its weight is `[out, in / groups, kernel, kernel]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// The windows.
    pub window: Window,
    /// Number of groups. It divides both numbers of channels.
    pub groups: usize,
    /// Index of the weight among the parameters.
    pub weight: usize,
    /// Index of the bias among the parameters.
    pub bias: Option<usize>,
}

impl Conv {
    /// Whether each channel has a kernel of its own.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.in_channels && self.in_channels == self.out_channels
    }

    /// Whether the convolution is a matrix product over the pixels.
    pub fn is_pointwise(&self) -> bool {
        let Window {
            kernel,
            stride,
            pad,
            ..
        } = self.window;
        kernel == 1 && stride == 1 && matches!(pad, Pad::Zeros(0) | Pad::Same) && self.groups == 1
    }
}

/// A batch normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Number of channels.
    pub channels: usize,
    /// Index of the weight among the parameters; the bias comes right after.
    pub weight: usize,
    /// Index of the running mean among the statistics; the variance comes right after.
    pub statistics: usize,
    /// Constant that is added to the variance.
    pub epsilon: f64,
}

/// A normalisation over channels.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// Number of channels.
    pub channels: usize,
    /// Index of the weight among the parameters; the bias comes right after.
    pub weight: usize,
    /// Constant that is added to the variance.
    pub epsilon: f64,
}

/// A fully connected layer. Its weight is `[out, in]`, or `[out, in, 1, 1]` if the family's own project has a 1×1
/// convolution there.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Input channels.
    pub in_features: usize,
    /// Output channels.
    pub out_features: usize,
    /// Index of the weight among the parameters.
    pub weight: usize,
    /// Index of the bias among the parameters.
    pub bias: Option<usize>,
}

/// Attention within windows, with a bias for each relative position (Liu et al. 2021, torchvision's
/// `shifted_window_attention`). Maps whose sides are no multiples of the window are padded with zeros before `qkv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Number of channels.
    pub channels: usize,
    /// Number of heads.
    pub heads: usize,
    /// Side of a window.
    pub window: usize,
    /// Distance by which the windows are shifted, towards the top left; 0 for none. No shift is used along a side that
    /// is no longer than the window.
    pub shift: usize,
    /// Index of the table of biases, `[(2 * window - 1)^2, heads]`, among the parameters.
    pub table: usize,
    /// Queries, keys and values, one after the other.
    pub qkv: Linear,
    /// The layer after the attention.
    pub project: Linear,
}
