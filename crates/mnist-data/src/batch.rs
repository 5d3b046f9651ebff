//! Batches, and how to build them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use framing::{Framing, ImageSize};

use crate::augment::{Augment, Draw, Scratch};
use crate::decode::Image;
use crate::error::{Error, Result};
use crate::loader::LoaderOptions;
use crate::mix::{Mix, MixConfig};
use crate::resize::Scaler;
use crate::store::Store;
use crate::views::View;

/// A batch of images and labels in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    /// The batch's number in its epoch, from 0. Numbers are missing where every image of a batch was left out. The
    /// views of the same images have the same number.
    pub number: usize,
    /// The number of images `n`, at least 1.
    pub count: usize,
    /// The height `h` of the images in pixels.
    pub height: usize,
    /// The width `w` of the images in pixels.
    pub width: usize,
    /// The pixels, `[n, h, w, 3]`: red, green, blue.
    pub pixels: Vec<u8>,
    /// The class index of each image, `[n]`.
    pub labels: Vec<u32>,
    /// The sample weight of each image, `[n]`.
    pub weights: Vec<f32>,
    /// The sample id of each image, `[n]`.
    pub ids: Vec<String>,
    /// The second label and share of each image after MixUp or CutMix; `None` if the batch is not mixed.
    pub mix: Option<Mix>,
}

/// Builds the batches of a loader. Shared by all workers.
pub(crate) struct BatchMaker {
    pub(crate) store: Store,
    image_size: ImageSize,
    seed: u64,
    /// The augmentations; `None` if all are off.
    augment: Option<Augment>,
    mix: MixConfig,
    views: &'static [View],
}

/// Buffers that a worker reuses from batch to batch.
#[derive(Default)]
pub(crate) struct Tools {
    scaler: Scaler,
    scratch: Scratch,
}

impl BatchMaker {
    pub(crate) fn new(store: Store, options: &LoaderOptions) -> Result<Self> {
        options.mix.validate()?;
        let augment = Augment::new(&options.augment)?;
        Ok(Self {
            store,
            image_size: options.image_size,
            seed: options.seed(),
            augment: (!options.augment.is_none()).then_some(augment),
            mix: options.mix.clone(),
            views: options.tta.views(),
        })
    }

    /// The number of views, at least 1: each makes a batch of the same samples.
    pub(crate) fn views(&self) -> usize {
        self.views.len()
    }

    /// Makes batch `number` of these samples for each view. `epoch` is the number of the epoch; `None` switches
    /// augmentation and mixing off. `stop` is set when the batches are no longer needed.
    pub(crate) fn make(
        &self,
        indices: &[usize],
        number: usize,
        epoch: Option<u64>,
        tools: &mut Tools,
        stop: &AtomicBool,
    ) -> Result<Vec<HostBatch>> {
        let empty = |_| self.empty(number, indices.len());
        let mut batches: Vec<HostBatch> = self.views.iter().map(empty).collect();
        for &index in indices {
            // A stopped epoch discards its unfinished batches.
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let Tools { scaler, scratch } = tools;
            let show = |image: &Image| {
                let augmented = match (&self.augment, epoch) {
                    (Some(augment), Some(epoch)) => {
                        let draw = self.draw(epoch, index as u64);
                        Some(augment.apply_with(image, self.image_size, draw, scratch)?)
                    }
                    // Random crops need the larger stored image; this epoch has no random crops.
                    _ if [image.height(), image.width()] != self.image_size.sides() => {
                        Some(image.fitted(self.image_size, Framing::default())?)
                    }
                    _ => None,
                };
                let image = augmented.as_ref().unwrap_or(image);
                for (view, batch) in self.views.iter().zip(&mut batches) {
                    match view {
                        View::Identity => image.append_rgb(&mut batch.pixels),
                        view => view.of(image).append_rgb(&mut batch.pixels),
                    }
                }
                Ok(())
            };
            let added = self.caught(index, || self.store.show(index, scaler, show))?;
            if added {
                let sample = &self.store.samples[index];
                for batch in &mut batches {
                    batch.count += 1;
                    batch.labels.push(sample.label as u32);
                    batch.weights.push(sample.weight);
                    batch.ids.push(sample.id().to_owned());
                }
            }
        }
        if let Some(epoch) = epoch {
            for batch in &mut batches {
                self.mix.apply(batch, self.draw(epoch, number as u64))?;
            }
        }
        Ok(batches)
    }

    /// Runs the work on one sample. A panic becomes an error that names the sample.
    fn caught<T>(&self, index: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
        // After a panic the epoch ends, so no half-changed buffer is used.
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let sample = self.store.samples.get(index);
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Error::Panic {
                image: sample.map_or_else(
                    || format!("image {index}"),
                    |sample| sample.path().display().to_string(),
                ),
                problem: text.unwrap_or_else(|| "a panic".to_owned()),
            })
        })
    }

    fn draw(&self, epoch: u64, index: u64) -> Draw {
        Draw {
            seed: self.seed,
            epoch,
            index,
        }
    }

    fn empty(&self, number: usize, count: usize) -> HostBatch {
        let [height, width] = self.image_size.sides().map(|side| side as usize);
        HostBatch {
            number,
            count: 0,
            height,
            width,
            pixels: Vec::with_capacity(count * height * width * 3),
            labels: Vec::with_capacity(count),
            weights: Vec::with_capacity(count),
            ids: Vec::with_capacity(count),
            mix: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[test]
    fn a_panic_names_the_image() {
        let path = "cats/tom.png";
        let samples = vec![Sample::new(path.to_owned(), path.into(), 0)];
        let options = LoaderOptions::default();
        let maker = BatchMaker::new(Store::new(samples.into(), &options), &options).unwrap();
        let failed = maker.caught(0, || -> Result<()> { panic!("pixel {} is missing", 7) });
        let Err(Error::Panic { image, problem }) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!(
            (image.as_str(), problem.as_str()),
            (path, "pixel 7 is missing")
        );
        // A whole batch ends in the same way.
        let stop = AtomicBool::new(false);
        let made = maker.make(&[1], 0, None, &mut Tools::default(), &stop);
        assert!(matches!(made, Err(Error::Panic { .. })), "{made:?}");
    }
}
