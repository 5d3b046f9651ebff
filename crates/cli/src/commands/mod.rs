//! One file per subcommand.

mod evaluate;
mod fetch;
mod inspect;
mod predict;
mod train;
mod unpack;

use std::io;
use std::path::Path;

use anyhow::Context;
use mobilenet::Model;
use mobilenet::weights::{self, WeightsMetadata};
use trainer::InferenceOptions;

use crate::args::InferenceArgs;

pub(crate) use evaluate::evaluate;
pub(crate) use fetch::fetch;
pub(crate) use inspect::inspect;
pub(crate) use predict::predict;
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

/// A trained network on the device, and how images are fed to it.
fn open(
    weights: &Path,
    args: &InferenceArgs,
) -> anyhow::Result<(Box<dyn Model>, WeightsMetadata, InferenceOptions)> {
    let threads = trainer::cpu_threads(args.threads);
    use_threads(threads)?;
    let device = trainer::open_device(args.device)?;
    let (mut network, metadata) = weights::load_model(weights, &device)?;
    network.set_precision(args.precision)?;
    let options = InferenceOptions {
        batch_size: args.batch_size.get(),
        workers: threads,
        on_bad_image: if args.strict {
            mnist_data::BadImage::Fail
        } else {
            mnist_data::BadImage::Skip
        },
        disk_cache: None,
    };
    Ok((network, metadata, options))
}

/// Results go to stdout; an error there reaches `main`, which knows a broken pipe.
fn stdout() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::new(io::stdout().lock())
}
