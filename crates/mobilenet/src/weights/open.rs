//! Opens weights files of every kind.

use std::path::Path;

use candle_core::Device;

use crate::weights::metadata::{WeightsMetadata, metadata};
use crate::weights::overrides::Overrides;
use crate::weights::report::LoadReport;
use crate::weights::source::{Loaded, Source};
use crate::weights::tensor_file::TensorFile;
use crate::zoo::ZooNetwork;
use crate::{Model, ModelDescription, Network, Result};

/// Loads the network in a weights file. The file's metadata describe the network if [`save`](crate::weights::save) wrote
/// it; otherwise [`Source`] recognises the network.
///
/// # Errors
/// If the file is incomplete or contains no known network. If its tensors do not match its model;
/// the message lists them. [`Error::BadNumbers`](crate::Error::BadNumbers) if a value is NaN, infinite or a negative
/// variance.
pub fn load(path: &Path, device: &Device) -> Result<(Network, WeightsMetadata)> {
    let loaded = Source::open(path, Overrides::default())?.load(device)?;
    Ok((loaded.network, loaded.metadata))
}

/// Loads a weights file of any model. For a model of the zoo, the file must contain metadata.
///
/// # Errors
/// As [`load`], and if the overrides do not fit the file. [`Error::NotBuilt`](crate::Error::NotBuilt) for a model of the
/// zoo in a build without it.
pub fn load_model(
    path: &Path,
    overrides: Overrides,
    device: &Device,
) -> Result<Loaded<Box<dyn Model>>> {
    let loaded = inspect(path, overrides, device)?;
    loaded.report.check_numbers(path)?;
    Ok(loaded)
}

/// As [`load_model`], but only for inspection: unusable values are not an error, but are listed in
/// [`LoadReport::bad_numbers`].
///
/// # Errors
/// As [`load_model`], except [`Error::BadNumbers`](crate::Error::BadNumbers).
pub fn inspect(
    path: &Path,
    overrides: Overrides,
    device: &Device,
) -> Result<Loaded<Box<dyn Model>>> {
    let file = TensorFile::open(path)?;
    let of_zoo = metadata(&file)?.and_then(|metadata| match &metadata.model {
        ModelDescription::Zoo(config) => Some((config.clone(), metadata)),
        ModelDescription::MobileNet(_) => None,
    });
    let Some((config, metadata)) = of_zoo else {
        let loaded = Source::of_file(file, overrides)?.load_unchecked(device)?;
        return Ok(Loaded {
            network: Box::new(loaded.network),
            metadata: loaded.metadata,
            report: loaded.report,
        });
    };
    let (network, report) = ZooNetwork::saved(&config, file, device)?;
    Ok(Loaded {
        network: Box::new(network),
        metadata: overrides.over(metadata, path)?,
        report,
    })
}

/// The metadata of a weights file. `None` if [`save`](crate::weights::save) did not write the file. The weights are not
/// read.
///
/// # Errors
/// If the file is not a complete file of tensors, or its metadata are invalid.
pub fn describe(path: &Path) -> Result<Option<WeightsMetadata>> {
    metadata(&TensorFile::open(path)?)
}

/// Fills a network with those weights of a file that fit; see [`Source::load_into`].
///
/// # Errors
/// As [`Source::load_into`].
pub fn load_pretrained(path: &Path, network: &mut Network) -> Result<LoadReport> {
    Source::open(path, Overrides::default())?.load_into(network)
}
