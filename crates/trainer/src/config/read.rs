//! From a file to a configuration, and what can be wrong with one.

use std::path::Path;

use super::RunConfig;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key that no section has.
    #[error("{origin}: unknown key `{key}`; {hint}")]
    UnknownKey {
        /// The file or layer it stands in.
        origin: String,
        /// The key with its section.
        key: String,
        /// The nearest valid key, or all of them.
        hint: String,
    },
    /// Not TOML, or a value of the wrong type.
    #[error("{origin}: {message}")]
    Parse {
        /// The file or layer.
        origin: String,
        /// What is wrong with it.
        message: String,
    },
    /// A value out of range, or values that exclude each other.
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
    #[error(transparent)]
    Rule(#[from] optim::Error),
    /// A setting of what happens to images is out of range.
    #[error(transparent)]
    Images(mnist_data::Error),
    /// The file cannot be read.
    #[error("cannot read the configuration {origin}: {source}")]
    Read {
        /// The file.
        origin: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl ConfigError {
    pub(crate) fn parse(origin: &str, message: &dyn std::fmt::Display) -> Self {
        Self::Parse {
            origin: origin.to_owned(),
            message: message.to_string().trim_end().to_owned(),
        }
    }
}

impl RunConfig {
    /// Reads a whole configuration from TOML text and validates it.
    ///
    /// Keys left out keep their default; `[optimizer]` and `[schedule]`, where
    /// given, start afresh from their `type`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming `origin` and the key.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let table: toml::Table = text.parse().map_err(|e| ConfigError::parse(origin, &e))?;
        super::check_keys(&table, origin)?;
        let config: Self = table
            .try_into()
            .map_err(|e| ConfigError::parse(origin, &e))?;
        config.validate()?;
        Ok(config)
    }

    /// Reads and validates a configuration file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming the file and the key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_toml(&text, &origin),
            Err(source) => Err(ConfigError::Read { origin, source }),
        }
    }
}
