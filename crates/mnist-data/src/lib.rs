#![doc = include_str!("../README.md")]

mod atomic;
mod augment;
mod bad_image;
mod batch;
mod catalogue;
mod checksum;
mod classes;
mod csv_table;
mod decode;
mod disk_cache;
mod download;
mod epoch;
mod error;
mod fetch;
mod folder;
mod folds;
mod idx;
mod jpeg;
mod labels;
mod loader;
mod mix;
mod package;
mod pixel_file;
mod positioned;
mod progress;
mod regular;
mod resize;
mod sample_weights;
mod shuffle;
mod split;
mod stamp;
mod store;
mod unpack;
mod unread;
mod views;
mod walk;

pub use atomic::write as write_atomically;
pub use augment::{
    AffineConfig, Augment, AugmentConfig, ColorJitterConfig, Draw, ElasticConfig, EraseValue,
    ErasingConfig, FlipConfig, Preset, RandAugmentConfig, Random, ResizedCropConfig,
};
pub use bad_image::{BadImage, BadImageLimit};
pub use batch::HostBatch;
pub use catalogue::{DatasetName, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS};
pub use checksum::{Checksum, content_checksum};
pub use classes::Classes;
pub use decode::Picture;
pub use disk_cache::DiskCache;
pub use epoch::Epoch;
pub use error::{Error, Result};
pub use fetch::{FetchReport, fetch};
pub use folder::{ImageFolder, Listing, Sample, list_images};
pub use folds::{Fold, folds};
pub use idx::{Compression, IdxImages, IdxLabels, read_pair};
pub use loader::{Loader, LoaderOptions};
pub use mix::{Mix, MixConfig};
pub use pixel_file::PIXELS_MADE_BY;
pub use progress::{NoProgress, Progress, Unit};
pub use regular::read_regular;
pub use sample_weights::{WeightPattern, WeightsConfig};
pub use split::{Validation, split_validation, stratified_sample};
pub use stamp::Stamp;
pub use unpack::{TEST, TRAIN, UnpackOptions, UnpackReport, VALIDATION, unpack};
pub use views::{TtaConfig, View};
pub use walk::IMAGE_EXTENSIONS;
