//! Measures the speed of training steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use mobilenet::weights::Normalisation;
use mobilenet::{Images, ModelConfig, Network, Precision, Processor, Variant};

use super::{LAYERED, TrainingSpeed};
use crate::{Objective, Result, Targets};

/// The time for measuring one training.
const BUDGET: Duration = Duration::from_millis(800);
/// The fewest steps in each precision.
const LEAST: usize = 3;
/// Images in a batch of large images, with few threads and with many. 16 images take about 500 MB in f32.
const LARGE_BATCH: (usize, usize) = (4, 16);
/// Images in a batch of small images.
const SMALL_BATCH: usize = 64;
const CLASSES: usize = 10;

/// Steps of a network on the same images, without updates.
pub(crate) struct TrainingSteps {
    network: Network,
    images: Images,
    labels: Vec<u32>,
    loss: Objective,
    step: u64,
}

impl TrainingSteps {
    /// Steps of `network` on `batch` images of `side` pixels.
    pub(crate) fn new(
        network: Network,
        normalisation: Normalisation,
        side: usize,
        batch: usize,
    ) -> Result<Self> {
        let classes = network.config().classes;
        // Any bytes that differ: equal pixels would have variances of 0.
        let bytes = (0..batch * side * side * 3).map(|place| (place * 37 % 251) as u8);
        let shape = (batch, side, side, 3);
        let pixels = Tensor::from_vec(bytes.collect::<Vec<u8>>(), shape, network.device())?;
        Ok(Self {
            images: Images::bytes(&pixels, Arc::new(normalisation.table()))?,
            labels: (0..batch).map(|image| (image % classes) as u32).collect(),
            loss: Objective::cross_entropy(classes),
            network,
            step: 0,
        })
    }

    /// Takes a step. Returns its seconds.
    pub(crate) fn seconds(&mut self) -> Result<f64> {
        let start = Instant::now();
        let pass = self.network.forward_step(&self.images, self.step, false)?;
        let weights = vec![1.0; self.labels.len()];
        let targets = Targets::of(&self.labels, &weights);
        self.loss.apply(pass.logits(), &targets)?.backward(pass)?;
        self.step += 1;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Measures the speed of training in each precision, for networks of an executor.
pub(super) fn speeds(executor: &str, precisions: &[Precision]) -> Result<Vec<TrainingSpeed>> {
    let (least, most) = LARGE_BATCH;
    let batch = rayon::current_num_threads().clamp(least, most);
    let [large, small] = match executor {
        LAYERED => [Variant::RESNET18; 2],
        _ => [Variant::LARGE, Variant::SMALL],
    };
    let works = [(large, 224, batch), (small, 32, SMALL_BATCH)];
    let mut logarithms = vec![0.0; precisions.len()];
    for (variant, side, batch) in works {
        let medians = medians(precisions, variant, side, batch)?;
        for (sum, seconds) in logarithms.iter_mut().zip(medians) {
            *sum += (batch as f64 / seconds).ln();
        }
    }
    let mean = |sum: f64| (sum / works.len() as f64).exp();
    let speeds = precisions.iter().zip(logarithms);
    let speeds = speeds.map(|(&precision, sum)| TrainingSpeed {
        precision,
        images_per_second: mean(sum),
    });
    Ok(speeds.collect())
}

/// The median seconds of a step in each precision. The precisions take turns, so that other work on the machine slows all
/// of them.
fn medians(
    precisions: &[Precision],
    variant: Variant,
    side: usize,
    batch: usize,
) -> Result<Vec<f64>> {
    let cpu = Processor::of(Device::Cpu);
    let mut works = Vec::new();
    for &precision in precisions {
        let mut network = Network::new(&ModelConfig::new(variant, CLASSES), 1, cpu.tensors())?;
        network.run_on(&cpu, precision)?;
        let mut steps = TrainingSteps::new(network, Normalisation::IMAGENET, side, batch)?;
        // The first step takes memory.
        steps.seconds()?;
        works.push((steps, Vec::new()));
    }
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < LEAST || start.elapsed() < BUDGET {
        for (steps, seconds) in &mut works {
            seconds.push(steps.seconds()?);
        }
        rounds += 1;
    }
    Ok(works
        .into_iter()
        .map(|(_, seconds)| median(seconds))
        .collect())
}

/// The median; of an even number of values, the upper one of the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
