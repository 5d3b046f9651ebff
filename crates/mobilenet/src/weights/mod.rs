//! Weights files: safetensors with the names of the network's own project and with this program's metadata.
//!
//! The header's `__metadata__` has one entry, `classify`. It is a JSON object with everything that
//! evaluation and prediction need. A single entry is used because safetensors writes several
//! entries in random order, and equal models should give equal files.

pub(crate) mod atomic;
pub(crate) mod classes;
pub(crate) mod load;
pub(crate) mod metadata;
pub(crate) mod nearest;
mod open;
mod overrides;
mod recognise;
pub(crate) mod report;
mod save;
pub(crate) mod schemes;
mod source;
pub(crate) mod tensor_file;
mod torch;
mod usage;

pub use metadata::{IMAGE_SIZES, MEANS, Normalisation, STDS, WeightsMetadata};
pub use open::{describe, inspect, load, load_model, load_pretrained};
pub use overrides::Overrides;
pub(crate) use save::constants;
pub use save::{save, save_as, to_bytes};
pub use source::{Loaded, Source};
