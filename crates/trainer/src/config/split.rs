//! `[data.split]`: the division of one set of images into splits.

use serde::{Deserialize, Serialize};

/// The division of images without split folders, by [`mnist_data::partition`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// Share of the images for validation, from 0 to below 1.
    pub val: f64,
    /// Share of the images for the final test, from 0 to below 1.
    pub test: f64,
    /// Seed of the division.
    pub seed: u64,
    /// Whether near-identical images with neighbouring names stay together ([`mnist_data::bursts`]).
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
