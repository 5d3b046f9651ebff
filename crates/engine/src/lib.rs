#![doc = include_str!("../README.md")]
// Vector instructions need `unsafe` at one place: calling a function that was
// compiled for instructions the build target does not promise. See `isa`.
#![allow(unsafe_code)]

mod fused;
mod isa;
mod kernels;
mod memory;
mod plan;
mod simd;
mod spec;
mod table;
mod team;

pub mod batch_norm;
pub mod depthwise;
pub mod pool;

pub use fused::{
    Folded, Fused, FusedError, FusedOptions, ImagePixels, Images, Record, RunningStatistics,
};
pub use isa::{Isa, NoBf16, UnknownIsa};
pub use plan::{Block, ConvNorm, Linear, Plan, SqueezeExcite};
pub use spec::{
    Activation, BatchNormSpec, BlockSpec, HeadSpec, Naming, NetworkSpec, Padding, SpecError,
    SqueezeSpec, Zeros,
};
pub use table::{Role, Segment, Table};
