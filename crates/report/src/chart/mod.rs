//! Charts of a run, each drawn once as [`Svg`](crate::Svg).

pub(crate) mod bars;
pub(crate) mod confusion;
pub(crate) mod curves;
mod lr_find;
mod plot;
pub(crate) mod ranking;
pub(crate) mod reliability;

pub use lr_find::learning_rates;
