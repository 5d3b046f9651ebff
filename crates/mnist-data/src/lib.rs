//! IDX files, class folders and a prefetching image loader.

mod atomic;
mod catalogue;
mod checksum;
mod download;
mod error;
mod fetch;
mod idx;
mod package;
mod progress;

pub use catalogue::{DatasetName, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS};
pub use error::{Error, Result};
pub use fetch::{FetchReport, fetch};
pub use idx::{Compression, IdxImages, IdxLabels, read_pair};
pub use progress::{NoProgress, Progress, Unit};
