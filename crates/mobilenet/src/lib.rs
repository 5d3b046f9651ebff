#![doc = include_str!("../README.md")]

mod composed;
mod config;
mod dropout;
mod error;
mod executor;
mod fused;
mod images;
mod initialise;
mod key;
mod load;
mod model;
mod network;
mod operators;
mod parameters;
mod precision;
mod slices;
mod tensor_file;
mod torch;

pub mod weights;
pub mod zoo;

pub use composed::Composed;
pub use config::{HeadKind, ModelConfig, SCRATCH_MOMENTUM, TORCHVISION_MOMENTUM, Variant};
pub use engine::{FusedOptions, Isa, NoBf16, UnknownIsa};
pub use error::{Error, Result};
pub use executor::{Executor, Tape, TrainingStep};
pub use fused::Fused;
pub use images::{ByteTable, Images};
pub use load::{LoadReport, Mismatch};
pub use model::{Model, ModelDescription, ModelName};
pub use network::Network;
pub use parameters::{Parameters, Snapshot};
pub use precision::Precision;
