//! Benchmark runner: takes full training steps (forward, loss, backward, Adam) on synthetic images, or on images from a
//! folder.
//!
//! ```text
//! cargo run --release -p trainer --example train_step -- --model small --image-size 32 --batch 128
//! ```
//!
//! `--root DIR` names a folder of class folders; `--cache off` (the default) decodes every image in every epoch;
//! `memory` keeps decoded images; the name of a folder also writes a disk cache there.

#[path = "protocol/folder.rs"]
mod folder;
#[path = "protocol/network.rs"]
mod network;
mod protocol;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use mnist_data::{ImageSize, LoaderOptions};
use mobilenet::weights::Normalisation;
use mobilenet::{Images, ModelConfig, Network};
use optim::{Optimizer, OptimizerConfig, ParameterGroup};
use protocol::{Arguments, serve};
use trainer::{DeviceBatch, Objective, Targets};

const CLASSES: usize = 10;
const LEARNING_RATE: f64 = 1e-3;

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
    ])?;
    let model = arguments.variant()?;
    let config = ModelConfig {
        width: arguments.get("--width")?.unwrap_or(1.0),
        ..ModelConfig::new(model, CLASSES)
    };
    let size = arguments.get("--image-size")?.unwrap_or(32);
    let batch = arguments.get("--batch")?.unwrap_or(128);
    let mut training = Training::new(&config)?;
    arguments.set_precision(&mut training.network)?;
    let multiply_adds = training.network.plan().multiply_adds(size, size) as f64;
    let facts = [("multiply-adds", multiply_adds)];
    let Some(root) = arguments.get::<PathBuf>("--root")? else {
        let batch = synthetic(size, batch)?;
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
    let normalisation = Normalisation {
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    let table = Arc::new(normalisation.table());
    let mut epoch = 0;
    serve(&facts, |steps| {
        let mut left = steps;
        // Each run starts a new epoch, so that no batch was prepared before the clock starts.
        while left > 0 {
            for batch in loader.epoch(epoch).take(left) {
                let batch = DeviceBatch::new(batch?, &table, &Device::Cpu)?;
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
    optimizer: Optimizer,
    loss: Objective,
    steps: u64,
}

impl Training {
    fn new(config: &ModelConfig) -> Result<Self, Box<dyn Error>> {
        let network = Network::new(config, 0, &Device::Cpu)?;
        let len = network.parameters().len();
        Ok(Self {
            network,
            optimizer: Optimizer::new(
                &OptimizerConfig::default(),
                len,
                vec![ParameterGroup::new("all", 0..len)],
            )?,
            loss: Objective::cross_entropy(CLASSES),
            steps: 0,
        })
    }

    fn step(&mut self, batch: &DeviceBatch) -> Result<(), Box<dyn Error>> {
        let network = &mut self.network;
        let pass = network.forward_step(&batch.images, self.steps, false)?;
        let targets = Targets::of(&batch.labels, &batch.weights);
        let loss = self.loss.apply(pass.logits(), &targets)?;
        loss.backward(pass)?;
        let optimizer = &mut self.optimizer;
        network
            .parameters()
            .update(|values, gradients| optimizer.step(values, gradients, LEARNING_RATE))??;
        self.steps += 1;
        Ok(())
    }
}

/// Pseudo-random images with values of about -1 to 1, the same in every run.
fn synthetic(size: usize, batch: usize) -> Result<DeviceBatch, Box<dyn Error>> {
    let pixels: Vec<f32> = (0..batch * size * size * 3)
        .map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect();
    let pixels = Tensor::from_vec(pixels, (batch, size, size, 3), &Device::Cpu)?;
    Ok(DeviceBatch {
        number: 0,
        images: Images::normalised(&pixels)?,
        labels: (0..batch).map(|i| (i % CLASSES) as u32).collect(),
        weights: vec![1.0; batch],
        ids: Vec::new(),
        mix: None,
    })
}
