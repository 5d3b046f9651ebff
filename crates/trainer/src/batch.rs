//! Moves batches of decoded images from the host to the device.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use mnist_data::{HostBatch, Mix};
use mobilenet::{ByteTable, Images};

use crate::{Error, Mixed, Result, Targets};

/// A batch on the device: images, labels, weights and ids.
#[derive(Clone, Debug)]
pub struct DeviceBatch {
    /// The batch's number in its epoch; see [`HostBatch::number`].
    pub number: usize,
    /// The images, `[n, h, w, 3]`, on the device.
    pub images: Images,
    /// The class of each image.
    pub labels: Vec<u32>,
    /// The weight of each image in the loss.
    pub weights: Vec<f32>,
    /// The path of each image, relative to the folder of its split.
    pub ids: Vec<String>,
    /// The second label and share of each image, if the batch is mixed.
    pub mix: Option<Mix>,
}

impl DeviceBatch {
    /// Moves a batch's bytes to `device`, with their normalisation table.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the number of pixels does not match the shape, [`Error::Network`] if the batch is empty,
    /// [`Error::Tensor`] if the device fails.
    pub fn new(batch: HostBatch, table: &Arc<ByteTable>, device: &Device) -> Result<Self> {
        let shape = (batch.count, batch.height, batch.width, 3);
        let expected = batch.count * batch.height * batch.width * 3;
        if batch.pixels.len() != expected {
            return Err(Error::Shape(format!(
                "a batch of {} bytes; expected {expected} for {shape:?}",
                batch.pixels.len()
            )));
        }
        let pixels = Tensor::from_vec(batch.pixels, shape, device)?;
        Ok(Self {
            number: batch.number,
            images: Images::bytes(&pixels, Arc::clone(table))?,
            labels: batch.labels,
            weights: batch.weights,
            ids: batch.ids,
            mix: batch.mix,
        })
    }
}

/// A batch of the training loop: images or their pooled features.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The batch's number in its epoch, from 0.
    pub(crate) number: usize,
    pub(crate) inputs: Inputs,
    /// The class of each image.
    pub(crate) labels: Vec<u32>,
    /// The weight of each image in the loss.
    pub(crate) weights: Vec<f32>,
    /// The second label and share of each image, if the batch is mixed.
    pub(crate) mix: Option<Mix>,
}

impl Batch {
    /// The targets of the batch for the loss.
    pub(crate) fn targets(&self) -> Targets<'_> {
        let mix = self.mix.as_ref();
        Targets {
            mixed: mix.map(|mix| Mixed {
                labels: &mix.partners,
                weights: &mix.partner_weights,
                share: mix.lambda,
            }),
            ..Targets::of(&self.labels, &self.weights)
        }
    }

    /// The class of each image; for a mixed image, the class with the larger share.
    pub(crate) fn main_labels(&self) -> &[u32] {
        match &self.mix {
            Some(mix) if mix.lambda < 0.5 => &mix.partners,
            _ => &self.labels,
        }
    }
}

/// The input of the network for a batch.
#[derive(Debug)]
pub(crate) enum Inputs {
    /// The images.
    Images(Images),
    /// Pooled features `[n, features]`, which only the head processes.
    Features(Tensor),
}

impl From<DeviceBatch> for Batch {
    fn from(batch: DeviceBatch) -> Self {
        Self {
            number: batch.number,
            inputs: Inputs::Images(batch.images),
            labels: batch.labels,
            weights: batch.weights,
            mix: batch.mix,
        }
    }
}

#[cfg(test)]
mod tests {
    use mobilenet::weights::Normalisation;

    use super::*;

    fn batch(width: usize) -> Result<DeviceBatch> {
        let normalisation = Normalisation {
            mean: [0.0, 0.5, 1.0],
            std: [1.0, 0.5, 0.25],
        };
        let batch = HostBatch {
            number: 0,
            count: 1,
            height: 1,
            width,
            pixels: vec![255, 255, 255, 0, 0, 0],
            labels: vec![3],
            weights: vec![1.0],
            ids: vec!["3/a.png".to_owned()],
            mix: None,
        };
        DeviceBatch::new(batch, &Arc::new(normalisation.table()), &Device::Cpu)
    }

    #[test]
    fn bytes_stay_bytes_and_each_channel_has_its_own_figures() {
        let images = batch(2).unwrap().images;
        assert_eq!(images.pixels().dims(), [1, 1, 2, 3]);
        let bytes = images.pixels().flatten_all().unwrap();
        assert_eq!(bytes.to_vec1::<u8>().unwrap(), [255, 255, 255, 0, 0, 0]);
        let values = images.values().unwrap().flatten_all().unwrap();
        let expected = [1.0, 1.0, 0.0, 0.0, -1.0, -4.0];
        assert_eq!(values.to_vec1::<f32>().unwrap(), expected);
    }

    #[test]
    fn pixels_that_do_not_fill_the_shape_are_refused() {
        assert!(matches!(batch(3), Err(Error::Shape(_))));
    }
}
