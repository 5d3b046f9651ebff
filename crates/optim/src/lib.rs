#![doc = include_str!("../README.md")]

mod accumulate;
mod clip;
mod coefficients;
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
pub use clip::{clip_factor, clip_gradient_norm, clip_gradient_value};
pub use coefficients::{Coefficients, RuleKind};
pub use ema::{Ema, EmaConfig, EmaState};
pub use error::Error;
pub use group::{Matrix, ParameterGroup};
pub use loss_scaler::{LossScaler, LossScalerConfig, LossScalerState};
pub use optimizer::{Optimizer, Stretch};
pub use rules::*;
pub use schedule::{
    Anneal, CosineConfig, ExponentialConfig, Interval, LrSchedule, LrScheduleConfig,
    LrScheduleState, MultiStepConfig, OneCycleConfig, PlateauConfig, PlateauMode, PlateauState,
    PolynomialConfig, SgdrConfig, StepConfig, ThresholdMode, Warmup,
};
pub use state::{GroupCounters, OptimizerCounters, OptimizerState};
