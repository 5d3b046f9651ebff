//! The decoded images of a loader: kept while memory lasts, read when not.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bad_image::LeftOut;
use crate::decode::{MAX_BYTES, Picture};
use crate::disk_cache::OpenCache;
use crate::error::Result;
use crate::folder::Sample;
use crate::loader::LoaderOptions;
use crate::regular;
use crate::resize::Scaler;

/// Samples, and the pictures made of them so far. Shared by all workers.
pub(crate) struct Store {
    pub(crate) samples: Vec<Sample>,
    /// Both sides of every picture as it is kept.
    size: u32,
    pub(crate) left_out: LeftOut,
    /// Each picture as resized, where there was room for it.
    cached: Vec<OnceLock<Picture>>,
    /// Bytes of the memory budget not yet taken.
    budget: AtomicUsize,
    disk: Option<OpenCache>,
}

impl Store {
    pub(crate) fn new(samples: Vec<Sample>, size: u32, options: &LoaderOptions) -> Self {
        let disk = options.disk_cache.clone();
        Self {
            size,
            left_out: LeftOut::new(options.on_bad_image, options.bad_images.clone(), &samples),
            disk: disk.map(|disk| OpenCache::new(disk, size)),
            cached: samples.iter().map(|_| OnceLock::new()).collect(),
            budget: AtomicUsize::new(options.cache_bytes),
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
            Err(error) => {
                let label = self.samples[index].label;
                self.left_out.add(index, label, error).map(|()| false)
            }
        }
    }

    fn read(&self, index: usize, scaler: &mut Scaler) -> Result<Picture> {
        let sample = &self.samples[index];
        if let Some(disk) = &self.disk {
            return disk.picture(sample, &self.samples, scaler);
        }
        let (file, _) = regular::open(&sample.path, MAX_BYTES)?;
        scaler.read(file, &sample.path, self.size)
    }

    /// To be called when an epoch's last worker has made its last batch.
    pub(crate) fn epoch_ended(&self) {
        if let Some(disk) = &self.disk {
            disk.publish(&self.samples);
        }
        self.left_out.pass_ended();
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

    /// The images left out so far, each with the reason.
    pub(crate) fn skipped(&self) -> Vec<(PathBuf, String)> {
        let skipped = self.left_out.images().into_iter();
        skipped
            .map(|(index, reason)| (self.samples[index].path.clone(), reason))
            .collect()
    }
}
