//! The crate from outside. Every test works in a folder of its own.

// A test says what is wrong by failing, helpers included.
#![allow(clippy::unwrap_used)]

mod augment;
mod augment_config;
mod contact_sheet;
mod decoding;
mod disk_cache;
mod exif;
mod fit;
mod folder;
mod idx;
mod images;
mod labels;
mod left_out;
mod loader;
mod unpack;
mod unusual;
mod util;
mod verdicts;
mod views;
