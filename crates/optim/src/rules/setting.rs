//! Descriptions of the rules and their keys, for lists of a configuration's keys.

/// An update rule, under its name in a configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct OptimizerRule {
    /// Its `type`: `adamw`.
    pub name: &'static str,
    /// Its description, in one line.
    pub text: &'static str,
    /// Its keys, besides `type`.
    pub settings: &'static [OptimizerSetting],
}

/// A key of a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct OptimizerSetting {
    /// The key: `betas`.
    pub name: &'static str,
    /// The form of its value.
    pub kind: OptimizerValue,
    /// Its purpose.
    pub text: &'static str,
}

/// The form of a value. The rules check the ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptimizerValue {
    /// `true` or `false`.
    Switch,
    /// A number.
    Number,
    /// Two numbers.
    Pair,
    /// A whole number from 0 on.
    Count,
}

// Purposes of the keys that several rules have.
pub(super) const BETAS: &str = "Decays of the running means.";
pub(super) const EPS: &str = "Keeps divisors from being 0.";
pub(super) const WEIGHT_DECAY: &str = "Strength of the weight decay.";
pub(super) const AMSGRAD: &str = "Divide by the largest mean square so far.";

impl OptimizerSetting {
    pub(super) const fn new(name: &'static str, kind: OptimizerValue, text: &'static str) -> Self {
        Self { name, kind, text }
    }
}
