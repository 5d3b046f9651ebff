//! Tests the backbones of candle-transformers: agreement with timm, and behaviour as a model. Networks that were once
//! among them are read from their files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../golden/fill.rs"]
mod fill;
mod former;
#[cfg(feature = "zoo")]
mod model;
#[cfg(feature = "zoo")]
mod parity;
#[cfg(not(feature = "zoo"))]
mod unbuilt;
#[cfg(feature = "zoo")]
mod written;
