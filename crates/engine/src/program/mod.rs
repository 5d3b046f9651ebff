//! A network as steps, each of which stores one value. The engines run these steps: [`crate::Layered`] on CPUs, the
//! crate `gpu` on GPUs.

mod fold;
mod lower;
mod steps;

pub use fold::{Folding, fold, last_readers};
pub use lower::{as_conv, lower};
pub use steps::{After, ConvStep, Kind, Program, Step, Value, norm_slot, slot};
