//! The speed of training on this machine.

use mobilenet::{ModelDescription, Network};

use super::recipe::REFERENCE_SIZE;
use crate::Result;
use crate::config::RunConfig;
use crate::device::open_device;
use crate::precision::{TrainingSteps, settle_precision};

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
    let mut network = Network::new(&model, config.train.seed, processor.tensors())?;
    let (precision, _) = settle_precision(config.train.precision, &network, &processor)?;
    network.run_on(&processor, precision)?;
    let (side, normalisation) = (REFERENCE_SIZE as usize, config.data.normalisation());
    let mut steps = TrainingSteps::new(network, normalisation, side, BATCH)?;
    steps.seconds()?;
    let mut fastest = f64::INFINITY;
    for _ in 0..STEPS {
        fastest = fastest.min(steps.seconds()?);
    }
    Ok(Some(fastest / BATCH as f64))
}
