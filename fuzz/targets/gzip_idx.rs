//! Reads arbitrary bytes as an IDX file. The corpus starts with gzip files.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::read_all("gzip_idx", bytes);
});
