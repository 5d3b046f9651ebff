//! Fetches and unpacks the images that a run needs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mnist_data::{DatasetName, Progress, UnpackOptions, Validation};
use trainer::RunConfig;
use trainer::config::DataSource;

use crate::terminal::{Terminal, Work};

/// The bundled sample of MNIST, used if MNIST cannot be fetched.
const SAMPLE: &str = "data/sample";
const SAMPLE_UNPACKED: &str = "data/sample-unpacked";

/// Fetches and unpacks missing images, and sets their path in the configuration.
///
/// Returns whether the sample is used instead of MNIST. Then it has called [`warn_of_sample`], and the caller should
/// call it again after the results.
pub(crate) fn images(config: &mut RunConfig, terminal: &Terminal) -> Result<bool> {
    let progress = Work::new(terminal);
    let Some(dataset) = config.data.source.dataset() else {
        if config.data.source == DataSource::Idx {
            unpack(config, None, &progress)?;
        }
        return Ok(false);
    };
    match mnist_data::fetch(dataset, &config.data.idx_dir(), &progress) {
        Ok(_) => unpack(config, Some(dataset), &progress)?,
        Err(error) if is_unpacked(&config.data.root()) => {
            tracing::warn!("{}", mnist_data::with_causes(&error));
            tracing::warn!(
                "using the images already in {}",
                config.data.root().display()
            );
        }
        Err(error) if dataset == DatasetName::Mnist && Path::new(SAMPLE).is_dir() => {
            tracing::error!("{}", mnist_data::with_causes(&error));
            use_sample(config, &progress)?;
            warn_of_sample(terminal);
            return Ok(true);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(false)
}

/// Warns against mistaking the sample's scores for MNIST's.
pub(crate) fn warn_of_sample(terminal: &Terminal) {
    terminal.line(
        "*** MNIST could not be fetched: this run uses the 2,000 sample digits of data/sample. ***\n\
         *** Its figures say nothing about MNIST; the messages above say how to get the real data. ***",
    );
}

fn is_unpacked(root: &Path) -> bool {
    ["train", "val", "test"]
        .iter()
        .all(|split| root.join(split).is_dir())
}

fn use_sample(config: &mut RunConfig, progress: &dyn Progress) -> Result<()> {
    config.data.source = DataSource::Idx;
    config.data.idx_dir = Some(PathBuf::from(SAMPLE));
    config.data.root = Some(PathBuf::from(SAMPLE_UNPACKED));
    // The sample is small and ordered by class, so the default of the last 1,000 images would not do.
    config.data.validation = Validation {
        count: 200,
        stratified: true,
        seed: 0,
    };
    unpack(config, Some(DatasetName::Mnist), progress)
}

fn unpack(
    config: &RunConfig,
    classes_of: Option<DatasetName>,
    progress: &dyn Progress,
) -> Result<()> {
    let options = UnpackOptions {
        validation: config.data.validation.clone(),
        class_names: classes_of.map(class_names),
    };
    let (from, to) = (config.data.idx_dir(), config.data.root());
    mnist_data::unpack(&from, &to, &options, progress)
        .with_context(|| format!("cannot unpack {} into {}", from.display(), to.display()))?;
    Ok(())
}

/// The names of a known data set's class folders, in label order.
pub(crate) fn class_names(dataset: DatasetName) -> Vec<String> {
    dataset
        .class_names()
        .iter()
        .map(|name| (*name).to_owned())
        .collect()
}
