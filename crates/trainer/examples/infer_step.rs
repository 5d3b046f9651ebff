//! Benchmark runner: computes the logits of a batch of images.
//!
//! ```text
//! cargo run --release -p trainer --example infer_step -- --model large --image-size 224 --batch 1
//! ```
//!
//! `--device cuda` runs on the first GPU, and `--kernels DIR` keeps its compiled kernels.

#[path = "protocol/network.rs"]
mod network;
mod protocol;

use std::error::Error;

use candle_core::Tensor;
use mobilenet::{Images, ModelConfig, Network};
use protocol::{Arguments, serve};

const CLASSES: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(&[
        "--model",
        "--image-size",
        "--batch",
        "--threads",
        "--precision",
        "--device",
        "--kernels",
    ])?;
    let model = arguments.variant()?;
    let processor = arguments.processor()?;
    let device = processor.tensors();
    let mut network = Network::new(&ModelConfig::new(model, CLASSES), 0, device)?;
    arguments.run_on(&processor, &mut network)?;
    let size = arguments.get::<usize>("--image-size")?.unwrap_or(224);
    let batch = arguments.get::<usize>("--batch")?.unwrap_or(1);
    let pixels = Tensor::randn(0f32, 1.0, (batch, size, size, 3), device)?;
    let images = Images::normalised(&pixels)?;
    let multiply_adds = network.plan().multiply_adds(size, size) as f64;
    serve(&[("multiply-adds", multiply_adds)], |steps| {
        for _ in 0..steps {
            network.infer(&images)?;
        }
        Ok(())
    })
}
