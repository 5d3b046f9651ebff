//! One file per subcommand.

mod compare;
mod cross_validate;
mod evaluate;
mod export;
mod fetch;
mod import_config;
mod inspect;
mod lr_find;
mod models;
mod predict;
mod report;
mod serve;
mod shell;
mod train;
mod unpack;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use classifier::Classifier;
use mnist_data::{BadImage, Classes, DecodeOptions, TruncatedImages};
use mobilenet::weights::{self, Loaded, Overrides};
use mobilenet::{Model, Processor};
use trainer::config::check_batch;
use trainer::{InferenceOptions, RunConfig, RunDir};

use crate::args::{InferenceArgs, NetworkArgs, OverrideArgs, RunArgs};
use crate::terminal::Terminal;
use crate::{layers, prepare, weights_cache};

pub(crate) use compare::compare;
pub(crate) use cross_validate::cross_validate;
pub(crate) use evaluate::evaluate;
pub(crate) use export::export;
pub(crate) use fetch::fetch;
pub(crate) use import_config::import_config;
pub(crate) use inspect::inspect;
pub(crate) use lr_find::lr_find;
pub(crate) use models::models;
pub(crate) use predict::predict;
pub(crate) use report::report;
pub(crate) use serve::serve;
pub(crate) use shell::{completions, man};
pub(crate) use train::train;
pub(crate) use unpack::unpack;

/// Sets the number of CPU threads. Also checks the engine's environment variables before any work.
pub(crate) fn use_threads(threads: usize) -> anyhow::Result<()> {
    mobilenet::Isa::requested()?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .with_context(|| format!("cannot start {threads} threads"))
}

/// Starts the configured threads, and fetches and unpacks missing images. Returns whether the sample digits replace MNIST;
/// see [`prepare::images`].
fn ready(config: &mut RunConfig, terminal: &Terminal) -> anyhow::Result<bool> {
    use_threads(config.train.threads())?;
    prepare::images(config, terminal)
}

/// The configuration of a run, with names of fetched weights replaced by their files.
fn configuration(args: &RunArgs) -> anyhow::Result<RunConfig> {
    let mut config = layers::load(args.config.as_deref(), &args.set)?;
    weights_cache::resolve_all(&mut config)?;
    // `fit` resolves the configuration in the same way, so the division into splits uses the same images as training.
    Ok(config.settled()?)
}

/// The file of wrong answers in a run's folder.
pub(crate) const WRONG: &str = "wrong.csv";

/// Runs `work` in the run folder from the arguments, or in the next free one in `runs`. If there are no results, the
/// folder is removed afterwards.
fn in_run_dir<T>(
    args: &RunArgs,
    name: &str,
    work: impl FnOnce(&RunDir) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let run = match &args.run_dir {
        Some(dir) => RunDir::create(dir)?,
        None => RunDir::next(Path::new("runs"), name)?,
    };
    let result = work(&run);
    run.remove_if_fruitless();
    result
}

/// Loads trained networks on the device, and their input options.
struct Opened {
    classifier: Classifier,
    options: InferenceOptions,
}

fn open(weights: &[PathBuf], args: &InferenceArgs, terminal: &Terminal) -> anyhow::Result<Opened> {
    let Started { threads, processor } = start(&args.network)?;
    let mut classifiers = weights.iter().map(|weights| -> anyhow::Result<Classifier> {
        let classifier = classifier(weights, &args.network, &processor, terminal)?;
        check_batch(args.batch_size.get(), classifier.metadata().image_size)?;
        Ok(classifier)
    });
    // The argument parser requires at least one file.
    let first = classifiers.next().context("no weights are given")??;
    let classifier = classifiers.try_fold(first, |all, one| anyhow::Ok(all.with(one?)?))?;
    let options = InferenceOptions {
        batch_size: args.batch_size.get(),
        workers: threads,
        on_bad_image: on_bad_image(args),
        decode: DecodeOptions {
            truncated: match args.accept_truncated {
                true => TruncatedImages::Accept,
                false => TruncatedImages::Refuse,
            },
            ..DecodeOptions::default()
        },
        tta: args.tta.into(),
        ..InferenceOptions::default()
    };
    Ok(Opened {
        classifier,
        options,
    })
}

/// The CPU threads, which are started once per process, and what networks run on.
struct Started {
    threads: usize,
    processor: Processor,
}

fn start(args: &NetworkArgs) -> anyhow::Result<Started> {
    let threads = trainer::cpu_threads(args.threads);
    use_threads(threads)?;
    let processor = trainer::open_device(args.device)?;
    Ok(Started { threads, processor })
}

/// Loads one network.
fn classifier(
    weights: &Path,
    args: &NetworkArgs,
    processor: &Processor,
    terminal: &Terminal,
) -> anyhow::Result<Classifier> {
    let weights = &weights_cache::resolve(weights)?;
    let loaded = load(weights, &args.overrides, processor.tensors())?;
    // A file with complete metadata needs no report.
    if !loaded.report.assumed.is_empty() {
        terminal.line(&format!("{}: {}", weights.display(), loaded.report));
    }
    let Loaded {
        mut network,
        metadata,
        ..
    } = loaded;
    let settled = trainer::settle_precision(args.precision, network.as_ref(), processor)?;
    if let (_, Some(chosen)) = &settled {
        terminal.line(&chosen.to_string());
    }
    network.run_on(processor, settled.0)?;
    let classifier = Classifier::new(Arc::from(network), metadata)?;
    match args.calibrated {
        true => calibrated(classifier, weights, terminal),
        false => Ok(classifier),
    }
}

/// A classifier of one network with calibrated probabilities.
fn calibrated(
    classifier: Classifier,
    weights: &Path,
    terminal: &Terminal,
) -> anyhow::Result<Classifier> {
    let Ok(classifier) = classifier.calibrated() else {
        return Err(without_temperature(weights));
    };
    if let Some(temperature) = classifier.temperature() {
        let bounds = trainer::TEMPERATURES;
        let at_end = match temperature {
            _ if temperature <= *bounds.start() => {
                "; the smallest that is fitted, as if every validation image was classified correctly"
            }
            _ if temperature >= *bounds.end() => "; the largest that is fitted",
            _ => "",
        };
        let weights = weights.display();
        terminal.line(&format!("{weights}: temperature {temperature:.4}{at_end}"));
    }
    Ok(classifier)
}

/// The error for weights that cannot be calibrated.
fn without_temperature(weights: &Path) -> anyhow::Error {
    anyhow::Error::from(classifier::Error::NoTemperature).context(format!(
        "{}: --calibrated needs weights that `classify train` has written since version 0.1.0; train again, or leave it \
         out",
        weights.display()
    ))
}

/// What the arguments say about unreadable images.
fn on_bad_image(args: &InferenceArgs) -> BadImage {
    match args.strict {
        true => BadImage::Fail,
        false => BadImage::Skip,
    }
}

/// Loads a network from a file of any origin.
fn load(
    weights: &Path,
    args: &OverrideArgs,
    device: &candle_core::Device,
) -> anyhow::Result<Loaded<Box<dyn Model>>> {
    Ok(weights::load_model(weights, overrides(args)?, device)?)
}

/// The overrides from the arguments.
fn overrides(args: &OverrideArgs) -> anyhow::Result<Overrides> {
    let classes = args.classes.as_deref().map(Classes::read).transpose()?;
    Ok(Overrides {
        image_size: args.image_size,
        fit: args.fit,
        crop_pct: args.crop_pct,
        interpolation: args.interpolation,
        orientation: args.orientation,
        class_names: classes.map(|classes| classes.names().to_vec()),
        ..if args.tensorflow {
            Overrides::tensorflow()
        } else {
            Overrides::default()
        }
    })
}

/// The message for weights without class names.
const NUMBERED: &str = "the weights name no classes; classes are numbered by output, from 0; --classes FILE names them";

/// Results go to stdout; write errors reach `main`, which recognises a broken pipe.
fn stdout() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::new(io::stdout().lock())
}
