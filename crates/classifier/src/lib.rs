#![doc = include_str!("../README.md")]

mod answers;
mod classifier;
mod error;
mod explain;
mod fingerprint;
mod input;
mod logits;

pub use answers::{Answers, check_answers, ranked, softmax};
pub use classifier::{Classifier, Ranked};
pub use error::{Error, Result};
pub use explain::Explanation;
pub use input::Input;

// The types that this crate's functions take and return.
pub use candle_core::Device;
pub use mnist_data::{DecodeOptions, Image, Loader, TtaConfig};
pub use mobilenet::weights::{Overrides, WeightsMetadata};
pub use mobilenet::{Framing, ImageSize, Model, Orientation};
