//! Tests the general engine against a network in double precision, on every instruction set of this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod infer;
mod networks;
mod reference;
#[allow(
    unsafe_code,
    reason = "it emulates instructions that this processor lacks"
)]
#[path = "../common/tiles.rs"]
mod tiles;
mod train;

use engine::Isa;
