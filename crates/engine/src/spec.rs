//! The description of a network. Executors, weight files, initialisation and cost estimates are
//! derived from it.

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// No activation.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)` (Sandler et al. 2018, `torch.nn.ReLU6`).
    Relu6,
    /// `x * min(max(x + 3, 0), 6) / 6` (Howard et al. 2019, `torch.nn.Hardswish`).
    Hardswish,
    /// `x * sigmoid(x)` (`torch.nn.SiLU`).
    Silu,
    /// `x * Φ(x)` with the exact normal distribution (`torch.nn.GELU`).
    Gelu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `min(max(x + 3, 0), 6) / 6` (`torch.nn.Hardsigmoid`).
    Hardsigmoid,
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
