//! Reads arbitrary bytes as the saved state of a run.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::read_all("state", bytes);
});
