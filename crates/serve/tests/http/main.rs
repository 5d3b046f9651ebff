//! The protocols, in process: each right answer has the numbers of `Classifier::classify`, and each error its status.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod guards;
mod models;
mod openapi;
mod predict;
mod problems;
mod schema;
mod support;
mod v2;
