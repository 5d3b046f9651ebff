//! Measures the first GPU's memory: copies on the GPU, which bound every kernel, and copies from and to the host.
//!
//! ```text
//! cargo run --release -p gpu --features cuda --example bandwidth
//! ```
//!
//! The result is one line of JSON, in bytes a second. A copy on the GPU counts its reads and its writes.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::error::Error;
use std::time::Instant;

use cudarc::driver::{CudaContext, CudaStream};

/// Bytes of a copy: more than any cache holds.
const BYTES: usize = 1 << 30;
const HOST_BYTES: usize = 1 << 28;
const COPIES: usize = 10;
/// The best of several rounds counts, since other work only slows a copy down.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    // Without a driver this is an error; cudarc would panic.
    let found = gpu::find(0).map_err(|reason| reason.to_string())?;
    let context = CudaContext::new(0)?;
    let stream = context.new_stream()?;
    let source = stream.alloc_zeros::<u8>(BYTES)?;
    let mut target = stream.alloc_zeros::<u8>(BYTES)?;
    let copy = rate(&stream, 2 * BYTES, || {
        Ok(stream.memcpy_dtod(&source, &mut target)?)
    })?;
    let mut host = vec![1u8; HOST_BYTES];
    let mut part = stream.alloc_zeros::<u8>(HOST_BYTES)?;
    let upload = rate(&stream, HOST_BYTES, || {
        Ok(stream.memcpy_htod(&host, &mut part)?)
    })?;
    let download = rate(&stream, HOST_BYTES, || {
        Ok(stream.memcpy_dtoh(&part, &mut host)?)
    })?;
    println!(
        r#"{{"gpu": "{}", "copy": {copy:.0}, "upload": {upload:.0}, "download": {download:.0}}}"#,
        found.name
    );
    Ok(())
}

/// Bytes a second of an operation that moves so many bytes.
fn rate(
    stream: &CudaStream,
    bytes: usize,
    mut copy: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let mut best = 0f64;
    // The first round is a warm-up.
    for round in 0..=ROUNDS {
        stream.synchronize()?;
        let started = Instant::now();
        for _ in 0..COPIES {
            copy()?;
        }
        stream.synchronize()?;
        if round > 0 {
            best = best.max((COPIES * bytes) as f64 / started.elapsed().as_secs_f64());
        }
    }
    Ok(best)
}
