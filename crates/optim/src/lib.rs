#![doc = include_str!("../README.md")]

mod clip;
mod config;
mod error;
mod group;
mod optimizer;
mod pass;
mod rules;
mod schedule;
mod state;

pub use clip::{clip_gradient_norm, clip_gradient_value};
pub use config::{AdamConfig, AdamWConfig, OptimizerConfig, SgdConfig};
pub use error::Error;
pub use group::ParameterGroup;
pub use optimizer::Optimizer;
pub use schedule::{
    Anneal, CosineConfig, Interval, LrSchedule, LrScheduleConfig, LrScheduleState, MultiStepConfig,
    OneCycleConfig, PlateauConfig, PlateauMode, PlateauState, SgdrConfig, StepConfig,
    ThresholdMode, Warmup,
};
pub use state::{GroupCounters, OptimizerCounters, OptimizerState};
