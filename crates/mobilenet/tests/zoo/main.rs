//! Tests backbones of other families: agreement with torchvision and timm, and behaviour as a
//! model.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../golden/fill.rs"]
mod fill;
mod model;
mod parity;
mod written;
