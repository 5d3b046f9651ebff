#![doc = include_str!("../README.md")]

mod accumulate;
mod clip;
mod ema;
mod error;
mod group;
mod loss_scaler;
mod optimizer;
mod pass;
mod rules;
mod schedule;
mod state;

pub use accumulate::Accumulator;
pub use clip::{clip_gradient_norm, clip_gradient_value};
pub use ema::{Ema, EmaConfig, EmaState};
pub use error::Error;
pub use group::{Matrix, ParameterGroup};
pub use loss_scaler::{LossScaler, LossScalerConfig, LossScalerState};
pub use optimizer::Optimizer;
pub use rules::*;
pub use schedule::{
    Anneal, CosineConfig, ExponentialConfig, Interval, LrSchedule, LrScheduleConfig,
    LrScheduleState, MultiStepConfig, OneCycleConfig, PlateauConfig, PlateauMode, PlateauState,
    PolynomialConfig, SgdrConfig, StepConfig, ThresholdMode, Warmup,
};
pub use state::{GroupCounters, OptimizerCounters, OptimizerState};
