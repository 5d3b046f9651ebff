//! What can be wrong with a setting, a call or a saved state.

use std::fmt::Display;

/// Everything this crate refuses, with what it expected instead.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting of an optimizer, a group, a schedule or a warm-up is outside its domain.
    #[error("{section}: `{key}` is {value}, expected {expected}")]
    Setting {
        /// What the setting belongs to, for example `optimizer sgd` or `schedule step`.
        section: String,
        /// The key as it is written in a configuration file.
        key: &'static str,
        /// The value that was found.
        value: String,
        /// The values that are accepted.
        expected: &'static str,
    },

    /// Parameter groups that do not fit the buffer or each other.
    #[error("parameter group `{group}`: {problem}")]
    Group {
        /// Name of the group.
        group: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },

    /// A group was asked for that the optimizer does not have.
    #[error("no parameter group is named `{asked}`; the groups are {known}")]
    UnknownGroup {
        /// The name asked for.
        asked: String,
        /// The names that exist, separated by commas.
        known: String,
    },

    /// A slice has another length than the optimizer was made for.
    #[error("{what} hold {found} values, expected {expected}: one for each parameter")]
    Length {
        /// What was passed: parameters, gradients or the name of a state buffer.
        what: String,
        /// Length the optimizer was made for.
        expected: usize,
        /// Length that was passed.
        found: usize,
    },

    /// A gradient that overflows whatever its loss is scaled by.
    #[error(
        "the gradient is not finite even at a loss scale of {scale:e}; lower the learning rate, or train in f32"
    )]
    NotFinite {
        /// The scale.
        scale: f32,
    },

    /// A saved state does not belong to this optimizer or schedule.
    #[error("this state cannot be loaded: {0}")]
    State(String),
}

impl Error {
    /// Whether a setting is at fault, and not a call or a saved state.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Setting { .. })
    }
}

/// Passes if `ok`; otherwise names the setting, its value and what it should have been.
pub(crate) fn require(
    ok: bool,
    section: &str,
    key: &'static str,
    value: impl Display,
    expected: &'static str,
) -> Result<(), Error> {
    if ok {
        return Ok(());
    }
    Err(Error::Setting {
        section: section.to_owned(),
        key,
        value: value.to_string(),
        expected,
    })
}

/// A finite number that is not negative: what most settings have to be.
pub(crate) fn is_non_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// A finite number above zero.
pub(crate) fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}
