//! Backbones of other families: parity with torchvision and timm, and what a model of the zoo
//! does as a model.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../golden/fill.rs"]
mod fill;
mod model;
mod parity;
mod written;
