//! Backbones that only candle-transformers has, as frozen feature extractors with a trainable linear head.
//!
//! They need the cargo feature `zoo`. Their names and properties are known even without it.

mod backbone;
#[cfg(feature = "zoo")]
mod candle;
mod network;
mod source;

use serde::{Deserialize, Serialize};

pub use backbone::Backbone;
pub use network::ZooNetwork;

/// The complete configuration of a model of the zoo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZooConfig {
    /// The frozen backbone.
    pub name: Backbone,
    /// Number of classes.
    pub classes: usize,
    /// Fraction of the features that are set to zero in training.
    pub dropout: f64,
}

impl ZooConfig {
    /// Refuses a dropout that is not a probability.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for such a dropout.
    pub fn check(&self) -> crate::Result<()> {
        crate::families::config::check_dropout(self.dropout)
    }
}
