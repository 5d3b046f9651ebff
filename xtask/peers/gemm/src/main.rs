//! Measures matrix products for `cargo xtask bench gemm`. It multiplies square f32 matrices with
//! the crate `gemm`, through candle's safe interface. `RAYON_NUM_THREADS` sets the number of
//! threads.

#[path = "../../../../crates/trainer/examples/protocol/mod.rs"]
mod protocol;

use std::error::Error;

use candle_core::{Device, Tensor};
use protocol::{Arguments, serve};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(&["--size"])?;
    let size = arguments.get("--size")?.unwrap_or(2048);
    let matrix = || Tensor::randn(0f32, 1.0, (size, size), &Device::Cpu);
    let (left, right) = (matrix()?, matrix()?);
    serve(&[], |steps| {
        for _ in 0..steps {
            left.matmul(&right)?;
        }
        Ok(())
    })
}
