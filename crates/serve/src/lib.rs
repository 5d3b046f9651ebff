#![doc = include_str!("../README.md")]

mod error;
mod http;
mod listen;
mod metrics;
mod page;
mod room;
mod server;
mod settings;

pub use error::Error;
pub use listen::{Limits, listen};
pub use server::Server;
pub use settings::Settings;

// The types that this crate's functions take and return.
pub use axum::Router;
pub use classifier::Classifier;
pub use mnist_data::Decoding;
