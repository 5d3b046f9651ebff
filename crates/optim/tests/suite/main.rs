//! Tests of the public interface.

// If a helper panics, its test fails, as it should.
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
