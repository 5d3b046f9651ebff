//! Stores decoded images on disk for later runs: see [`DiskCache`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use files::Stamp;

use crate::decode::{Decoded, Image, MAX_BYTES};
use crate::decode_options::DecodeOptions;
use crate::error::{Error, Result, with_causes};
use crate::pixel_file::{Entry, Key, Made, PixelFile, PixelWriter};
use crate::regular;
use crate::resize::{Scaler, Target};
use crate::sample::Sample;

/// A file with a loader's decoded and resized images, so that later epochs and later runs need not
/// decode them again.
///
/// The file is written atomically at the end of an epoch that decoded any image. Images of the previous cache file are
/// copied into it. An image is found by its id, and is valid only while its file has the same length and times; a
/// changed image is decoded again. The cache file is replaced if it is damaged, or if image size, framing, decoding
/// options or the version of this crate differ. If it cannot be written (a read-only folder, a full disk), a warning
/// says so once, and the loader works without it.
///
/// Several processes may use one file at once. Each combination of split, image size, framing and
/// decoding options needs its own file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskCache {
    /// The cache file. Its folder is created if missing. A name that begins with a dot is ignored when images are
    /// listed.
    pub path: PathBuf,
    /// The most bytes of pixels in the cache file; further images are decoded in every run. While the file is replaced,
    /// the old and the new file are both on the disk.
    pub max_bytes: u64,
    /// Whether the cache file is only read, never written. Images missing from it are decoded in every run.
    pub read_only: bool,
}

/// A [`DiskCache`] in use.
pub(crate) struct OpenCache {
    options: DiskCache,
    target: Target,
    decode: DecodeOptions,
    current: RwLock<Option<Arc<PixelFile>>>,
    recording: Mutex<Recording>,
    damage_told: AtomicBool,
}

/// What is done with images that are not in the cache file yet.
enum Recording {
    /// No image was missing from the cache file so far.
    Idle,
    /// Missing images are being written to the next file.
    Open(Box<Successor>),
    /// Missing images are not written: the cache is read-only, or writing has failed.
    Off,
}

/// The next cache file, being written.
struct Successor {
    writer: PixelWriter,
    /// Whether each sample is in the next file.
    recorded: Vec<bool>,
    /// The bytes of pixels that still fit.
    room: u64,
}

impl OpenCache {
    pub(crate) fn new(options: DiskCache, target: Target, decode: DecodeOptions) -> Self {
        let recording = match options.read_only {
            true => Recording::Off,
            false => Recording::Idle,
        };
        let cache = Self {
            options,
            target,
            decode,
            current: RwLock::default(),
            recording: Mutex::new(recording),
            damage_told: AtomicBool::new(false),
        };
        cache.reopen();
        cache
    }

    /// The image of sample `index`, from the file or by decoding it.
    pub(crate) fn image(
        &self,
        index: usize,
        samples: &[Sample],
        scaler: &mut Scaler,
    ) -> Result<Decoded> {
        let sample = &samples[index];
        let (path, key) = (sample.path(), Key::of(sample.id()));
        if let Some(image) = self.known(&path, &key) {
            return Ok(Decoded {
                image,
                is_truncated: false,
                original: None,
            });
        }
        let (file, metadata) = regular::open(&path, MAX_BYTES)?;
        // The stamp is taken before the contents are read, so that a later write changes it.
        let stamp = Stamp::of(&metadata);
        let decoded = scaler.read(file, &path, self.target, self.decode)?;
        // Truncated images are not cached, since a later run may refuse them.
        let stamp =
            stamp.filter(|stamp| !decoded.is_truncated && stamp.is_settled(SystemTime::now()));
        if let Some(stamp) = stamp {
            self.record(index, key, samples, stamp, &decoded.image);
        }
        Ok(decoded)
    }

    /// The image of the file at `path`, if the cache has it.
    fn known(&self, path: &Path, key: &Key) -> Option<Image> {
        let current = self.current()?;
        let stamp = Stamp::of(&fs::metadata(path).ok()?)?;
        current.image(key, stamp).unwrap_or_else(|problem| {
            // Only the first damaged image is reported, since a bad disk may damage thousands.
            if !self.damage_told.swap(true, Ordering::Relaxed) {
                let (cache, path) = (self.options.path.display(), path.display());
                tracing::warn!(
                    "{cache}: the pixels of {path}: {problem}; damaged images are decoded again"
                );
            }
            None
        })
    }

    fn made(&self) -> Made {
        Made {
            decoding: self.decode.decoding,
            image_size: self.target.size,
            framing: self.target.framing,
            orientation: self.decode.orientation,
        }
    }

    fn current(&self) -> Option<Arc<PixelFile>> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reopen(&self) {
        let opened = PixelFile::open(&self.options.path, &self.made());
        let opened = opened.unwrap_or_else(|problem| {
            let remedy = match self.options.read_only {
                true => "images are decoded instead",
                false => "it is rebuilt",
            };
            tracing::warn!("{}: {problem}; {remedy}", self.options.path.display());
            None
        });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = opened.map(Arc::new);
    }

    fn record(&self, index: usize, key: Key, samples: &[Sample], stamp: Stamp, image: &Image) {
        let mut recording = self.recording();
        if matches!(*recording, Recording::Idle) {
            *recording = self.start(samples);
        }
        let Recording::Open(next) = &mut *recording else {
            return;
        };
        // The replaced image makes room for this one.
        let replaced = self.current().and_then(|current| {
            let entry = current.entry(&key)?;
            Some(entry.bytes(self.target.size))
        });
        next.room = next.room.saturating_add(replaced.unwrap_or(0));
        let bytes = image.pixels().len() as u64;
        // Two epochs of one loader may reach a sample at the same time.
        if bytes > next.room || std::mem::replace(&mut next.recorded[index], true) {
            return;
        }
        next.room -= bytes;
        if let Err(error) = next.writer.push(key, stamp.to_bytes(), image) {
            *recording = self.give_up(&error);
        }
    }

    fn start(&self, samples: &[Sample]) -> Recording {
        let taken: u64 = self.current().map_or(0, |current| {
            let known = samples
                .iter()
                .filter_map(|sample| current.entry(&Key::of(sample.id())));
            known.map(|entry| entry.bytes(self.target.size)).sum()
        });
        match PixelWriter::create(&self.options.path, self.made()) {
            Ok(writer) => Recording::Open(Box::new(Successor {
                writer,
                recorded: vec![false; samples.len()],
                room: self.options.max_bytes.saturating_sub(taken),
            })),
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&self, error: &Error) -> Recording {
        tracing::warn!(
            "images are decoded again in every run: {}",
            with_causes(error)
        );
        Recording::Off
    }

    /// Writes the next cache file to the disk, at the end of an epoch.
    pub(crate) fn publish(&self, samples: &[Sample]) {
        let mut recording = self.recording();
        let mut next = match std::mem::replace(&mut *recording, Recording::Idle) {
            Recording::Open(next) => next,
            other => {
                *recording = other;
                return;
            }
        };
        if next.writer.written() == 0 {
            return;
        }
        // The old file is opened again, because another process may have replaced it meanwhile.
        let outcome = match PixelFile::open(&self.options.path, &self.made()) {
            Ok(Some(old)) => self.take_over(&mut next, &old, samples),
            Ok(None) | Err(_) => Ok(()),
        };
        match outcome.and_then(|()| next.writer.finish()) {
            Ok(()) => {
                self.reopen();
                let path = self.options.path.display();
                tracing::info!("{path}: decoded images are kept here");
            }
            Err(error) => *recording = self.give_up(&error),
        }
    }

    /// Copies images of `old` that the new file lacks, up to the limit. Images of this loader's samples are copied
    /// first.
    fn take_over(&self, next: &mut Successor, old: &PixelFile, samples: &[Sample]) -> Result<()> {
        let mut ours: Vec<Key> = samples.iter().map(|sample| Key::of(sample.id())).collect();
        let mut recorded = next.writer.keys();
        ours.sort_unstable();
        recorded.sort_unstable();
        let (first, second): (Vec<&Entry>, Vec<&Entry>) = old
            .entries()
            .into_iter()
            .filter(|entry| recorded.binary_search(&entry.key).is_err())
            .partition(|entry| ours.binary_search(&entry.key).is_ok());
        for entry in first.into_iter().chain(second) {
            if next.writer.written() + entry.bytes(self.target.size) <= self.options.max_bytes {
                next.writer.copy(old, entry)?;
            }
        }
        Ok(())
    }

    fn recording(&self) -> MutexGuard<'_, Recording> {
        self.recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
