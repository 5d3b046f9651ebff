//! Surveys a data set before training: sizes, near-identical images, exact duplicates.

mod duplicates;
mod hash;
mod sizes;

pub use duplicates::duplicates;
pub use hash::{bursts, difference_hash};
pub use sizes::{ImageSizes, image_sizes};
