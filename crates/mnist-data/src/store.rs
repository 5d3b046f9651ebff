//! Keeps a loader's decoded images in memory, up to a limit.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{fs, thread};

use crate::bad_image::LeftOut;
use crate::decode::{Decoded, Image, MAX_BYTES};
use crate::decode_options::DecodeOptions;
use crate::disk_cache::OpenCache;
use crate::error::{Error, Result};
use crate::loader::LoaderOptions;
use crate::regular;
use crate::resize::{Scaler, Target};
use crate::sample::Sample;

/// The pauses before an image is read again after an error that may pass.
const RETRIES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Whether a later attempt may succeed: errors of devices and of network file systems.
fn may_pass(error: &io::Error) -> bool {
    #[cfg(unix)]
    if matches!(error.raw_os_error(), Some(libc::EIO)) {
        return true;
    }
    matches!(
        error.kind(),
        ErrorKind::StaleNetworkFileHandle
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::ConnectionReset
    )
}

/// Samples and their decoded images, shared by all workers.
pub(crate) struct Store {
    pub(crate) samples: Arc<[Sample]>,
    /// The size and framing of the stored images.
    target: Target,
    pub(crate) left_out: LeftOut,
    decode: DecodeOptions,
    /// The stored images of the first samples: as many slots as there may be gray images in memory.
    cached: Vec<OnceLock<Image>>,
    /// The remaining bytes of memory for images.
    budget: AtomicUsize,
    disk: Option<OpenCache>,
    truncated: Mutex<Truncated>,
}

/// Truncated images that were used.
#[derive(Default)]
struct Truncated {
    samples: BTreeSet<usize>,
    /// The number of truncated images in the last warning.
    told: usize,
}

impl Store {
    pub(crate) fn new(samples: Arc<[Sample]>, options: &LoaderOptions) -> Self {
        let disk = options.disk_cache.clone();
        let target = options.stored();
        let gray = usize::try_from(target.size.pixels()).unwrap_or(usize::MAX);
        let slots = (options.cache_bytes / gray.max(1)).min(samples.len());
        Self {
            target,
            left_out: LeftOut::new(options.on_bad_image, options.bad_images.clone(), &samples),
            decode: options.decode,
            disk: disk.map(|disk| OpenCache::new(disk, target, options.decode)),
            cached: (0..slots).map(|_| OnceLock::new()).collect(),
            budget: AtomicUsize::new(options.cache_bytes),
            truncated: Mutex::default(),
            samples,
        }
    }

    /// Passes the image of sample `index` to `show`. Returns false if the image is bad and was left out. Errors of
    /// `show` itself are always returned.
    pub(crate) fn show(
        &self,
        index: usize,
        scaler: &mut Scaler,
        show: impl FnOnce(&Image) -> Result<()>,
    ) -> Result<bool> {
        if let Some(image) = self.cached.get(index).and_then(OnceLock::get) {
            return show(image).map(|()| true);
        }
        match self.read(index, scaler) {
            Ok(image) => {
                show(&image)?;
                self.keep(index, image);
                Ok(true)
            }
            Err(error) => {
                self.check_folder(index, &error)?;
                let label = self.samples[index].label;
                self.left_out.add(index, label, error).map(|()| false)
            }
        }
    }

    /// An image in a folder that has vanished is no bad image: leaving it out would train on other images than before.
    fn check_folder(&self, index: usize, error: &Error) -> Result<()> {
        let sample = &self.samples[index];
        let path = sample.path();
        let (Error::Io { .. }, Some(folder)) = (error, path.parent()) else {
            return Ok(());
        };
        match fs::read_dir(folder) {
            Ok(_) => Ok(()),
            Err(problem) => Err(Error::Vanished {
                folder: folder.to_owned(),
                image: sample.id().to_owned(),
                problem: problem.to_string(),
            }),
        }
    }

    /// Reads an image. An error that may pass, such as one of a network file system, is retried.
    fn read(&self, index: usize, scaler: &mut Scaler) -> Result<Image> {
        for pause in RETRIES {
            match self.try_to_read(index, scaler) {
                Err(Error::Io { source, .. }) if may_pass(&source) => thread::sleep(pause),
                read => return read,
            }
        }
        self.try_to_read(index, scaler)
    }

    fn try_to_read(&self, index: usize, scaler: &mut Scaler) -> Result<Image> {
        let sample = &self.samples[index];
        sample.check_name()?;
        let decoded = match &self.disk {
            Some(disk) => disk.image(index, &self.samples, scaler)?,
            None => {
                let path = sample.path();
                let (file, _) = regular::open(&path, MAX_BYTES)?;
                scaler.read(file, &path, self.target, self.decode)?
            }
        };
        let Decoded {
            image,
            is_truncated,
            ..
        } = decoded;
        if is_truncated {
            self.truncated_samples().samples.insert(index);
        }
        Ok(image)
    }

    /// Call this when an epoch's last worker has built its last batch.
    pub(crate) fn epoch_ended(&self) {
        self.tell_of_truncated();
        if let Some(disk) = &self.disk {
            disk.publish(&self.samples);
        }
        self.left_out.pass_ended();
    }

    fn truncated_samples(&self) -> MutexGuard<'_, Truncated> {
        let truncated = self.truncated.lock();
        truncated.unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives one warning per epoch about truncated images, unless an earlier warning had the same number.
    fn tell_of_truncated(&self) {
        let mut truncated = self.truncated_samples();
        let count = truncated.samples.len();
        if count > truncated.told
            && let Some(&first) = truncated.samples.first()
        {
            let first = self.samples[first].path();
            let first = first.display();
            match count {
                1 => tracing::warn!("1 image lacks data at its end and is used anyway: {first}"),
                _ => tracing::warn!(
                    "{count} images lack data at their end and are used anyway, such as {first}"
                ),
            }
            truncated.told = count;
        }
    }

    /// The truncated images used so far.
    pub(crate) fn truncated(&self) -> Vec<PathBuf> {
        let truncated = self.truncated_samples();
        let paths = truncated
            .samples
            .iter()
            .map(|&index| self.samples[index].path());
        paths.collect()
    }

    fn keep(&self, index: usize, image: Image) {
        let Some(slot) = self.cached.get(index) else {
            return;
        };
        let bytes = image.pixels().len();
        let take = |budget: usize| budget.checked_sub(bytes);
        if self
            .budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
        {
            // If another epoch stored the image first, it is the same image.
            let _ = slot.set(image);
        }
    }

    /// The images left out so far, each with the reason.
    pub(crate) fn skipped(&self) -> Vec<(PathBuf, String)> {
        let skipped = self.left_out.images().into_iter();
        skipped
            .map(|(index, reason)| (self.samples[index].path(), reason))
            .collect()
    }
}
