//! Errors in settings, calls and saved states.

use std::fmt::Display;

/// Every error of this crate, with the expected values.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting of an optimizer, a group, a schedule or a warm-up is outside its domain.
    #[error("{section}: `{key}` is {value}, expected {expected}")]
    Setting {
        /// Owner of the setting, for example `optimizer sgd` or `schedule step`.
        section: String,
        /// The key in a configuration file.
        key: &'static str,
        /// The value that was found.
        value: String,
        /// The accepted values.
        expected: &'static str,
    },

    /// Parameter groups that do not fit the buffer or each other.
    #[error("parameter group `{group}`: {problem}")]
    Group {
        /// Name of the group.
        group: String,
        /// The fault, and its remedy.
        problem: String,
    },

    /// The optimizer has no group of this name.
    #[error("no parameter group is named `{asked}`; the groups are {known}")]
    UnknownGroup {
        /// The requested name.
        asked: String,
        /// The names that exist, separated by commas.
        known: String,
    },

    /// A slice length differs from the optimizer's.
    #[error("{what} hold {found} values, expected {expected}: one for each parameter")]
    Length {
        /// The slice: parameters, gradients or the name of a state buffer.
        what: String,
        /// The optimizer's length.
        expected: usize,
        /// The slice's length.
        found: usize,
    },

    /// A gradient that overflows at every loss scale.
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
    /// Whether a setting is at fault, rather than a call or a saved state.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Setting { .. })
    }
}

/// Passes if `ok`; otherwise an error with the setting, its value and the expected values.
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

/// A finite number that is not negative, as most settings require.
pub(crate) fn is_non_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// A finite number above zero.
pub(crate) fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}
