//! Tests the training loop on small networks and generated images.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod asked;
mod calibration;
mod classes;
mod distillation;
mod ending;
mod families;
mod features;
mod framing;
mod images;
mod learning;
mod matrix;
mod mishaps;
mod precision;
mod recipe;
mod record;
mod resume;
mod scene;
mod short;
#[cfg(feature = "zoo")]
mod zoo;
