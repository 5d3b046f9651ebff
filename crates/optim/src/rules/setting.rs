//! Descriptions of the update rules and their settings, for lists of configuration keys.

/// An update rule and its name in a configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct OptimizerRule {
    /// The value of `type`, for example `adamw`.
    pub name: &'static str,
    /// A description in one line.
    pub text: &'static str,
    /// The keys of the rule, except `type`.
    pub settings: &'static [OptimizerSetting],
}

/// A setting of a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct OptimizerSetting {
    /// The key, for example `betas`.
    pub name: &'static str,
    /// The type of the value.
    pub kind: OptimizerValue,
    /// The purpose of the setting.
    pub text: &'static str,
}

/// The type of a setting's value. The rules check the ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptimizerValue {
    /// `true` or `false`.
    Switch,
    /// A number.
    Number,
    /// Two numbers.
    Pair,
    /// A non-negative integer.
    Count,
}

// Descriptions of keys that several rules share.
pub(super) const BETAS: &str = "Decays of the running means.";
pub(super) const EPS: &str = "Keeps divisors from being 0.";
pub(super) const WEIGHT_DECAY: &str = "Strength of the weight decay.";
pub(super) const AMSGRAD: &str = "Divide by the largest mean square so far.";

impl OptimizerSetting {
    pub(super) const fn new(name: &'static str, kind: OptimizerValue, text: &'static str) -> Self {
        Self { name, kind, text }
    }
}
