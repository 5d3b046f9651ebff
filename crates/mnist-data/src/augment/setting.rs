//! Descriptions of the augmentations and their keys, for the reference of configuration keys.

/// The description of an augmentation.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AugmentOperation {
    /// The operation's key in the section `[augment]`, such as `affine`.
    pub name: &'static str,
    /// The operation's effect.
    pub text: &'static str,
    /// The keys of the operation's table.
    pub settings: &'static [AugmentSetting],
}

/// A key of an operation's table.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AugmentSetting {
    /// The key, such as `degrees`.
    pub name: &'static str,
    /// The form of the key's value.
    pub kind: AugmentValue,
    /// The meaning of the key.
    pub text: &'static str,
}

/// The form of a value. Ranges are checked by each operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AugmentValue {
    /// A number.
    Number,
    /// Two numbers.
    Pair,
    /// A whole number that fits a u32.
    Whole,
    /// A grey level, 0 to 255.
    Byte,
    /// A grey level, or the word "random".
    ByteOrRandom,
}

impl AugmentSetting {
    pub(super) const fn new(name: &'static str, kind: AugmentValue, text: &'static str) -> Self {
        Self { name, kind, text }
    }
}
