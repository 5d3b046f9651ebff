//! Errors of a configuration.

/// The reason for refusing a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An unknown key.
    #[error("unknown key `{key}`; {hint}")]
    UnknownKey {
        /// The key with its section.
        key: String,
        /// The most similar valid keys, or all valid keys.
        hint: String,
    },
    /// Invalid TOML, or a missing key without a default.
    #[error("{origin}: {message}")]
    Parse {
        /// The file or layer.
        origin: String,
        /// The problem.
        message: String,
    },
    /// A value of another type or out of range, or values that exclude each other.
    #[error("`{key}` is {found}; expected {expected}")]
    Invalid {
        /// The key with its section.
        key: &'static str,
        /// The value found.
        found: String,
        /// The valid values.
        expected: String,
    },
    /// A run cannot go on with these settings.
    #[error(
        "the run began with other settings, and these cannot change: {changes}{hint}; leave them out, or start a new run"
    )]
    Unchangeable {
        /// Each setting with its former and its new value.
        changes: String,
        /// A reason.
        hint: &'static str,
    },
    /// A setting of the optimizer or the schedule is out of range.
    #[error("{}", rule(.0))]
    Rule(optim::Error),
    /// A setting of the images is out of range.
    #[error(transparent)]
    Images(mnist_data::Error),
    /// The file cannot be read.
    #[error("cannot read the configuration {origin}")]
    Read {
        /// The file.
        origin: String,
        /// The reason.
        source: std::io::Error,
    },
    /// An error with the layer that it is in.
    #[error("{origin}: {problem}")]
    Layer {
        /// The name of the layer: a file, or for example "--set".
        origin: String,
        /// The problem.
        problem: Box<ConfigError>,
    },
}

impl From<optim::Error> for ConfigError {
    fn from(error: optim::Error) -> Self {
        Self::Rule(error)
    }
}

impl ConfigError {
    pub(crate) fn parse(origin: &str, message: &dyn std::fmt::Display) -> Self {
        Self::Parse {
            origin: origin.to_owned(),
            message: message.to_string().trim_end().to_owned(),
        }
    }

    /// This error, attributed to a layer.
    pub(super) fn within(self, origin: &str) -> Self {
        Self::Layer {
            origin: origin.to_owned(),
            problem: Box::new(self),
        }
    }

    /// This error without its layer.
    pub(crate) fn without_layer(&self) -> &Self {
        match self {
            Self::Layer { problem, .. } => problem.without_layer(),
            other => other,
        }
    }

    /// The key that the error is about, with its section.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, .. } => Some(key.clone()),
            Self::Invalid { key, .. } => Some((*key).to_owned()),
            Self::Rule(optim::Error::Setting { section, key, .. }) => Some(full_key(section, key)),
            Self::Images(mnist_data::Error::Setting { setting, .. }) => Some((*setting).to_owned()),
            Self::Layer { problem, .. } => problem.key(),
            Self::Rule(_)
            | Self::Images(_)
            | Self::Parse { .. }
            | Self::Read { .. }
            | Self::Unchangeable { .. } => None,
        }
    }
}

/// The full key in a configuration file; `section` may end in the section's type.
fn full_key(section: &str, key: &str) -> String {
    let section = section.split(' ').next().unwrap_or(section);
    format!("{section}.{key}")
}

fn rule(error: &optim::Error) -> String {
    match error {
        optim::Error::Setting {
            section,
            key,
            value,
            expected,
        } => {
            let key = full_key(section, key);
            format!("`{key}` is {value}; expected {expected}")
        }
        other => other.to_string(),
    }
}
