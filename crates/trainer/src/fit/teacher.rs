//! The teacher of a distillation.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use mobilenet::weights::{self, WeightsMetadata};
use mobilenet::{ByteTable, Images, Model};

use crate::config::{ConfigError, DistillationConfig};
use crate::{Distillation, Result};

/// The teacher: a trained network in evaluation mode. It is not trained.
pub(super) struct Teacher {
    network: Box<dyn Model>,
    /// The teacher's own normalisation.
    table: Arc<ByteTable>,
    temperature: f64,
    weight: f64,
}

impl Teacher {
    /// Loads the teacher for a student with metadata `student`.
    ///
    /// # Errors
    ///
    /// If the file is unusable, or has other classes than the student.
    pub(super) fn open(
        config: &DistillationConfig,
        student: &WeightsMetadata,
        device: &Device,
    ) -> Result<Self> {
        let loaded = weights::load_model(&config.teacher, Default::default(), device)?;
        let (theirs, ours) = (&loaded.metadata.class_names, &student.class_names);
        let is_named = loaded.metadata.class_order.is_named();
        let some = |names: &[String]| names[..names.len().min(5)].join(", ");
        if theirs.len() != ours.len() || (is_named && theirs != ours) {
            return Err(ConfigError::Invalid {
                key: "distillation.teacher",
                found: config.teacher.display().to_string(),
                expected: format!(
                    "a network for the {} classes of the training images ({}, …), in this order; it knows {} ({}, …)",
                    ours.len(),
                    some(ours),
                    theirs.len(),
                    some(theirs)
                ),
            }
            .into());
        }
        if !is_named {
            tracing::warn!(
                "the teacher's file names no classes; assumed: they are in the order of the training images' ({}, …)",
                some(ours)
            );
        }
        let seen = |of: &WeightsMetadata| (of.image_size, of.framing);
        let (theirs, ours) = (seen(&loaded.metadata), seen(student));
        if theirs != ours {
            tracing::warn!(
                "the teacher was trained on images of {} pixels ({}) and sees {} ({})",
                theirs.0,
                theirs.1,
                ours.0,
                ours.1
            );
        }
        Ok(Self {
            table: Arc::new(loaded.metadata.normalisation.table()),
            network: loaded.network,
            temperature: config.temperature,
            weight: config.weight,
        })
    }

    /// The teacher's logits `[n, classes]` for the student's images.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub(super) fn logits(&self, images: &Images) -> Result<Tensor> {
        let images = Images::bytes(images.pixels(), Arc::clone(&self.table))?;
        Ok(self.network.infer(&images)?)
    }

    /// The student's distillation targets.
    pub(super) fn distillation<'a>(&self, logits: &'a Tensor) -> Distillation<'a> {
        Distillation {
            logits,
            temperature: self.temperature,
            weight: self.weight,
        }
    }
}
