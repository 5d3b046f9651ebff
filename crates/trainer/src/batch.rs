//! From decoded bytes on the host to normalised images on the device.

use candle_core::{Device, Tensor};
use mnist_data::HostBatch;
use mobilenet::weights::Normalisation;

use crate::{Error, Result};

/// Images ready for the network, with what belongs to them.
#[derive(Clone, Debug)]
pub struct DeviceBatch {
    /// `[n, h, w, 3]` f32, normalised, on the device.
    pub images: Tensor,
    /// Class of each image.
    pub labels: Vec<u32>,
    /// Weight of each image in the loss.
    pub weights: Vec<f32>,
    /// Path of each image, relative to the root of its split.
    pub ids: Vec<String>,
}

/// `(byte / 255 - mean) / std` for each channel, as a table of every byte.
#[derive(Clone, Debug)]
pub struct Normaliser {
    table: [[f32; 256]; 3],
}

impl Normaliser {
    /// The table for a mean and deviation per channel.
    pub fn new(normalisation: &Normalisation) -> Self {
        let mut table = [[0.0; 256]; 3];
        for (channel, row) in table.iter_mut().enumerate() {
            let (mean, std) = (normalisation.mean[channel], normalisation.std[channel]);
            for (byte, value) in row.iter_mut().enumerate() {
                *value = (byte as f32 / 255.0 - mean) / std;
            }
        }
        Self { table }
    }

    /// Normalises a batch and moves it to `device`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when the pixels do not fit the batch's own sizes.
    pub fn apply(&self, batch: HostBatch, device: &Device) -> Result<DeviceBatch> {
        let shape = (batch.count, batch.height, batch.width, 3);
        let expected = batch.count * batch.height * batch.width * 3;
        if batch.pixels.len() != expected {
            return Err(Error::Shape(format!(
                "a batch of {} bytes; expected {expected} for {shape:?}",
                batch.pixels.len()
            )));
        }
        let [red, green, blue] = &self.table;
        let mut values = Vec::with_capacity(expected);
        for pixel in batch.pixels.as_chunks::<3>().0 {
            let [r, g, b] = pixel.map(usize::from);
            values.extend_from_slice(&[red[r], green[g], blue[b]]);
        }
        Ok(DeviceBatch {
            images: Tensor::from_vec(values, shape, device)?,
            labels: batch.labels,
            weights: batch.weights,
            ids: batch.ids,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_normalised_each_by_its_own_figures() {
        let normaliser = Normaliser::new(&Normalisation {
            mean: [0.0, 0.5, 1.0],
            std: [1.0, 0.5, 0.25],
        });
        let batch = HostBatch {
            count: 1,
            height: 1,
            width: 2,
            pixels: vec![255, 255, 255, 0, 0, 0],
            labels: vec![3],
            weights: vec![1.0],
            ids: vec!["3/a.png".to_owned()],
        };
        let batch = normaliser.apply(batch, &Device::Cpu).unwrap();
        assert_eq!(batch.images.dims(), [1, 1, 2, 3]);
        let values = batch
            .images
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert_eq!(values, [1.0, 1.0, 0.0, 0.0, -1.0, -4.0]);
    }
}
