#![doc = include_str!("../README.md")]

mod atomic;
mod classes;
mod composed;
mod config;
mod design;
mod dropout;
mod error;
mod executor;
mod fused;
mod grad_cam;
mod images;
mod initialise;
mod key;
mod load;
mod model;
mod nearest;
mod network;
mod operators;
mod overrides;
mod parameters;
mod precision;
mod report;
mod schemes;
mod slices;
mod source;
mod tables;
mod tensor_file;
mod torch;

#[cfg(feature = "onnx")]
pub mod onnx;
pub mod weights;
pub mod zoo;

pub use classes::{ClassOrder, ClassRows};
pub use composed::Composed;
pub use config::{
    HeadKind, MAX_WIDTH, ModelConfig, SCRATCH_MOMENTUM, TORCHVISION_MOMENTUM, Variant, is_dropout,
    is_epsilon, is_momentum,
};
pub use design::Design;
pub use engine::{FusedOptions, Isa, NoBf16, Padding, Role, Segment, UnknownIsa};
pub use error::{Error, Result};
pub use executor::{Executor, Tape, TrainingStep};
pub use framing::{Fit, Framing, ImageSize, Interpolation, Orientation};
pub use fused::Fused;
pub use grad_cam::GradCam;
pub use images::{ByteTable, Images};
pub use model::{Model, ModelDescription, ModelName};
pub use network::Network;
pub use parameters::{BatchCounts, Parameters, Snapshot, StatisticsSnapshot};
pub use precision::Precision;
pub use report::{LoadReport, Mismatch};
pub use schemes::Scheme;
pub use tensor_file::BadNumbers;
