//! Tests the public interface. Every test uses a separate folder.

// Tests and their helpers report errors by panicking.
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
