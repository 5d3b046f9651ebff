//! One pass over the training images, and one over the validation images.

use std::sync::atomic::Ordering;

use super::Session;
use crate::batch::{Batch, Inputs};
use crate::events::{EpochReport, Event, ValidationScores};
use crate::infer::{predicted_classes, score};
use crate::timing::Stopwatch;
use crate::{ConfusionMatrix, Error, Result};

/// The result of an epoch's training, before validation.
struct Trained {
    confusion: ConfusionMatrix,
    learning_rate: f64,
    seconds: f64,
}

impl Session<'_> {
    /// Trains and validates for one epoch. `None` if interrupted.
    pub(super) fn epoch(&mut self, epoch: usize, frozen: bool) -> Result<Option<EpochReport>> {
        self.clock = Stopwatch::start();
        let batches = self.train.batches_per_epoch();
        self.sink.handle(&Event::EpochStarted { epoch, batches })?;
        self.clock.lap(|times| &mut times.other);
        if !self.prepare_features(frozen)? {
            return Ok(None);
        }
        let Some(trained) = self.train_epoch(epoch, frozen)? else {
            return Ok(None);
        };
        self.check_weights(epoch)?;
        let own = self.answered(epoch, self.validate(frozen))?;
        let ema = match &self.average {
            Some(average) if own.is_some() => {
                let parameters = self.network.parameters();
                self.answered(epoch, average.instead(parameters, || self.validate(frozen)))?
            }
            _ => None,
        };
        if let Some(own) = own.filter(|_| !frozen) {
            self.check_statistics(epoch, trained.confusion.accuracy(), own.accuracy)?;
        }
        self.clock.lap(|times| &mut times.validation);
        let Some(own) = own.filter(|_| !self.interrupt.load(Ordering::Relaxed)) else {
            return Ok(None);
        };
        let times = self.clock.times();
        let report = EpochReport {
            epoch,
            train_loss: trained.confusion.mean_loss(),
            train_accuracy: trained.confusion.accuracy(),
            val_loss: own.loss,
            val_accuracy: own.accuracy,
            val_macro_f1: own.macro_f1,
            learning_rate: trained.learning_rate,
            images_per_second: trained.confusion.total() as f64 / trained.seconds,
            seconds: times.total(),
            times,
            ema,
            loss_scale: self.stepper.loss_scale(),
            unreadable: self.unreadable(),
        };
        self.stepper.epoch_end(self.config.train.monitor.of(&own));
        self.sink.handle(&Event::EpochFinished(report.clone()))?;
        self.report_skipped(report.unreadable.total())?;
        Ok(Some(report))
    }

    /// If a step makes weights NaN, the next batch's loss shows it. The epoch's last step has no next batch, so the
    /// weights are checked here before they are validated and saved.
    fn check_weights(&self, epoch: usize) -> Result<()> {
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let are_finite = self
            .network
            .parameters()
            .read(|values, statistics| finite(values) && finite(statistics))?;
        match are_finite {
            true => Ok(()),
            false => Err(Error::NonFiniteWeights { epoch, best: None }),
        }
    }

    /// The result of a validation. A logit that is not finite becomes an error that names the epoch.
    fn answered<T>(&self, epoch: usize, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| match error {
            Error::Classifier(classifier::Error::NonFiniteAnswer { logit, .. }) => {
                Error::NonFiniteValidation {
                    epoch,
                    logit,
                    best: self.kept(),
                }
            }
            other => other,
        })
    }

    /// Validates the network in its current state; `None` if interrupted.
    fn validate(&self, frozen: bool) -> Result<Option<ValidationScores>> {
        let interrupt = self.interrupt;
        let known = self.features.as_ref().map(|features| &features.val);
        let batches = self
            .batches(&self.val, known, 0, 0)
            .take_while(|_| !interrupt.load(Ordering::Relaxed));
        let confusion = score(self.network.as_ref(), batches, frozen)?;
        let scores = ValidationScores {
            loss: confusion.mean_loss(),
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_scores().f1,
        };
        Ok((!interrupt.load(Ordering::Relaxed)).then_some(scores))
    }

    fn train_epoch(&mut self, epoch: usize, frozen: bool) -> Result<Option<Trained>> {
        let mut confusion = ConfusionMatrix::new(self.metadata.model.classes());
        let mut learning_rate = self.stepper.learning_rate();
        if self.fresh_statistics {
            self.network.parameters().restart_statistics();
        }
        let known = self.features.as_ref().map(|features| &features.train);
        let batches = self.batches(&self.train, known, epoch as u64, 0);
        for (index, batch) in batches.enumerate() {
            if self.interrupt.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let batch = batch?;
            self.clock.lap(|times| &mut times.data);
            let images = batch.labels.len();
            if !self.teaches(&batch)? {
                continue;
            }
            learning_rate = self.stepper.learning_rate();
            let loss = self.train_batch(epoch, index + 1, &batch, frozen, &mut confusion)?;
            self.sink.handle(&Event::BatchDone {
                epoch,
                batch: index + 1,
                images,
                loss,
            })?;
            self.clock.lap(|times| &mut times.other);
        }
        // The time to end the loader's threads and write its disk cache counts as data time.
        self.clock.lap(|times| &mut times.data);
        let stepped = self.stepper.flush(self.network.parameters())?;
        self.average_in(stepped)?;
        self.clock.lap(|times| &mut times.optimizer);
        if confusion.total() == 0 {
            return Err(self.no_batches());
        }
        Ok(Some(Trained {
            confusion,
            learning_rate,
            seconds: self.clock.times().total(),
        }))
    }

    /// Whether a batch can be trained on.
    pub(super) fn teaches(&self, batch: &Batch) -> Result<bool> {
        // A 1x1 map of a single image has no variance for batch normalisation. If all images have weight 0, there is no
        // mean loss.
        Ok(batch.labels.len() > 1 && self.loss.weight(&batch.targets())? > 0.0)
    }

    pub(super) fn no_batches(&self) -> Error {
        Error::NoImages(format!(
            "{}: too few training images are readable to form a batch; the warnings name the others",
            self.train.options().bad_images.split
        ))
    }

    /// Trains on one batch; returns its mean loss.
    pub(super) fn train_batch(
        &mut self,
        epoch: usize,
        index: usize,
        batch: &Batch,
        frozen: bool,
        confusion: &mut ConfusionMatrix,
    ) -> Result<f64> {
        let (network, number) = (&mut self.network, self.batches);
        let logits = match &batch.inputs {
            Inputs::Images(images) => network.forward_train(images, number, frozen)?,
            Inputs::Features(features) => network.forward_train_head(features, number)?,
        };
        self.batches += 1;
        let taught = match (&self.teacher, &batch.inputs) {
            (Some(teacher), Inputs::Images(images)) => Some((teacher, teacher.logits(images)?)),
            _ => None,
        };
        let distillation = taught
            .as_ref()
            .map(|(teacher, logits)| teacher.distillation(logits));
        let loss = self.loss.taught(&logits, &batch.targets(), distillation)?;
        self.clock.lap(|times| &mut times.forward);
        if !loss.mean.is_finite() {
            return Err(Error::NonFiniteLoss {
                epoch,
                batch: index,
                loss: loss.mean,
                best: None,
            });
        }
        confusion.add(batch.main_labels(), &predicted_classes(&logits)?)?;
        confusion.add_loss(loss.mean, loss.weight);
        self.clock.lap(|times| &mut times.other);
        loss.backward_scaled(self.stepper.loss_scale().unwrap_or(1.0))?;
        self.clock.lap(|times| &mut times.backward);
        let stepped = self.stepper.take(self.network.parameters(), loss.weight)?;
        self.average_in(stepped)?;
        self.clock.lap(|times| &mut times.optimizer);
        Ok(loss.mean)
    }

    fn average_in(&mut self, stepped: bool) -> Result<()> {
        match &mut self.average {
            Some(average) if stepped => average.update(self.network.parameters()),
            _ => Ok(()),
        }
    }
}
