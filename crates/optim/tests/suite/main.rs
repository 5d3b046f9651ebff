//! Everything that is tested through the public interface.

mod clip;
mod configuration;
mod formulas;
mod golden_optimizers;
mod golden_schedules;
mod optimizer;
mod schedule;
