//! End-to-end tests through the binary. Each test has its own folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_numbers;
mod bench;
mod calibration;
mod compare;
#[cfg(unix)]
mod crash;
mod data;
mod export;
mod inputs;
mod messages;
mod models;
mod photos;
mod precision;
mod predict;
mod published;
mod recipe;
mod report;
#[cfg(unix)]
mod resume;
mod run;
mod serve;
mod shell;
mod use_weights;
