//! Measures tract for `cargo xtask bench infer`: runs an ONNX file on synthetic images.

#[path = "../../../../crates/trainer/examples/protocol/mod.rs"]
mod protocol;

use std::error::Error;

use protocol::{Arguments, serve};
use tract_linalg::multithread;
use tract_onnx::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(&["--onnx", "--threads"])?;
    let path: String = arguments.get("--onnx")?.ok_or("--onnx is missing")?;
    let threads = arguments.get("--threads")?.unwrap_or(1);
    if threads > 1 {
        let executor = multithread::Executor::multithread(threads);
        multithread::set_default_executor(executor);
    }
    let model = tract_onnx::onnx().model_for_path(path)?.into_optimized()?;
    let sizes = model.input_fact(0)?.shape.as_concrete().ok_or("expected fixed sizes")?.to_vec();
    // Any pixel values of about unit size will do.
    let pixel = |i: usize| (i % 255) as f32 / 127.0 - 1.0;
    let pixels: Vec<f32> = (0..sizes.iter().product()).map(pixel).collect();
    let images = Tensor::from_shape(&sizes, &pixels)?;
    let model = model.into_runnable()?;
    serve(&[], |steps| {
        for _ in 0..steps {
            model.run(tvec!(images.clone().into()))?;
        }
        Ok(())
    })
}
