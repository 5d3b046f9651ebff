#![doc = include_str!("../README.md")]

mod atomic;
mod catalogue;
mod checksum;
mod decode;
mod download;
mod epoch;
mod error;
mod fetch;
mod folder;
mod idx;
mod loader;
mod package;
mod progress;
mod resize;
mod shuffle;
mod split;
mod store;
mod unpack;

pub use atomic::write as write_atomically;
pub use catalogue::{DatasetName, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS};
pub use decode::Picture;
pub use epoch::Epoch;
pub use error::{Error, Result};
pub use fetch::{FetchReport, fetch};
pub use folder::{Classes, IMAGE_EXTENSIONS, ImageFolder, Sample, list_images};
pub use idx::{Compression, IdxImages, IdxLabels, read_pair};
pub use loader::{HostBatch, Loader, LoaderOptions};
pub use progress::{NoProgress, Progress, Unit};
pub use split::{Validation, split_validation, stratified_sample};
pub use store::BadImage;
pub use unpack::{TEST, TRAIN, UnpackOptions, UnpackReport, VALIDATION, unpack};
