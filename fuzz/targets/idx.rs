//! Reads arbitrary bytes as an IDX file. The corpus starts with plain files.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::read_all("idx", bytes);
});
