//! Errors in settings, calls and saved states.

use std::fmt::Display;

/// Every error of this crate. Messages include the accepted values.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting of an optimizer, group, schedule or warm-up is out of range.
    #[error("{section}: `{key}` is {value}, expected {expected}")]
    Setting {
        /// The section that contains the setting, for example `optimizer sgd` or `schedule step`.
        section: String,
        /// The key in a configuration file.
        key: &'static str,
        /// The value that was found.
        value: String,
        /// The accepted values.
        expected: &'static str,
    },

    /// Parameter groups do not fit the buffer or each other.
    #[error("parameter group `{group}`: {problem}")]
    Group {
        /// Name of the group.
        group: String,
        /// The problem, and how to solve it.
        problem: String,
    },

    /// The optimizer has no group with this name.
    #[error("no parameter group is named `{asked}`; the groups are {known}")]
    UnknownGroup {
        /// The requested name.
        asked: String,
        /// The names that exist, separated by commas.
        known: String,
    },

    /// A slice has a different length than the optimizer.
    #[error("{what} hold {found} values, expected {expected}: one for each parameter")]
    Length {
        /// Name of the slice: parameters, gradients or a state buffer.
        what: String,
        /// Length of the optimizer's buffers.
        expected: usize,
        /// Length of the slice.
        found: usize,
    },

    /// A gradient overflows at every loss scale.
    #[error(
        "the gradient is not finite even at a loss scale of {scale:e}; lower the learning rate, or train in f32"
    )]
    NotFinite {
        /// The current scale.
        scale: f32,
    },

    /// A saved state does not belong to this optimizer or schedule.
    #[error("this state cannot be loaded: {0}")]
    State(String),
}

impl Error {
    /// Whether the error comes from a setting, not from a call or a saved state.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Setting { .. })
    }
}

/// Returns an error with the setting, its value and the expected values, unless `ok`.
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

/// Whether a number is finite and not negative, as most settings require.
pub(crate) fn is_non_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// Whether a number is finite and above zero.
pub(crate) fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}
