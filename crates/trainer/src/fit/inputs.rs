//! The network's inputs in an epoch: images, or their cached features.

use std::sync::Arc;

use mnist_data::Loader;

use super::Session;
use crate::Result;
use crate::batch::{Batch, DeviceBatch};
use crate::events::Event;
use crate::features::{self, FeatureStore, Features};

impl Session<'_> {
    /// Prepares the features of all images for an epoch with a frozen backbone, if the
    /// configuration and the memory allow it; false if interrupted.
    pub(super) fn prepare_features(&mut self, frozen: bool) -> Result<bool> {
        // A teacher needs images, and augmented images have different features in each epoch.
        let changing = !(self.config.augment.is_none() && self.config.mix.is_none());
        let images = changing || self.teacher.is_some();
        if !frozen || !self.config.train.cache_features || images {
            self.features = None;
            return Ok(true);
        }
        let data = &self.config.data;
        let images = self.train.len() + self.val.len();
        if self.features.is_some() {
            return Ok(true);
        }
        if !features::fit_memory(data, self.network.as_ref(), images) {
            if self.batches == 0 {
                tracing::warn!(
                    "the features of {images} images exceed data.cache_mb ({}): they are computed again in every epoch",
                    data.cache_mb
                );
            }
            return Ok(true);
        }
        let loaders = [&self.train, &self.val];
        let (network, table) = (self.network.as_ref(), &self.table);
        let sink = &mut self.sink;
        let made = Features::make(
            data,
            network,
            table,
            loaders,
            self.interrupt,
            |done, images| sink.handle(&Event::FeaturesComputed { done, images }),
        )?;
        let Some((features, computed)) = made else {
            return Ok(false);
        };
        self.features = Some(features);
        let ready = Event::FeaturesReady { images, computed };
        self.sink.handle(&ready)?;
        self.clock.lap(|times| &mut times.forward);
        Ok(true)
    }

    /// The batches of an epoch without the first `skipped`: images, or their cached features.
    pub(super) fn batches(
        &self,
        loader: &Loader,
        known: Option<&Arc<FeatureStore>>,
        epoch: u64,
        skipped: usize,
    ) -> Box<dyn Iterator<Item = Result<Batch>>> {
        let device = self.network.device().clone();
        match known {
            Some(store) => {
                let batch_size = loader.options().batch_size;
                Box::new(store.batches(loader.order(epoch), skipped, batch_size, &device))
            }
            None => {
                let table = Arc::clone(&self.table);
                let batches = loader.epoch_from(epoch, skipped);
                let moved = move |batch| Ok(DeviceBatch::new(batch?, &table, &device)?.into());
                Box::new(batches.map(moved))
            }
        }
    }
}
