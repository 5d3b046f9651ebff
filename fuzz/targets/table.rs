//! Reads arbitrary bytes as a table of labels or weights, and as class names.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::read_all("table", bytes);
});
