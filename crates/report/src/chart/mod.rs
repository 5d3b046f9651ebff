//! Charts of a run, each drawn once as [`Svg`](crate::Svg).

pub(crate) mod bars;
pub(crate) mod confusion;
pub(crate) mod curves;
mod lr_find;
mod plot;
pub(crate) mod ranking;
pub(crate) mod reliability;
mod runs;

pub use lr_find::learning_rates;
pub(crate) use plot::CHARACTER;
pub(crate) use runs::{Curves, of_runs};
