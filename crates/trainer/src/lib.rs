#![doc = include_str!("../README.md")]

mod batch;
mod checkpoint;
pub mod config;
mod device;
mod disk_cache;
mod error;
mod events;
mod features;
mod fit;
mod infer;
mod loss;
mod model;
mod run_dir;
mod splits;
mod tally;
mod timing;

pub use batch::DeviceBatch;
pub use checkpoint::{Best, Checkpoints, EarlyStopping};
pub use config::RunConfig;
pub use device::{cpu_threads, device_name, open_device};
pub use disk_cache::kept_images;
pub use error::{Error, Result};
pub use events::{EpochReport, Event, EventSink, MetricsFile, Recorder};
pub use fit::{Ending, Outcome, fit};
pub use infer::{
    ClassReport, Evaluation, InferenceOptions, Prediction, evaluate, predict, write_predictions,
};
pub use loss::{CrossEntropy, Loss, balanced_class_weights};
pub use run_dir::RunDir;
pub use splits::Splits;
pub use tally::{ClassScores, Tally};
pub use timing::EpochTimes;
