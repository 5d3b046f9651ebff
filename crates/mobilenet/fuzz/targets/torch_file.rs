//! Any bytes as a file, with seeds that are what torch.save writes.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = mobilenet_fuzz::read_bytes(bytes);
});
