//! Predicts the speed of training on a GPU from the bytes that its kernels move. No GPU is needed.
//!
//! ```text
//! cargo run -p mobilenet --features gpu --example roofline -- --gpu h200 --model resnet50 --batch 256
//! ```
//!
//! A kernel is bound by memory or by arithmetic. The prediction takes a share of the bandwidth that a large copy
//! reaches; the time of the products at the GPU's peak stands beside it. `cargo xtask roofline` calls this. `--json yes` prints
//! the sums of each network only.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::collections::BTreeMap;
use std::error::Error;

use gpu::{BatchShape, Launch, Storage};
use mobilenet::{ModelConfig, Variant};

/// Models without `--model`.
const MODELS: [&str; 3] = ["mobilenet_v3_large", "mobilenet_v3_small", "resnet50"];
/// The share of a copy's bandwidth that kernels reach.
const REACHED: f64 = 0.7;

struct Card {
    name: &'static str,
    /// Bytes a second of a large copy, reads and writes counted, as measured.
    bandwidth: f64,
    /// Dense multiply-adds a second of the tensor cores in bf16 and f16, with f32 sums, from the data sheet.
    tensor: f64,
    /// Multiply-adds a second in f32 without tensor cores, from the data sheet.
    plain: f64,
}

const CARDS: [Card; 5] = [
    card("h200", 4.3, 494.5, 33.5),
    card("h100", 3.0, 494.5, 33.5),
    card("a100", 1.75, 156.0, 9.75),
    // GeForce cards halve the speed of products with f32 sums.
    card("4090", 0.93, 82.6, 41.3),
    card("3090", 0.87, 35.5, 17.8),
];

/// From TB/s and tera multiply-adds a second.
const fn card(name: &'static str, bandwidth: f64, tensor: f64, plain: f64) -> Card {
    Card {
        name,
        bandwidth: bandwidth * 1e12,
        tensor: tensor * 1e12,
        plain: plain * 1e12,
    }
}

struct Options {
    card: &'static Card,
    models: Vec<Variant>,
    batch: usize,
    size: usize,
    storage: Storage,
    json: bool,
}

impl Options {
    fn read() -> Result<Options, Box<dyn Error>> {
        let [first, ..] = &CARDS;
        let mut options = Options {
            card: first,
            models: Vec::new(),
            batch: 256,
            size: 224,
            storage: Storage::Bf16,
            json: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next();
            let value = value.ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--gpu" => {
                    let names = CARDS.map(|card| card.name).join(", ");
                    let found = CARDS.iter().find(|card| card.name == value);
                    options.card =
                        found.ok_or_else(|| format!("{value}; expected one of {names}"))?;
                }
                "--model" => options.models.push(value.parse()?),
                "--batch" => options.batch = value.parse()?,
                "--size" => options.size = value.parse()?,
                "--storage" => {
                    let mut all = [Storage::F32, Storage::Bf16, Storage::F16].into_iter();
                    let found = all.find(|storage| storage.name() == value);
                    options.storage =
                        found.ok_or_else(|| format!("{value}; expected f32, bf16 or f16"))?;
                }
                "--json" => options.json = value == "yes",
                _ => return Err(format!("{name}; no such option").into()),
            }
        }
        if options.models.is_empty() {
            options.models = MODELS
                .iter()
                .map(|model| model.parse())
                .collect::<Result<_, _>>()?;
        }
        if options.batch == 0 {
            return Err("--batch 0; expected at least 1".into());
        }
        Ok(options)
    }
}

/// The launches of one kernel.
#[derive(Default)]
struct Sum {
    count: usize,
    moved: u64,
    multiplied: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read()?;
    for model in &options.models {
        report(*model, &options)?;
    }
    Ok(())
}

fn report(model: Variant, options: &Options) -> Result<(), Box<dyn Error>> {
    let Options {
        card,
        batch,
        size,
        storage,
        ..
    } = options;
    let plan = ModelConfig::new(model, 1000).plan()?;
    let shape = BatchShape {
        images: *batch,
        height: *size,
        width: *size,
        bytes: true,
    };
    let (launches, memory) = gpu::training_launches(&plan, *storage, shape)
        .ok_or("the engine for GPUs lacks a layer of this network, or the images are too small")?;
    let (sums, total) = sums(&launches, plan.parameters.len());
    let images = *batch as f64;
    if options.json {
        println!(
            r#"{{"model": "{}", "bytes_per_image": {:.0}, "multiply_adds_per_image": {:.0}, "launches": {}, "memory_bytes": {memory}}}"#,
            model.name(),
            total.moved as f64 / images,
            total.multiplied as f64 / images,
            total.count
        );
        return Ok(());
    }
    println!(
        "{}, {size} pixels, batches of {batch}, {}, on {}",
        model.name(),
        storage.name(),
        card.name
    );
    println!(
        "  kernel                         MB/image   share  launches  million multiply-adds/image"
    );
    for (kernel, sum) in sums {
        println!(
            "  {kernel:<28}  {:>9.3}  {:>5.1}%  {:>8}  {:>27.1}",
            sum.moved as f64 / images / 1e6,
            100.0 * sum.moved as f64 / total.moved as f64,
            sum.count,
            sum.multiplied as f64 / images / 1e6
        );
    }
    println!(
        "  {:<28}  {:>9.3}  100.0%  {:>8}  {:>27.1}",
        "all",
        total.moved as f64 / images / 1e6,
        total.count,
        total.multiplied as f64 / images / 1e6
    );
    let peak = match storage {
        Storage::F32 => card.plain,
        Storage::Bf16 | Storage::F16 => card.tensor,
    };
    let bytes = total.moved as f64 / (REACHED * card.bandwidth);
    let products = total.multiplied as f64 / peak;
    let inference = plan.multiply_adds(*size, *size) as f64;
    println!(
        "  multiply-adds: {:.2} times those of inference ({:.1} million)",
        total.multiplied as f64 / images / inference,
        inference / 1e6
    );
    println!(
        "  memory of the step: {:.2} GiB",
        memory as f64 / f64::from(1 << 30)
    );
    println!(
        "  memory at {:.0} % of {:.2} TB/s: {:.1} ms; products at their peak: {:.1} ms",
        100.0 * REACHED,
        card.bandwidth / 1e12,
        1e3 * bytes,
        1e3 * products
    );
    println!("  predicted: {:.0} images/s\n", images / bytes);
    Ok(())
}

/// Bytes that a step of Adam moves for each parameter: it reads the gradient, and reads and writes the parameter and two
/// buffers.
const ADAM: usize = 28;

/// The launches of each kernel, those that move most first, and of all, with a step of Adam.
fn sums(launches: &[Launch], parameters: usize) -> (Vec<(&'static str, Sum)>, Sum) {
    let mut kernels: BTreeMap<&'static str, Sum> = BTreeMap::new();
    let mut total = Sum::default();
    for launch in launches {
        for sum in [kernels.entry(launch.kernel).or_default(), &mut total] {
            sum.count += 1;
            sum.moved += launch.moved;
            sum.multiplied += launch.multiplied;
        }
    }
    for sum in [kernels.entry("optimizer_step").or_default(), &mut total] {
        sum.count += 1;
        sum.moved += (ADAM * parameters) as u64;
    }
    let mut kernels: Vec<_> = kernels.into_iter().collect();
    kernels.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.moved));
    (kernels, total)
}
