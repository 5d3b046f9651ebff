//! The speed of training on this machine.

use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Tensor};
use mobilenet::{Images, ModelDescription, Network};

use super::recipe::REFERENCE_SIZE;
use crate::config::RunConfig;
use crate::device::open_device;
use crate::{Objective, Result, Targets};

/// Images per measured step.
const BATCH: usize = 16;
/// Number of measured steps. They follow one warm-up step, and the fastest one counts.
const STEPS: usize = 3;

/// Measures the time of a training step in seconds per image of 96 × 96 pixels, with the network, device, precision
/// and threads of a configuration. `None` for a network with a frozen backbone.
///
/// # Errors
///
/// If the network cannot be built or the device fails.
pub fn training_speed(config: &RunConfig) -> Result<Option<f64>> {
    let classes = config.model.classes.unwrap_or(2);
    let ModelDescription::MobileNet(model) = config.model(classes) else {
        return Ok(None);
    };
    let processor = open_device(config.train.device)?;
    let device = processor.tensors();
    let mut network = Network::new(&model, config.train.seed, device)?;
    network.run_on(&processor, config.train.precision)?;
    let side = REFERENCE_SIZE as usize;
    let pixels = Tensor::zeros((BATCH, side, side, 3), DType::U8, device)?;
    let images = Images::bytes(&pixels, Arc::new(config.data.normalisation().table()))?;
    let labels: Vec<u32> = (0..BATCH).map(|image| (image % classes) as u32).collect();
    let loss = Objective::cross_entropy(classes);
    let mut fastest = f64::INFINITY;
    for step in 0..=STEPS {
        let start = Instant::now();
        let pass = network.forward_step(&images, step as u64, false)?;
        let targets = Targets::of(&labels, &[1.0; BATCH]);
        loss.apply(pass.logits(), &targets)?.backward(pass)?;
        if step > 0 {
            fastest = fastest.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(Some(fastest / BATCH as f64))
}
