//! Everything that is tested through the public interface.

// A helper that fails is a test that fails.
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
