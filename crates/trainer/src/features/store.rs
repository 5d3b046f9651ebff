//! The pooled features of one split.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Tensor};
use files::Stamp;
use mnist_data::{Loader, Sample, content_checksum};
use mobilenet::{ByteTable, Model};

use super::file::{Contents, FeatureFile};
use crate::batch::{Batch, DeviceBatch, Inputs};
use crate::{Error, Result};

/// Where the features of a split are stored on disk.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The path of the feature file.
    pub(crate) path: PathBuf,
    /// The most bytes of all feature files together, of any model.
    pub(crate) max_bytes: u64,
    /// A hash of everything that features depend on besides the image.
    pub(crate) key: String,
}

/// A row of features for each image of a loader.
#[derive(Debug)]
pub(crate) struct FeatureStore {
    width: usize,
    /// The rows, in the order of the loader's samples.
    rows: Vec<f32>,
    /// Whether a sample's row is filled. The row of an unreadable image never is.
    known: Vec<bool>,
    /// The class of each sample.
    labels: Vec<u32>,
    /// The weight of each sample in the loss.
    weights: Vec<f32>,
    /// The contents of each image whose features may be written to disk.
    contents: Vec<Option<Contents>>,
    place: Option<Place>,
    /// Whether the file should be rewritten.
    is_new: bool,
}

impl FeatureStore {
    /// Loads the features of the loader's images from the file at `place`.
    pub(crate) fn open(loader: &Loader, width: usize, place: Option<Place>) -> Self {
        let count = loader.len();
        let mut store = Self {
            width,
            rows: vec![0.0; count * width],
            known: vec![false; count],
            labels: loader.samples().iter().map(|s| s.label as u32).collect(),
            weights: loader.samples().iter().map(|s| s.weight).collect(),
            contents: vec![None; count],
            place,
            is_new: false,
        };
        if store.place.is_some() {
            let file = store.file();
            for (index, sample) in loader.samples().iter().enumerate() {
                store.look_up(index, sample, &file);
            }
        }
        store
    }

    /// The features in the file; none if the file is unusable.
    fn file(&self) -> FeatureFile {
        let empty = || FeatureFile::empty(self.width);
        let Some(place) = &self.place else {
            return empty();
        };
        match FeatureFile::open(&place.path, &place.key, self.width) {
            Ok(file) => file.unwrap_or_else(empty),
            Err(problem) => {
                let path = place.path.display();
                tracing::warn!("{path}: {problem}; its features are computed again");
                empty()
            }
        }
    }

    /// Takes an image's row from the feature file. If the image's stamp is unchanged, its contents are not read;
    /// otherwise they are compared by SHA-256.
    fn look_up(&mut self, index: usize, sample: &Sample, file: &FeatureFile) {
        // The loader reports unreadable images, since it has to decode them.
        let Some(stamp) = Stamp::settled(&sample.path()) else {
            return;
        };
        let unchanged = file.contents(sample.id()).filter(|of| of.stamp == stamp);
        let contents = match unchanged {
            Some(contents) => contents.clone(),
            None => match content_checksum(&sample.path()) {
                Ok(checksum) => Contents { stamp, checksum },
                Err(_) => return,
            },
        };
        self.is_new |= unchanged.is_none();
        if let Some(row) = file.row(&contents.checksum) {
            self.set(index, row);
        }
        self.contents[index] = Some(contents);
    }

    fn set(&mut self, index: usize, row: &[f32]) {
        self.rows[index * self.width..(index + 1) * self.width].copy_from_slice(row);
        self.known[index] = true;
    }

    /// The row of a sample, if it is known.
    fn row(&self, index: usize) -> Option<&[f32]> {
        let row = self.rows.get(index * self.width..(index + 1) * self.width);
        row.filter(|_| self.known[index])
    }

    /// Computes the missing features, and writes them to the feature file, if there is one. `advance` receives the
    /// number of images of each batch. False if interrupted.
    pub(crate) fn complete(
        &mut self,
        network: &dyn Model,
        table: &Arc<ByteTable>,
        loader: &Loader,
        interrupt: &AtomicBool,
        mut advance: impl FnMut(usize) -> Result<()>,
    ) -> Result<bool> {
        let missing: Vec<usize> = (0..loader.len()).filter(|&i| !self.known[i]).collect();
        let mut places = missing.iter().copied();
        let mut interrupted = false;
        for batch in loader.batches(missing.clone()) {
            if interrupt.load(Ordering::Relaxed) {
                interrupted = true;
                break;
            }
            let batch = DeviceBatch::new(batch?, table, network.device())?;
            let features = network.features(&batch.images)?.to_vec2::<f32>()?;
            for (id, row) in batch.ids.iter().zip(&features) {
                // Unreadable images are missing from the batches.
                let found = places.find(|&place| loader.samples()[place].id() == id);
                let place = found.ok_or_else(|| {
                    Error::Shape(format!("{id} is out of order among the images"))
                })?;
                if row.len() != self.width {
                    let (found, width) = (row.len(), self.width);
                    return Err(Error::Shape(format!("{found} features, expected {width}")));
                }
                self.set(place, row);
                self.is_new = true;
            }
            advance(features.len())?;
        }
        // An image that changed while it was read may not match its checksum.
        for index in missing {
            let path = &loader.samples()[index].path();
            if self.contents[index].as_ref().map(|of| of.stamp) != Stamp::settled(path) {
                self.contents[index] = None;
            }
        }
        self.write(loader.samples());
        Ok(!interrupted)
    }

    /// Writes the rows that may be kept, and as many of the file's other rows as the limit allows. A failure gives a
    /// warning, since this run does not need the file.
    fn write(&mut self, samples: &[Sample]) {
        let Some(place) = self.place.clone().filter(|_| self.is_new) else {
            return;
        };
        let room = place.max_bytes / (self.width as u64 * 4);
        let mut file = FeatureFile::empty(self.width);
        for (index, sample) in samples.iter().enumerate() {
            if let (Some(contents), Some(row)) = (&self.contents[index], self.row(index))
                && (file.len() as u64) < room
            {
                file.push(sample.id(), contents, row);
            }
        }
        let ours: HashSet<&str> = samples.iter().map(Sample::id).collect();
        for (id, contents, row) in self.file().rows() {
            if !ours.contains(id) && (file.len() as u64) < room {
                file.push(id, contents, row);
            }
        }
        self.is_new = false;
        if file.len() == 0 {
            return;
        }
        let folder = place.path.parent().unwrap_or(&place.path);
        let made = std::fs::create_dir_all(folder).map_err(Error::io(folder));
        match made.and_then(|()| file.write(&place.path, &place.key)) {
            Ok(()) => {
                let path = place.path.display();
                tracing::info!("{path}: features of {} images are kept here", file.len());
                super::files::make_room(&place.path, place.max_bytes);
            }
            Err(error) => tracing::warn!(
                "features are computed again in every run: {}",
                mnist_data::with_causes(&error)
            ),
        }
    }

    /// Batches of these samples, in this order and without the first `skipped` batches, with features instead of images.
    pub(crate) fn batches(
        self: &Arc<Self>,
        order: Vec<usize>,
        skipped: usize,
        batch_size: usize,
        device: &Device,
    ) -> impl Iterator<Item = Result<Batch>> + use<> {
        let (store, device) = (Arc::clone(self), device.clone());
        let starts = (0..order.len()).step_by(batch_size.max(1)).enumerate();
        starts.skip(skipped).filter_map(move |(number, start)| {
            let end = order.len().min(start + batch_size);
            store.batch(number, &order[start..end], &device).transpose()
        })
    }

    /// `None` if no image of the batch could be read.
    fn batch(&self, number: usize, indices: &[usize], device: &Device) -> Result<Option<Batch>> {
        let mut features: Vec<f32> = Vec::with_capacity(indices.len() * self.width);
        let mut labels = Vec::with_capacity(indices.len());
        let mut weights = Vec::with_capacity(indices.len());
        for &index in indices {
            if let Some(row) = self.row(index) {
                features.extend(row);
                labels.push(self.labels[index]);
                weights.push(self.weights[index]);
            }
        }
        if labels.is_empty() {
            return Ok(None);
        }
        let features = Tensor::from_vec(features, (labels.len(), self.width), device)?;
        Ok(Some(Batch {
            number,
            weights,
            labels,
            mix: None,
            inputs: Inputs::Features(features),
        }))
    }
}
