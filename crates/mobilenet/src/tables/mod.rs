//! Block tables, with one file for each family of networks.

mod v2;
mod v3;

pub(crate) use v2::v2;
pub(crate) use v3::{Size, v3};

use engine::{Activation, BlockSpec};

/// The convolutions of a network at one width.
pub(crate) struct Backbone {
    pub(crate) stem_channels: usize,
    /// The activation after the first and after the last convolution.
    pub(crate) activation: Activation,
    pub(crate) blocks: Vec<BlockSpec>,
    /// Channels of the last convolution.
    pub(crate) features: usize,
    /// Channels of the fully connected layer before the dropout, if any.
    pub(crate) hidden: Option<usize>,
}

/// The nearest multiple of 8. If that is below nine tenths of `value`, the next multiple
/// (`torchvision.models._utils._make_divisible`).
pub(crate) fn make_divisible(value: f64) -> usize {
    let rounded = ((value + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * value {
        rounded + 8
    } else {
        rounded
    }
}

#[cfg(test)]
mod tests {
    use super::make_divisible;

    #[test]
    fn widths_round_as_torchvision_does() {
        assert_eq!(
            [12.0, 4.0, 18.0, 60.0, 29.0].map(make_divisible),
            [16, 8, 24, 64, 32]
        );
    }
}
