use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use candle_core::{DType, Device, Tensor};
use mnist_data::PublishedWeights;
use mobilenet::weights::Normalisation;
use mobilenet::zoo::Backbone;
use mobilenet::{ImageSize, Images, ModelConfig, Network, Variant};
use serde::Serialize;

use crate::args::ModelsArgs;

/// Classes of the networks in the list: those of ImageNet.
const CLASSES: usize = 1000;
/// A measurement takes at least this long, after one pass that does not count.
const MEASURED: Duration = Duration::from_secs(1);

/// A row of the list.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    family: &'static str,
    parameters: usize,
    gflop: f64,
    image_size: ImageSize,
    mean: [f32; 3],
    std: [f32; 3],
    executor: &'static str,
    /// Whether whole blocks run in one pass.
    fused: bool,
    /// Whether `classify fetch weights` knows the name.
    fetch: bool,
    schemes: Vec<String>,
    #[serde(flatten)]
    speed: Option<Speed>,
}

/// Images per second.
#[derive(Serialize)]
struct Speed {
    infer_images_per_second: f64,
    train_images_per_second: f64,
}

pub(crate) fn models(args: &ModelsArgs) -> anyhow::Result<()> {
    let variants = chosen(&args.names)?;
    if args.measure {
        super::use_threads(trainer::cpu_threads(args.threads))?;
    }
    let mut out = super::stdout();
    if !args.json {
        writeln!(out, "{}", header(args))?;
    }
    for &variant in &variants {
        let row = row(variant, args)?;
        let line = match args.json {
            true => serde_json::to_string(&row)?,
            false => line(&row),
        };
        writeln!(out, "{line}")?;
        // A measured row takes seconds.
        out.flush()?;
    }
    let is_new = |backbone: &Backbone| backbone.name().parse::<Variant>().is_err();
    let zoo = Backbone::ALL.iter().copied().filter(is_new);
    let zoo: Vec<&str> = zoo.filter(|b| b.is_built()).map(Backbone::name).collect();
    if !args.json && args.names.is_empty() && !zoo.is_empty() {
        writeln!(out, "\nas frozen backbones: {}", zoo.join(", "))?;
    }
    out.flush()?;
    Ok(())
}

/// The networks that one of the texts names, or is a part of the name or of the family's name; all without texts.
fn chosen(names: &[String]) -> anyhow::Result<Vec<Variant>> {
    if names.is_empty() {
        return Ok(Variant::all().collect());
    }
    let mut found = Vec::new();
    for name in names {
        let plain = name.to_lowercase();
        let fits = |variant: &Variant| {
            variant.name().contains(&plain) || variant.family().to_lowercase().contains(&plain)
        };
        let fitting: Vec<Variant> = match plain.parse() {
            Ok(variant) => vec![variant],
            Err(_) => Variant::all().filter(fits).collect(),
        };
        if let (true, Err(problem)) = (fitting.is_empty(), name.parse::<Variant>()) {
            bail!(trainer::config::ConfigError::Invalid {
                key: "NAME",
                found: format!("{name:?}"),
                expected: format!("a network of the list: {problem}"),
            });
        }
        found.extend(fitting);
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|variant| seen.insert(*variant));
    Ok(found)
}

fn row(variant: Variant, args: &ModelsArgs) -> anyhow::Result<Row> {
    let config = ModelConfig::new(variant, CLASSES);
    let plan = config.plan()?;
    let own = ImageSize::square(variant.image_size());
    let image_size = args.image_size.unwrap_or(own);
    let [height, width] = image_size.sides().map(|side| side as usize);
    let Normalisation { mean, std } = variant.normalisation();
    let executor = Network::executor_of(&config)?;
    Ok(Row {
        name: variant.name(),
        family: variant.family(),
        parameters: plan.parameters.len(),
        gflop: plan.multiply_adds(height, width) as f64 / 1e9,
        image_size,
        mean,
        std,
        executor,
        fused: executor == "fused",
        fetch: variant.name().parse::<PublishedWeights>().is_ok(),
        schemes: (variant.schemes().iter().map(ToString::to_string)).collect(),
        speed: match args.measure {
            true => Some(measure(&config, image_size, args.batch_size.get())?),
            false => None,
        },
    })
}

/// Measures inference and training steps of a network with random weights.
fn measure(config: &ModelConfig, size: ImageSize, batch: usize) -> anyhow::Result<Speed> {
    let device = Device::Cpu;
    let mut network = Network::new(config, 1, &device)?;
    let [height, width] = size.sides().map(|side| side as usize);
    let pixels = Tensor::rand(0f32, 255.0, (batch, height, width, 3), &device)?;
    let table = Arc::new(config.name.normalisation().table());
    let images = Images::bytes(&pixels.to_dtype(DType::U8)?, table)?;
    let infer = passes_per_second(|_| {
        network.infer(&images)?;
        Ok(())
    })?;
    let train = passes_per_second(|step| {
        let logits = network.forward_train(&images, step, false)?;
        logits.sqr()?.mean_all()?.backward()?;
        Ok(())
    })?;
    Ok(Speed {
        infer_images_per_second: infer * batch as f64,
        train_images_per_second: train * batch as f64,
    })
}

/// Runs `pass` once, then repeatedly for [`MEASURED`].
fn passes_per_second(mut pass: impl FnMut(u64) -> anyhow::Result<()>) -> anyhow::Result<f64> {
    pass(0)?;
    let start = Instant::now();
    let mut passes = 0;
    while start.elapsed() < MEASURED {
        passes += 1;
        pass(passes)?;
    }
    Ok(passes as f64 / start.elapsed().as_secs_f64())
}

fn header(args: &ModelsArgs) -> String {
    let speed = match args.measure {
        true => format!("{:>9} {:>9}  ", "infer/s", "train/s"),
        false => String::new(),
    };
    format!(
        "{:24} {:>11} {:>7} {:>9}  {:9} {:9} {:6} {speed}{}",
        "name", "parameters", "GFLOP", "size", "pixels", "executor", "fetch", "weights of"
    )
}

fn line(row: &Row) -> String {
    let pixels = match (Normalisation {
        mean: row.mean,
        std: row.std,
    }) {
        Normalisation::IMAGENET => "ImageNet",
        Normalisation::HALF => "-1 to 1",
        _ => "other",
    };
    let mut line = format!(
        "{:24} {:>11} {:>7.2} {:>9}  {pixels:9} {:9} {:6} ",
        row.name,
        row.parameters,
        row.gflop,
        row.image_size.to_string(),
        row.executor,
        if row.fetch { "yes" } else { "-" }
    );
    if let Some(speed) = &row.speed {
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            "{:>9.1} {:>9.1}  ",
            speed.infer_images_per_second, speed.train_images_per_second
        );
    }
    line + &row.schemes.join(", ")
}
