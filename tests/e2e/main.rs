//! Everything through the real binary. Each test has a folder of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_numbers;
mod bench;
mod data;
mod export;
mod inputs;
mod messages;
mod published;
mod recipe;
mod run;
mod shell;
mod use_weights;
