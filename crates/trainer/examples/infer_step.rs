//! Computes the logits of a batch of images on command, for benchmarks.
//!
//! ```text
//! cargo run --release -p trainer --example infer_step -- --model large --image-size 224 --batch 1
//! ```

mod protocol;

use std::error::Error;

use candle_core::{Device, Tensor};
use mobilenet::{ModelConfig, Network, Variant};
use protocol::{Arguments, serve};

const CLASSES: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(&[
        "--model",
        "--image-size",
        "--batch",
        "--threads",
        "--precision",
    ])?;
    if let Some(threads) = arguments.get("--threads")? {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()?;
    }
    let model = match arguments.get::<String>("--model")? {
        Some(name) => format!("mobilenet_v3_{name}").parse()?,
        None => Variant::Small,
    };
    let network = Network::new(&ModelConfig::new(model, CLASSES), 0, &Device::Cpu)?;
    if let Some(precision) = arguments.get::<String>("--precision")?
        && precision != "f32"
    {
        let executor = network.executor();
        return Err(format!("--precision {precision}: {executor} computes in f32").into());
    }
    let size = arguments.get::<usize>("--image-size")?.unwrap_or(224);
    let batch = arguments.get::<usize>("--batch")?.unwrap_or(1);
    let images = Tensor::randn(0f32, 1.0, (batch, size, size, 3), &Device::Cpu)?;
    let multiply_adds = network.plan().multiply_adds(size, size) as f64;
    serve(&[("multiply-adds", multiply_adds)], |steps| {
        for _ in 0..steps {
            network.infer(&images)?;
        }
        Ok(())
    })
}
