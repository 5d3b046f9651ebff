#![doc = include_str!("../README.md")]
// Kernels need `unsafe` for two reasons: they call functions compiled for instructions beyond the
// build target (see `isa`), and they use raw pointers (see `memory`).
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
pub use plan::{Block, ConvNorm, Linear, Plan, SqueezeExcite, Stage};
pub use spec::{
    Activation, BatchNormSpec, BlockSpec, HeadSpec, Naming, NetworkSpec, Padding, SpecError,
    SqueezeSpec, Zeros,
};
pub use table::{Role, Segment, Table};
