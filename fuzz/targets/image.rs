//! Reads arbitrary bytes as an image. The corpus starts with files of every format.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::read_all("image", bytes);
});
