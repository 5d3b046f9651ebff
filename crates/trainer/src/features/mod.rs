//! Pooled features for a frozen backbone: the head trains on them, and the backbone runs once per
//! image instead of once per epoch.

mod file;
mod files;
mod store;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ::files::Checksum;
use mnist_data::{Loader, PIXELS_MADE_BY, TRAIN, VALIDATION};
use mobilenet::{ByteTable, Model};

use crate::config::DataConfig;
use crate::{Result, disk_cache};
pub(crate) use store::FeatureStore;
use store::Place;

/// The features of a run's training and validation images.
#[derive(Debug)]
pub(crate) struct Features {
    pub(crate) train: Arc<FeatureStore>,
    pub(crate) val: Arc<FeatureStore>,
}

impl Features {
    /// Computes the features of all images of two loaders, except features that are on disk. Returns the number of
    /// images that went through the network; `None` if interrupted. `advance` receives the number of images so far and
    /// the total.
    pub(crate) fn make(
        data: &DataConfig,
        network: &dyn Model,
        table: &Arc<ByteTable>,
        [train, val]: [&Loader; 2],
        interrupt: &AtomicBool,
        mut advance: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Option<(Self, usize)>> {
        let key = key(data, network)?;
        let open = |loader: &Loader, split: &str| {
            let place = (data.disk_cache_mb > 0).then(|| Place {
                path: files::path(&disk_cache::folder(&data.root()), split, &key),
                max_bytes: data.disk_cache_mb.saturating_mul(1 << 20),
                key: key.clone(),
            });
            FeatureStore::open(loader, network.feature_count(), place)
        };
        let mut stores = [open(train, TRAIN), open(val, VALIDATION)];
        let images = train.len() + val.len();
        let mut computed = 0;
        for (store, loader) in stores.iter_mut().zip([train, val]) {
            let more = |more| {
                computed += more;
                advance(computed, images)
            };
            if !store.complete(network, table, loader, interrupt, more)? {
                return Ok(None);
            }
        }
        let [train, val] = stores.map(Arc::new);
        Ok(Some((Self { train, val }, computed)))
    }
}

/// Whether the features of this many images fit into `data.cache_mb`, the memory for decoded images.
pub(crate) fn fit_memory(data: &DataConfig, network: &dyn Model, images: usize) -> bool {
    let bytes = images.saturating_mul(network.feature_count() * size_of::<f32>());
    bytes <= data.cache_mb.saturating_mul(1 << 20)
}

/// A hash of everything that features depend on besides the image's contents.
fn key(data: &DataConfig, network: &dyn Model) -> Result<String> {
    let mut key = Checksum::default();
    key.update(network.backbone_key()?.as_bytes());
    key.update(PIXELS_MADE_BY.as_bytes());
    key.update(format!("{:?}", data.decode_options()).as_bytes());
    key.update(format!("{:?} {:?}", data.image_size, data.framing()).as_bytes());
    let normalisation = data.normalisation();
    for number in normalisation.mean.iter().chain(&normalisation.std) {
        key.update(&number.to_le_bytes());
    }
    Ok(key.finish())
}
