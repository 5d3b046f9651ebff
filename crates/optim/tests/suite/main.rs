//! Tests of the public interface.

// A helper that panics fails its test.
#![allow(clippy::unwrap_used)]

mod averages;
mod clip;
mod configuration;
mod formulas;
mod golden_optimizers;
mod golden_schedules;
mod loss_scaler;
mod optimizer;
mod resume;
mod schedule;
