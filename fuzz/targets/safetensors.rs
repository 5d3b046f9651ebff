//! Reads arbitrary bytes as a weights file. The corpus starts with safetensors files.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::read_all("safetensors", bytes);
});
