//! The decoded images of a loader: kept while memory lasts, read when not.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

use crate::decode::Picture;
use crate::disk_cache::OpenCache;
use crate::error::{Error, Result};
use crate::folder::Sample;
use crate::loader::LoaderOptions;
use crate::resize::Scaler;

/// What a loader does about an image that cannot be read or decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadImage {
    /// Leaves it out of its batch, with one warning that names it.
    Skip,
    /// Ends the epoch with an error that names it.
    #[default]
    Fail,
}

/// Samples, and the pictures made of them so far. Shared by all workers.
pub(crate) struct Store {
    pub(crate) samples: Vec<Sample>,
    /// Both sides of every picture as it is kept.
    size: u32,
    on_bad_image: BadImage,
    /// Each picture as resized, where there was room for it.
    cached: Vec<OnceLock<Picture>>,
    /// Bytes of the memory budget not yet taken.
    budget: AtomicUsize,
    disk: Option<OpenCache>,
    skipped: Mutex<BTreeMap<usize, String>>,
}

impl Store {
    pub(crate) fn new(samples: Vec<Sample>, size: u32, options: &LoaderOptions) -> Self {
        let disk = options.disk_cache.clone();
        Self {
            size,
            on_bad_image: options.on_bad_image,
            disk: disk.map(|disk| OpenCache::new(disk, size)),
            cached: samples.iter().map(|_| OnceLock::new()).collect(),
            budget: AtomicUsize::new(options.cache_bytes),
            skipped: Mutex::default(),
            samples,
        }
    }

    /// Shows sample `index` as it is kept. Returns whether it did: a bad image may be left out. An error of
    /// `show` itself is no matter of the image.
    pub(crate) fn show(
        &self,
        index: usize,
        scaler: &mut Scaler,
        show: impl FnOnce(&Picture) -> Result<()>,
    ) -> Result<bool> {
        if let Some(picture) = self.cached[index].get() {
            return show(picture).map(|()| true);
        }
        match self.read(index, scaler) {
            Ok(picture) => {
                show(&picture)?;
                self.keep(index, picture);
                Ok(true)
            }
            Err(error) if self.on_bad_image == BadImage::Fail => Err(error),
            Err(error) => {
                self.skip(index, &error);
                Ok(false)
            }
        }
    }

    fn read(&self, index: usize, scaler: &mut Scaler) -> Result<Picture> {
        let sample = &self.samples[index];
        if let Some(disk) = &self.disk {
            return disk.picture(sample, &self.samples, scaler);
        }
        let file = File::open(&sample.path).map_err(Error::io("read", &sample.path))?;
        scaler.read(file, &sample.path, self.size)
    }

    /// To be called when an epoch's last worker has made its last batch.
    pub(crate) fn epoch_ended(&self) {
        if let Some(disk) = &self.disk {
            disk.publish(&self.samples);
        }
    }

    fn keep(&self, index: usize, picture: Picture) {
        let bytes = picture.pixels().len();
        let take = |budget: usize| budget.checked_sub(bytes);
        if self
            .budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
        {
            // Should another epoch have been quicker, its picture is the same.
            let _ = self.cached[index].set(picture);
        }
    }

    fn skip(&self, index: usize, error: &Error) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.entry(index).or_insert_with(|| {
            tracing::warn!("left out: {error}");
            error.to_string()
        });
    }

    /// The images left out so far, each with the reason.
    pub(crate) fn skipped(&self) -> Vec<(PathBuf, String)> {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped
            .iter()
            .map(|(&index, reason)| (self.samples[index].path.clone(), reason.clone()))
            .collect()
    }
}
