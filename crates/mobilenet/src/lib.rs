#![doc = include_str!("../README.md")]

#[cfg(all(feature = "cuda", feature = "candle-cuda"))]
compile_error!(
    "the features `cuda` and `candle-cuda` need different ways to find the driver; choose one"
);

mod error;
mod families;
mod model;
mod run;

#[cfg(feature = "onnx")]
pub mod onnx;
pub mod weights;
pub mod zoo;

pub use engine::{
    Buffer, DeviceValues, FusedOptions, GradientChange, GradientSize, GroupStep, Isa, NoBf16,
    Padding, Ranges, Role, Segment, StepRange, UnknownIsa,
};
pub use error::{Error, Result};
pub use families::config::{
    HeadKind, MAX_WIDTH, ModelConfig, SCRATCH_MOMENTUM, TORCHVISION_MOMENTUM, is_dropout,
    is_epsilon, is_momentum,
};
pub use families::design::Design;
pub use families::variant::Variant;
pub use framing::{Fit, Framing, ImageSize, Interpolation, Orientation};
pub use model::{Model, ModelDescription, ModelName};
pub use run::composed::Composed;
pub use run::executor::{Executor, ForwardPass, Tape, TrainingStep};
pub use run::grad_cam::GradCam;
pub use run::images::{ByteTable, Images};
pub use run::native::{Fused, Layered, Native};
pub use run::network::Network;
pub use run::parameters::{BatchCounts, Parameters, Snapshot, StatisticsSnapshot};
pub use run::precision::Precision;
pub use run::processor::Processor;
pub use weights::classes::{ClassOrder, ClassRows};
pub use weights::report::{LoadReport, Mismatch};
pub use weights::schemes::Scheme;
pub use weights::tensor_file::BadNumbers;
