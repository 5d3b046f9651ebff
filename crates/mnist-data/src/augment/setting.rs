//! Descriptions of the operations and their keys, for lists of a configuration's keys.

/// A random operation, under its name in a configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AugmentOperation {
    /// Its key in the section: `affine`.
    pub name: &'static str,
    /// Its effect.
    pub text: &'static str,
    /// The keys of its table.
    pub settings: &'static [AugmentSetting],
}

/// A key of an operation's table.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AugmentSetting {
    /// The key: `degrees`.
    pub name: &'static str,
    /// The form of its value.
    pub kind: AugmentValue,
    /// Its purpose.
    pub text: &'static str,
}

/// The form of a value. The operations check the ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AugmentValue {
    /// A number.
    Number,
    /// Two numbers.
    Pair,
    /// A whole number from 0 on, 32 bits.
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
