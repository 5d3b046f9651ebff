//! Trained networks that answer together.

use std::sync::Arc;

use candle_core::{D, Tensor};
use mnist_data::{Loader, Orientation};
use mobilenet::weights::WeightsMetadata;
use mobilenet::{ByteTable, Images, Model};

use crate::batch::DeviceBatch;
use crate::infer::check_answers;
use crate::{Error, Result};

/// One trained network, or several for the same classes whose probabilities are averaged.
pub struct Classifier<'a> {
    members: Vec<Member<'a>>,
}

struct Member<'a> {
    network: &'a dyn Model,
    metadata: &'a WeightsMetadata,
    table: Arc<ByteTable>,
}

impl<'a> Classifier<'a> {
    /// A network by itself, and what its weights say of it.
    pub fn new(network: &'a dyn Model, metadata: &'a WeightsMetadata) -> Self {
        Self {
            members: vec![Member::new(network, metadata)],
        }
    }

    /// The same with another network beside it.
    ///
    /// # Errors
    ///
    /// [`Error::Ensemble`] when it knows other classes, or sees images of another size or fit.
    pub fn with(mut self, network: &'a dyn Model, metadata: &'a WeightsMetadata) -> Result<Self> {
        let (ours, theirs) = (self.metadata(), metadata);
        let differs = |what: String| Err(Error::Ensemble(what));
        if ours.class_order != theirs.class_order {
            return differs("one of them names its classes, and another one does not".to_owned());
        }
        if ours.class_names != theirs.class_names {
            return differs(format!(
                "their classes differ: {:?} and {:?}",
                ours.class_names, theirs.class_names
            ));
        }
        let seen = |of: &WeightsMetadata| {
            let turned = match of.orientation {
                Orientation::Ignore => "as they lie",
                Orientation::Apply => "turned upright",
            };
            format!("{} pixels, {}, {turned}", of.image_size, of.framing)
        };
        let (ours, theirs) = (seen(ours), seen(theirs));
        if ours != theirs {
            return differs(format!("their images differ: {ours}; and {theirs}"));
        }
        self.members.push(Member::new(network, metadata));
        Ok(self)
    }

    /// What the first network's weights say of themselves: what is not about
    /// its own pixels' worth (classes, size and fit of the images) holds for all.
    pub fn metadata(&self) -> &WeightsMetadata {
        self.members[0].metadata
    }

    /// Number of classes.
    pub(crate) fn classes(&self) -> usize {
        self.members[0].network.description().classes()
    }

    /// Each batch of a loader with its logits `[n, classes]`. Of several networks, or of several
    /// views of the images, they are the logarithms of the mean probabilities. All are finite:
    /// others are [`Error::NonFiniteAnswer`].
    pub(crate) fn answers<'s>(
        &'s self,
        loader: &Loader,
    ) -> impl Iterator<Item = Result<(Tensor, DeviceBatch)>> + use<'s, 'a> {
        let views = loader.options().tta.views().len();
        let first = &self.members[0];
        let device = first.network.device();
        let moved = |batch: mnist_data::Result<_>| DeviceBatch::new(batch?, &first.table, device);
        let mut batches = loader.epoch(0).map(moved);
        std::iter::from_fn(move || {
            let first = batches.next()?;
            let answer = || {
                let first = first?;
                let mut logits = self.logits(&first)?;
                for batch in batches.by_ref().take(views - 1) {
                    logits.extend(self.logits(&batch?)?);
                }
                let logits = mean(logits)?;
                check_answers(&logits.to_vec2()?, |row| first.ids[row].clone())?;
                Ok((logits, first))
            };
            Some(answer())
        })
    }

    /// The logits of each network, which sees the same bytes through its own table.
    fn logits(&self, batch: &DeviceBatch) -> Result<Vec<Tensor>> {
        let answers = self.members.iter().map(|member| {
            let pixels = batch.images.pixels().to_device(member.network.device())?;
            let images = Images::bytes(&pixels, Arc::clone(&member.table))?;
            Ok(member.network.infer(&images)?)
        });
        answers.collect()
    }
}

impl<'a> Member<'a> {
    fn new(network: &'a dyn Model, metadata: &'a WeightsMetadata) -> Self {
        Self {
            table: Arc::new(metadata.normalisation.table()),
            network,
            metadata,
        }
    }
}

/// Logarithms of the mean of the probabilities that several logits stand for; a single one is
/// left as it is.
pub(crate) fn mean(mut logits: Vec<Tensor>) -> Result<Tensor> {
    if logits.len() == 1 {
        return Ok(logits.remove(0));
    }
    let count = logits.len() as f64;
    let logs = logits
        .iter()
        .map(|logits| candle_nn::ops::log_softmax(logits, D::Minus1))
        .collect::<candle_core::Result<Vec<_>>>()?;
    let logs = Tensor::stack(&logs, 0)?;
    Ok((logs.log_sum_exp(0)? - count.ln())?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_mean_is_that_of_the_probabilities() {
        let a = Tensor::new(&[[0f32, 0.0], [1000.0, 0.0]], &Device::Cpu).unwrap();
        let b = Tensor::new(&[[3f32.ln(), 0.0], [1000.0, 0.0]], &Device::Cpu).unwrap();
        let mean = mean(vec![a, b]).unwrap().exp().unwrap();
        let rows = mean.to_vec2::<f32>().unwrap();
        for (ours, exact) in rows.iter().flatten().zip([0.625, 0.375, 1.0, 0.0]) {
            assert!((ours - exact).abs() < 1e-6, "{rows:?}");
        }
    }
}
