//! Makes batches of samples, epoch by epoch.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use framing::{Fit, Framing, ImageSize};

use crate::augment::AugmentConfig;
use crate::bad_image::{BadImage, BadImageLimit};
use crate::batch::BatchMaker;
use crate::decode_options::DecodeOptions;
use crate::disk_cache::DiskCache;
use crate::epoch::Epoch;
use crate::error::{Error, Result};
use crate::mix::MixConfig;
use crate::resize::Target;
use crate::sample::Sample;
use crate::shuffle::shuffle;
use crate::store::Store;
use crate::views::TtaConfig;

/// The random stream of the shuffle that selects the samples of `limit`. The shuffle of an epoch uses the epoch's
/// number as stream, which is never this large.
const LIMIT_STREAM: u64 = u64::MAX;
/// The largest accepted batch: 4 GiB. A larger one is probably a mistake.
const MAX_BATCH_BYTES: u64 = 4 << 30;

/// Options of a [`Loader`].
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderOptions {
    /// The number of images per batch, at least 1.
    pub batch_size: usize,
    /// The height and width of the images in a batch, in pixels.
    pub image_size: ImageSize,
    /// How images are fitted to `image_size`.
    pub framing: Framing,
    /// The seed of the shuffle, which differs from epoch to epoch. Without a seed, samples keep their order.
    pub shuffle: Option<u64>,
    /// Use only this many samples, the same in every epoch. They are drawn by the seed (0 without one), so that all
    /// classes have their share.
    pub limit: Option<usize>,
    /// Leave out the last batch if it is not full.
    pub drop_last: bool,
    /// The number of threads that decode and resize, at least 1. Batches do not depend on this number.
    pub workers: usize,
    /// The number of batches prepared ahead of the current one, at least 1.
    pub prefetch: usize,
    /// The memory for decoded images in bytes. Images that fit are decoded only once.
    pub cache_bytes: usize,
    /// A file for decoded images, reused by later runs.
    pub disk_cache: Option<DiskCache>,
    /// What to do with images that cannot be decoded.
    pub on_bad_image: BadImage,
    /// How many bad images may be left out.
    pub bad_images: BadImageLimit,
    /// How images are decoded.
    pub decode: DecodeOptions,
    /// Random changes of the images, new in each epoch. These changes depend on the epoch, the seed of the shuffle (0
    /// without one) and the sample's index in [`Loader::samples`].
    pub augment: AugmentConfig,
    /// MixUp and CutMix, depending on seed, epoch and the batch's number.
    pub mix: MixConfig,
    /// Each batch is repeated once for each of these views, one after the other. This cannot be combined with `augment`
    /// or `mix`.
    pub tta: TtaConfig,
}

impl LoaderOptions {
    /// The size of decoded images in memory and in a [`DiskCache`]: `image_size`, or 8/7 of it, rounded up, if
    /// `augment` crops parts of them.
    #[must_use]
    pub fn stored_size(&self) -> ImageSize {
        let larger = |side: u32| {
            let side = (u64::from(side) * 8).div_ceil(7);
            u32::try_from(side).unwrap_or(u32::MAX)
        };
        let ImageSize { height, width } = self.image_size;
        match self.augment.resized_crop {
            Some(_) => ImageSize {
                height: larger(height),
                width: larger(width),
            },
            None => self.image_size,
        }
    }

    /// The framing of images of [`stored_size`](Self::stored_size). This is `framing`. But if `augment` makes random
    /// crops, [`Fit::Crop`] keeps the whole shorter side for them.
    #[must_use]
    pub fn stored_framing(&self) -> Framing {
        match self.framing.fit {
            Fit::Crop if self.augment.resized_crop.is_some() => Framing {
                crop_pct: 1.0,
                ..self.framing
            },
            _ => self.framing.normal(),
        }
    }

    pub(crate) fn stored(&self) -> Target {
        Target {
            size: self.stored_size(),
            framing: self.stored_framing(),
        }
    }

    /// The seed of all random numbers; 0 without a configured seed.
    pub(crate) fn seed(&self) -> u64 {
        self.shuffle.unwrap_or(0)
    }
}

impl Default for LoaderOptions {
    /// Batches of 64 images at 224 pixels, unshuffled; one worker per CPU; 4 batches ahead; 512 MiB of memory and no
    /// disk cache for decoded images. Bad images are errors. Images are neither augmented nor mixed.
    fn default() -> Self {
        Self {
            batch_size: 64,
            image_size: ImageSize::square(224),
            framing: Framing::default(),
            shuffle: None,
            limit: None,
            drop_last: false,
            workers: thread::available_parallelism().map_or(1, NonZeroUsize::get),
            prefetch: 4,
            cache_bytes: 512 << 20,
            disk_cache: None,
            on_bad_image: BadImage::Fail,
            bad_images: BadImageLimit::default(),
            decode: DecodeOptions::default(),
            augment: AugmentConfig::default(),
            mix: MixConfig::default(),
            tta: TtaConfig::None,
        }
    }
}

/// Builds batches of samples reproducibly: the same samples, options and epoch number give the same
/// batches on any machine, for any number of workers.
pub struct Loader {
    maker: Arc<BatchMaker>,
    options: LoaderOptions,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("len", &self.len())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Loader {
    /// A loader of `samples`.
    ///
    /// # Errors
    /// [`Error::Setting`] if an option that must be at least 1 is 0, a batch is larger than 4 GiB, there are no
    /// samples, there are fewer samples than a batch with `drop_last`, or `tta` is combined with `augment` or `mix`;
    /// also the errors of [`AugmentConfig::validate`] and [`MixConfig::validate`].
    pub fn new(samples: impl Into<Arc<[Sample]>>, options: LoaderOptions) -> Result<Self> {
        Self::of(samples.into(), options)
    }

    fn of(mut samples: Arc<[Sample]>, options: LoaderOptions) -> Result<Self> {
        let at_least_one = [
            ("batch_size", options.batch_size),
            ("image_size.height", options.image_size.height as usize),
            ("image_size.width", options.image_size.width as usize),
            ("limit", options.limit.unwrap_or(1)),
            ("workers", options.workers),
            ("prefetch", options.prefetch),
            ("samples", samples.len()),
        ];
        let refuse = |setting, problem: String| Err(Error::Setting { setting, problem });
        if let Some((setting, _)) = at_least_one.into_iter().find(|&(_, value)| value == 0) {
            return refuse(setting, "must be at least 1".into());
        }
        if !(0.0..=1.0).contains(&options.bad_images.share) {
            let problem = format!("found {}, expected 0 to 1", options.bad_images.share);
            return refuse("bad_images.share", problem);
        }
        if !Framing::is_share(options.framing.crop_pct) {
            let problem = format!("found {}, expected above 0 to 1", options.framing.crop_pct);
            return refuse("framing.crop_pct", problem);
        }
        let image_bytes = options.image_size.pixels().saturating_mul(3);
        if image_bytes.saturating_mul(options.batch_size as u64) > MAX_BATCH_BYTES {
            let problem = format!(
                "a batch of {} images of {} pixels is beyond 4 GiB; lower batch_size or image_size",
                options.batch_size, options.image_size
            );
            return refuse("image_size", problem);
        }
        if let Some(sample) = samples
            .iter()
            .find(|sample| u32::try_from(sample.label).is_err())
        {
            return refuse(
                "samples",
                format!(
                    "{}: label {} does not fit 32 bits",
                    sample.id(),
                    sample.label
                ),
            );
        }
        if let Some(limit) = options.limit {
            samples = draw_samples(&samples, limit, options.seed());
        }
        if options.drop_last && samples.len() < options.batch_size {
            let problem = format!(
                "leaves no batch of {} from {} samples",
                options.batch_size,
                samples.len()
            );
            return refuse("drop_last", problem);
        }
        if options.tta != TtaConfig::None && !(options.augment.is_none() && options.mix.is_none()) {
            let problem = "shows a trained network each image in fixed views; leave it out where augment or mix is on";
            return refuse("tta", problem.into());
        }
        let store = Store::new(samples, &options);
        Ok(Self {
            maker: Arc::new(BatchMaker::new(store, &options)?),
            options,
        })
    }

    /// The number of samples (after `limit`), at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it never is empty")]
    pub fn len(&self) -> usize {
        self.maker.store.samples.len()
    }

    /// The samples (after `limit`), unshuffled.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.maker.store.samples
    }

    /// The options of this loader.
    #[must_use]
    pub fn options(&self) -> &LoaderOptions {
        &self.options
    }

    /// The number of batches of an epoch if no image is bad. A batch is left out if all its images are left out. Each
    /// view of `tta` counts as a batch.
    #[must_use]
    pub fn batches_per_epoch(&self) -> usize {
        if self.options.drop_last {
            self.len() / self.options.batch_size
        } else {
            self.len().div_ceil(self.options.batch_size)
        }
    }

    /// The samples of epoch number `epoch`, as indices into [`Loader::samples`], in the order of
    /// its batches.
    #[must_use]
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        if let Some(seed) = self.options.shuffle {
            shuffle(&mut order, seed, epoch);
        }
        order.truncate(self.batches_per_epoch() * self.options.batch_size);
        order
    }

    /// Starts epoch number `epoch`: threads that build its batches, and the iterator that returns them in order.
    /// Dropping the iterator stops the threads.
    ///
    /// The iterator ends after an error.
    #[must_use]
    pub fn epoch(&self, epoch: u64) -> Epoch {
        self.epoch_from(epoch, 0)
    }

    /// As [`Loader::epoch`], but without the first `batches` batches, which are not built either: the rest of an epoch
    /// that was interrupted. Batches keep their numbers and so their augmentation.
    #[must_use]
    pub fn epoch_from(&self, epoch: u64, batches: usize) -> Epoch {
        let order = self.order(epoch);
        Epoch::start(&self.maker, order, batches, Some(epoch), &self.options)
    }

    /// Builds batches of the samples at these indices, in this order, as [`Loader::epoch`] does.
    /// The last batch may not be full. If every image is left out, there are no batches. Unknown
    /// indices are skipped. These batches belong to no epoch, so their images are neither augmented
    /// nor mixed.
    #[must_use]
    pub fn batches(&self, mut order: Vec<usize>) -> Epoch {
        order.retain(|&index| index < self.len());
        Epoch::start(&self.maker, order, 0, None, &self.options).or_none()
    }

    /// The images left out so far, each with the reason.
    #[must_use]
    pub fn skipped(&self) -> Vec<(PathBuf, String)> {
        self.maker.store.skipped()
    }

    /// The indices of the images left out so far, each with the reason.
    #[must_use]
    pub fn left_out(&self) -> Vec<(usize, String)> {
        self.maker.store.left_out.images()
    }

    /// Counts images as left out: those of [`Loader::left_out`] in an earlier process. Unknown indices are ignored.
    pub fn count_as_left_out(&self, images: impl IntoIterator<Item = (usize, String)>) {
        let samples = self.samples();
        for (index, reason) in images {
            if let Some(sample) = samples.get(index) {
                self.maker
                    .store
                    .left_out
                    .restore(index, sample.label, reason);
            }
        }
    }

    /// The number of images of each label left out so far; labels without such images are absent.
    #[must_use]
    pub fn skipped_by_label(&self) -> BTreeMap<usize, usize> {
        self.maker.store.left_out.by_label()
    }

    /// The truncated images used so far; empty unless [`DecodeOptions::truncated`] accepts truncated images.
    #[must_use]
    pub fn truncated(&self) -> Vec<PathBuf> {
        self.maker.store.truncated()
    }
}

/// The first `limit` samples of a shuffle by `seed`, in their original order, as for [`LoaderOptions::limit`].
#[must_use]
pub fn draw_samples(samples: &Arc<[Sample]>, limit: usize, seed: u64) -> Arc<[Sample]> {
    if limit >= samples.len() {
        return Arc::clone(samples);
    }
    let mut chosen: Vec<usize> = (0..samples.len()).collect();
    shuffle(&mut chosen, seed, LIMIT_STREAM);
    chosen.truncate(limit);
    chosen.sort_unstable();
    let chosen = chosen.into_iter();
    chosen.map(|index| samples[index].clone()).collect()
}
