//! One file per subcommand.

mod cross_validate;
mod evaluate;
mod export;
mod fetch;
mod import_config;
mod inspect;
mod lr_find;
mod predict;
mod shell;
mod train;
mod unpack;

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use candle_core::Device;
use mnist_data::{BadImage, Classes, DecodeOptions, TruncatedImages};
use mobilenet::Model;
use mobilenet::weights::{self, Loaded, Overrides, WeightsMetadata};
use trainer::config::check_batch;
use trainer::{Classifier, InferenceOptions, RunDir};

use crate::args::{InferenceArgs, OverrideArgs, RunArgs};
use crate::terminal::Terminal;

pub(crate) use cross_validate::cross_validate;
pub(crate) use evaluate::evaluate;
pub(crate) use export::export;
pub(crate) use fetch::fetch;
pub(crate) use import_config::import_config;
pub(crate) use inspect::inspect;
pub(crate) use lr_find::lr_find;
pub(crate) use predict::predict;
pub(crate) use shell::{completions, man};
pub(crate) use train::train;
pub(crate) use unpack::unpack;

/// Uses so many CPU threads from here on, for everything. What the environment asks of the
/// engine is checked here too, before anything runs with it.
fn use_threads(threads: usize) -> anyhow::Result<()> {
    mobilenet::Isa::requested()?;
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .with_context(|| format!("cannot start {threads} threads"))
}

/// Does `work` in the folder that the arguments name, or in the next free one in `runs`. Where
/// nothing comes of it, the folder is given back.
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

/// Trained networks on the device, and how images are fed to them.
struct Opened {
    networks: Vec<(Box<dyn Model>, WeightsMetadata)>,
    options: InferenceOptions,
}

impl Opened {
    /// All of them, answering together.
    fn classifier(&self) -> trainer::Result<Classifier<'_>> {
        let mut networks = self.networks.iter();
        // The arguments ask for one at least.
        let Some((network, metadata)) = networks.next() else {
            return Err(trainer::Error::Ensemble("there are none".to_owned()));
        };
        let first = Classifier::new(network.as_ref(), metadata);
        networks.try_fold(first, |classifier, (network, metadata)| {
            classifier.with(network.as_ref(), metadata)
        })
    }
}

fn open(weights: &[PathBuf], args: &InferenceArgs, terminal: &Terminal) -> anyhow::Result<Opened> {
    let threads = trainer::cpu_threads(args.threads);
    use_threads(threads)?;
    let device = trainer::open_device(args.device)?;
    let networks = weights.iter().map(|weights| {
        let loaded = load(weights, &args.overrides, &device)?;
        // A file that describes itself leaves nothing to be said.
        if !loaded.report.assumed.is_empty() {
            terminal.line(&format!("{}: {}", weights.display(), loaded.report));
        }
        let Loaded {
            mut network,
            metadata,
            ..
        } = loaded;
        check_batch(args.batch_size.get(), metadata.image_size)?;
        network.set_precision(args.precision)?;
        Ok((network, metadata))
    });
    let networks = networks.collect::<anyhow::Result<_>>()?;
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
    Ok(Opened { networks, options })
}

/// What the arguments say of an image that cannot be read.
fn on_bad_image(args: &InferenceArgs) -> BadImage {
    match args.strict {
        true => BadImage::Fail,
        false => BadImage::Skip,
    }
}

/// A network from a file of whatever origin.
fn load(
    weights: &Path,
    args: &OverrideArgs,
    device: &Device,
) -> anyhow::Result<Loaded<Box<dyn Model>>> {
    Ok(weights::load_model(weights, overrides(args)?, device)?)
}

/// What the arguments say of a file.
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

/// What is said of weights whose classes have no names but the numbers of their outputs.
const NUMBERED: &str = "the weights name no classes, which are numbered by their outputs, from 0; --classes FILE names them";

/// Results go to stdout; an error there reaches `main`, which knows a broken pipe.
fn stdout() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::new(io::stdout().lock())
}
