//! Benchmark runner: takes full training steps (forward, loss, backward, Adam) on synthetic images, or on images from a
//! folder.
//!
//! ```text
//! cargo run --release -p trainer --example train_step -- --model small --image-size 32 --batch 128
//! ```
//!
//! `--root DIR` names a folder of class folders; `--cache off` (the default) decodes every image in every epoch;
//! `memory` keeps decoded images; the name of a folder also writes a disk cache there.
//!
//! `--device cuda` trains on the first GPU, and `--kernels DIR` keeps its compiled kernels. `--pixels bytes` makes synthetic
//! images of bytes, as the loader does, instead of numbers.

#[path = "protocol/folder.rs"]
mod folder;
#[path = "protocol/network.rs"]
mod network;
mod protocol;

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use mnist_data::{ImageSize, LoaderOptions};
use mobilenet::weights::Normalisation;
use mobilenet::{Images, ModelConfig, Network};
use optim::{Optimizer, OptimizerConfig, ParameterGroup};
use protocol::{Arguments, serve};
use trainer::{DeviceBatch, Objective, PlacedOptimizer, Targets};

const LEARNING_RATE: f64 = 1e-3;
const NORMALISATION: Normalisation = Normalisation {
    mean: [0.5; 3],
    std: [0.5; 3],
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read(&[
        "--model",
        "--image-size",
        "--batch",
        "--threads",
        "--precision",
        "--width",
        "--root",
        "--cache",
        "--classes",
        "--device",
        "--kernels",
        "--pixels",
    ])?;
    let model = arguments.variant()?;
    let classes = arguments.get("--classes")?.unwrap_or(10);
    let config = ModelConfig {
        width: arguments.get("--width")?.unwrap_or(1.0),
        ..ModelConfig::new(model, classes)
    };
    let size = arguments.get("--image-size")?.unwrap_or(32);
    let batch = arguments.get("--batch")?.unwrap_or(128);
    let processor = arguments.processor()?;
    let device = processor.tensors();
    let mut training = Training::new(&config, device)?;
    arguments.run_on(&processor, &mut training.network)?;
    let multiply_adds = training.network.plan().multiply_adds(size, size) as f64;
    let facts = [("multiply-adds", multiply_adds)];
    let Some(root) = arguments.get::<PathBuf>("--root")? else {
        let pixels = arguments.get("--pixels")?.unwrap_or(Pixels::Numbers);
        let batch = synthetic(size, batch, classes, pixels, device)?;
        return serve(&facts, |steps| {
            (0..steps).try_for_each(|_| training.step(&batch))
        });
    };
    let options = LoaderOptions {
        batch_size: batch,
        image_size: ImageSize::square(size as u32),
        shuffle: Some(0),
        drop_last: true,
        ..LoaderOptions::default()
    };
    let loader = arguments.loader(&root, options)?;
    let table = Arc::new(NORMALISATION.table());
    let mut epoch = 0;
    serve(&facts, |steps| {
        let mut left = steps;
        // Each run starts a new epoch, so that no batch was prepared before the clock starts.
        while left > 0 {
            for batch in loader.epoch(epoch).take(left) {
                let batch = DeviceBatch::new(batch?, &table, device)?;
                training.step(&batch)?;
                left -= 1;
            }
            epoch += 1;
        }
        Ok(())
    })
}

/// A network, its loss, and its optimizer.
struct Training {
    network: Network,
    optimizer: PlacedOptimizer,
    loss: Objective,
    steps: u64,
}

impl Training {
    fn new(config: &ModelConfig, device: &Device) -> Result<Self, Box<dyn Error>> {
        let network = Network::new(config, 0, device)?;
        let len = network.parameters().len();
        Ok(Self {
            network,
            optimizer: PlacedOptimizer::new(Optimizer::new(
                &OptimizerConfig::default(),
                len,
                vec![ParameterGroup::new("all", 0..len)],
            )?),
            loss: Objective::cross_entropy(config.classes),
            steps: 0,
        })
    }

    fn step(&mut self, batch: &DeviceBatch) -> Result<(), Box<dyn Error>> {
        let network = &mut self.network;
        let pass = network.forward_step(&batch.images, self.steps, false)?;
        let targets = Targets::of(&batch.labels, &batch.weights);
        let loss = self.loss.apply(pass.logits(), &targets)?;
        loss.backward(pass)?;
        self.optimizer.step(network.parameters(), LEARNING_RATE)?;
        self.steps += 1;
        Ok(())
    }
}

/// The type of synthetic pixels.
#[derive(Clone, Copy)]
enum Pixels {
    /// f32 of about -1 to 1.
    Numbers,
    /// Bytes, which the network's processor normalises.
    Bytes,
}

impl FromStr for Pixels {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "numbers" => Ok(Pixels::Numbers),
            "bytes" => Ok(Pixels::Bytes),
            _ => Err("expected numbers or bytes"),
        }
    }
}

/// Pseudo-random images, the same in every run.
fn synthetic(
    size: usize,
    batch: usize,
    classes: usize,
    pixels: Pixels,
    device: &Device,
) -> Result<DeviceBatch, Box<dyn Error>> {
    let numbers: Vec<f32> = (0..batch * size * size * 3)
        .map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect();
    let numbers = Tensor::from_vec(numbers, (batch, size, size, 3), device)?;
    let images = match pixels {
        Pixels::Numbers => Images::normalised(&numbers)?,
        Pixels::Bytes => {
            let bytes = numbers.affine(127.5, 127.5)?.to_dtype(DType::U8)?;
            Images::bytes(&bytes, Arc::new(NORMALISATION.table()))?
        }
    };
    Ok(DeviceBatch {
        number: 0,
        images,
        labels: (0..batch).map(|i| (i % classes) as u32).collect(),
        weights: vec![1.0; batch],
        ids: Vec::new(),
        mix: None,
    })
}
