#![doc = include_str!("../README.md")]
// Kernels need `unsafe` for two reasons: they call functions compiled for instructions beyond the
// build target (see `isa`), and they use raw pointers (see `memory`).
#![allow(unsafe_code)]

mod fused;
mod interface;
mod isa;
mod kernels;
mod layered;
mod memory;
mod network;
mod sigmoid;
mod simd;
mod spec;
mod team;

pub mod activation;
pub mod batch_norm;
pub mod depthwise;
pub mod layer_norm;
pub mod pool;
pub mod program;

pub use fused::{
    Folded, Fused, FusedError, FusedOptions, ImagePixels, Images, Record, RunningStatistics,
    check as check_length,
};
pub use interface::device_values::{
    Buffer, DeviceValues, GradientChange, GradientSize, GroupStep, Pass, Ranges, StepRange,
};
pub use interface::{
    CpuEngine, Engine, check_backward, check_counts, check_fold, check_forward, check_shapes,
    check_step,
};
pub use isa::{Isa, NoBf16, UnknownIsa};
pub use layered::{Layered, LayeredRecord, LayeredWeights};
pub use network::{
    Attention, BatchNorm, Block, BlockSpec, Builder, Chain, Conv, ConvNorm, ConvSpec, HeadSpec,
    Layer, LayerNorm, Linear, Naming, NetworkSpec, Op, Pad, Plan, RandomLayer, Role, Segment,
    Shape, SpecError, SqueezeExcite, SqueezeSpec, Table, Window,
};
pub use spec::{Activation, BatchNormSpec, Padding, Zeros};
