//! Runs full training steps on synthetic data on command, for benchmarks.
//!
//! Prints `ready`; then, for each line `run K` on stdin, takes K steps (forward,
//! loss, backward, Adam) and prints the seconds they took; `quit` ends it.
//!
//! ```text
//! cargo run --release -p trainer --example train_step -- --model small --image-size 32 --batch 128
//! ```

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use candle_core::{Device, Tensor};
use mobilenet::{ModelConfig, Network, Variant};
use optim::{Optimizer, OptimizerConfig, ParameterGroup};
use trainer::CrossEntropy;

const CLASSES: usize = 10;
const LEARNING_RATE: f64 = 1e-3;

struct Settings {
    model: Variant,
    image_size: usize,
    batch: usize,
    threads: Option<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let settings = settings()?;
    if let Some(threads) = settings.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()?;
    }
    let mut bench = Bench::new(&settings)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["run", steps] => {
                let steps: usize = steps.parse()?;
                let started = Instant::now();
                for _ in 0..steps {
                    bench.step()?;
                }
                writeln!(out, "{}", started.elapsed().as_secs_f64())?;
                out.flush()?;
            }
            ["quit"] => break,
            _ => return Err(format!("{line:?}; expected `run K` or `quit`").into()),
        }
    }
    Ok(())
}

fn settings() -> Result<Settings, Box<dyn Error>> {
    let mut settings = Settings {
        model: Variant::Small,
        image_size: 32,
        batch: 128,
        threads: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--model" => settings.model = format!("mobilenet_v3_{value}").parse()?,
            "--image-size" => settings.image_size = value.parse()?,
            "--batch" => settings.batch = value.parse()?,
            "--threads" => settings.threads = Some(value.parse()?),
            _ => {
                return Err(format!(
                    "{name}; expected --model, --image-size, --batch or --threads"
                )
                .into());
            }
        }
    }
    Ok(settings)
}

struct Bench {
    network: Network,
    optimizer: Optimizer,
    loss: CrossEntropy,
    images: Tensor,
    labels: Vec<u32>,
    weights: Vec<f32>,
    steps: u64,
}

impl Bench {
    fn new(settings: &Settings) -> Result<Self, Box<dyn Error>> {
        let network = Network::new(&ModelConfig::new(settings.model, CLASSES), 0, &Device::Cpu)?;
        let len = network.parameters().len();
        let (size, batch) = (settings.image_size, settings.batch);
        // Any numbers of about unit size do; these repeat from run to run.
        let pixels: Vec<f32> = (0..batch * size * size * 3)
            .map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0)
            .collect();
        Ok(Self {
            network,
            optimizer: Optimizer::new(
                &OptimizerConfig::default(),
                len,
                vec![ParameterGroup::new("all", 0..len)],
            )?,
            loss: CrossEntropy::plain(CLASSES),
            images: Tensor::from_vec(pixels, (batch, size, size, 3), &Device::Cpu)?,
            labels: (0..batch).map(|i| (i % CLASSES) as u32).collect(),
            weights: vec![1.0; batch],
            steps: 0,
        })
    }

    fn step(&mut self) -> Result<(), Box<dyn Error>> {
        let logits = self
            .network
            .forward_train(&self.images, self.steps, false)?;
        let loss = self.loss.apply(&logits, &self.labels, &self.weights)?;
        let gradients = loss.mean.backward()?;
        let parameters = self.network.parameters();
        let gradient = gradients.get(parameters.arena()).ok_or("no gradient")?;
        let optimizer = &mut self.optimizer;
        let mut outcome = Ok(());
        parameters.update(gradient, |values, gradients| {
            outcome = optimizer.step(values, gradients, LEARNING_RATE);
        })?;
        outcome?;
        self.steps += 1;
        Ok(())
    }
}
