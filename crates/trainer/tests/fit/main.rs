//! The loop, on a network of seconds and images made here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod classes;
mod distillation;
mod ending;
mod features;
mod framing;
mod images;
mod learning;
mod matrix;
mod recipe;
mod scene;
mod short;
mod zoo;
