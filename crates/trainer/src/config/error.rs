//! What can be wrong with a configuration.

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key that no section has.
    #[error("unknown key `{key}`; {hint}")]
    UnknownKey {
        /// The key with its section.
        key: String,
        /// The nearest valid key, or all of them.
        hint: String,
    },
    /// Not TOML, or without a key that has no default.
    #[error("{origin}: {message}")]
    Parse {
        /// The file or layer.
        origin: String,
        /// What is wrong with it.
        message: String,
    },
    /// A value of another type or out of range, or values that exclude each other.
    #[error("`{key}` is {found}; expected {expected}")]
    Invalid {
        /// The key with its section.
        key: &'static str,
        /// The value found.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A setting of the optimizer or the schedule is out of range.
    #[error("{}", rule(.0))]
    Rule(optim::Error),
    /// A setting of what happens to images is out of range.
    #[error(transparent)]
    Images(mnist_data::Error),
    /// The file cannot be read.
    #[error("cannot read the configuration {origin}")]
    Read {
        /// The file.
        origin: String,
        /// Why.
        source: std::io::Error,
    },
    /// One of these, and the layer that it is in.
    #[error("{origin}: {problem}")]
    Layer {
        /// The file, "--set" or the like.
        origin: String,
        /// What is wrong there.
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

    /// The same with the layer that it is in.
    pub(super) fn within(self, origin: &str) -> Self {
        Self::Layer {
            origin: origin.to_owned(),
            problem: Box::new(self),
        }
    }

    /// The same without the layer that it is in.
    pub(crate) fn without_layer(&self) -> &Self {
        match self {
            Self::Layer { problem, .. } => problem.without_layer(),
            other => other,
        }
    }

    /// The key that it is about, with its section.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, .. } => Some(key.clone()),
            Self::Invalid { key, .. } => Some((*key).to_owned()),
            Self::Rule(optim::Error::Setting { section, key, .. }) => Some(full_key(section, key)),
            Self::Images(mnist_data::Error::Setting { setting, .. }) => Some((*setting).to_owned()),
            Self::Layer { problem, .. } => problem.key(),
            Self::Rule(_) | Self::Images(_) | Self::Parse { .. } | Self::Read { .. } => None,
        }
    }
}

/// The key in a configuration file; `section` may end in the section's type.
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
