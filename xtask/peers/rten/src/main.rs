//! Measures rten for `cargo xtask bench infer`: runs an ONNX file on synthetic images.

#[path = "../../../../crates/trainer/examples/protocol/mod.rs"]
mod protocol;

use std::error::Error;
use std::sync::Arc;

use protocol::{Arguments, serve};
use rten::{Dimension, ModelOptions, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(&["--onnx", "--threads"])?;
    let path: String = arguments.get("--onnx")?.ok_or("--onnx is missing")?;
    let threads = arguments.get("--threads")?.unwrap_or(1);
    let model = ModelOptions::with_all_ops()
        .prepack_weights(true)
        .load_file(path)?;
    let shape = model.input_shape(0).ok_or("no shape of the input")?;
    let sizes: Vec<usize> = shape
        .iter()
        .filter_map(|dimension| match dimension {
            Dimension::Fixed(size) => Some(*size),
            Dimension::Symbolic(_) => None,
        })
        .collect();
    let sizes: [usize; 4] = sizes.try_into().map_err(|_| "expected four fixed sizes")?;
    // Any pixel values of about unit size will do.
    let pixel = |i: usize| (i % 255) as f32 / 127.0 - 1.0;
    let images = NdTensor::from_data(sizes, (0..sizes.iter().product()).map(pixel).collect::<Vec<_>>());
    let pool = Arc::new(ThreadPool::with_num_threads(threads));
    serve(&[], |steps| {
        for _ in 0..steps {
            let options = RunOptions::default().with_thread_pool(Some(pool.clone()));
            model.run_one(images.view().into(), Some(options))?;
        }
        Ok(())
    })
}
