//! Reads arbitrary bytes as a Python file with a configuration.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::read_all("import_config", bytes);
});
