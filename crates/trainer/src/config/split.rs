//! How one set of images is divided.

use serde::{Deserialize, Serialize};

/// How images without split folders are divided: [`mnist_data::partition`] with these settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// Share of the images that validates, from 0 to below 1.
    pub val: f64,
    /// Share of the images that is kept for the final test, from 0 to below 1.
    pub test: f64,
    /// Decides which images these are.
    pub seed: u64,
    /// Whether near-identical neighbours by name stay together ([`mnist_data::bursts`]).
    pub keep_bursts: bool,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            val: 0.15,
            test: 0.15,
            seed: 0,
            keep_bursts: true,
        }
    }
}
