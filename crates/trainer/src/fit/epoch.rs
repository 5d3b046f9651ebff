//! One pass over the training images, and one over the validation images.

use std::sync::atomic::Ordering;

use super::diverged::{NonFinite, are_finite};
use super::{Progress, Session};
use crate::batch::{Batch, Inputs};
use crate::config::OnDivergence;
use crate::events::{EpochReport, Event, ValidationScores};
use crate::infer::{predicted_classes, score};
use crate::measure::Logits;
use crate::state::{Border, Place};
use crate::timing::Stopwatch;
use crate::{Error, Result};

impl Session<'_> {
    /// Trains and validates for one epoch, or for the rest of an epoch that was interrupted. `None` if interrupted.
    pub(super) fn epoch(&mut self, epoch: usize, frozen: bool) -> Result<Option<EpochReport>> {
        let batches = self.train.batches_per_epoch();
        if self.place.batch == 0 {
            self.clock = Stopwatch::start();
            self.progress = Progress::new(self.metadata.model.classes(), &self.stepper);
        } else {
            self.clock = Stopwatch::after(self.clock.times());
        }
        self.sink.handle(&Event::EpochStarted {
            epoch,
            batches,
            done: self.place.batch,
        })?;
        self.clock.lap(|times| &mut times.other);
        if !self.prepare_features(frozen)? || !self.train_epoch(epoch, frozen)? {
            return Ok(None);
        }
        self.check_weights(epoch)?;
        let training_seconds = self.clock.times().total();
        self.sink.handle(&Event::ValidationStarted {
            epoch,
            images: self.val.len(),
        })?;
        let parameters = self.network.parameters();
        let scores = self.tracks.each(parameters, || self.validate(frozen));
        let scores: Option<Vec<_>> = self.answered(epoch, scores)?.into_iter().collect();
        let (scores, temperatures): (Option<Vec<_>>, _) = match scores {
            Some(validated) => {
                let (scores, temperatures) = validated.into_iter().unzip();
                (Some(scores), temperatures)
            }
            None => (None, Vec::new()),
        };
        self.progress.temperatures = temperatures;
        let trained = &self.progress.confusion;
        let (train_loss, train_accuracy) = (trained.mean_loss(), trained.accuracy());
        let images_per_second = trained.total() as f64 / training_seconds;
        let own = scores.as_ref().and_then(|scores| scores.first().copied());
        if let Some(own) = own.filter(|_| !frozen) {
            self.check_statistics(epoch, train_accuracy, own.accuracy)?;
        }
        self.clock.lap(|times| &mut times.validation);
        let Some(own) = own.filter(|_| !self.is_interrupted()) else {
            return Ok(None);
        };
        let times = self.clock.times();
        let report = EpochReport {
            epoch,
            train_loss,
            train_accuracy,
            val_loss: own.loss,
            val_accuracy: own.accuracy,
            val_macro_f1: own.macro_f1,
            learning_rate: self.progress.learning_rate,
            images_per_second,
            seconds: times.total(),
            times,
            ema: scores.and_then(|scores| scores.get(1).copied()),
            loss_scale: self.stepper.loss_scale(),
            unreadable: self.unreadable(),
        };
        // Until the next epoch is the current one, the schedule is ahead of the place.
        self.torn = true;
        self.stepper.epoch_end(self.config.train.monitor.of(&own));
        self.sink.handle(&Event::EpochFinished(report.clone()))?;
        self.report_skipped(report.unreadable.total())?;
        Ok(Some(report))
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// If a step makes weights NaN, the next batch's loss shows it. The epoch's last step has no next batch, so the
    /// weights are checked here before they are validated and saved.
    pub(super) fn check_weights(&self, epoch: usize) -> Result<()> {
        let all_are =
            |values: &[f32], statistics: &[f32]| are_finite(values) && are_finite(statistics);
        if !self.network.parameters().read(all_are)? {
            self.write_diverged(None)?;
            return Err(Error::NonFiniteWeights { epoch, best: None });
        }
        Ok(())
    }

    /// The result of a validation. A logit that is not finite becomes an error that names the epoch.
    fn answered<T>(&self, epoch: usize, outcome: Result<T>) -> Result<T> {
        match outcome {
            Err(Error::Classifier(classifier::Error::NonFiniteAnswer { logit, .. })) => {
                self.write_diverged(None)?;
                Err(Error::NonFiniteValidation {
                    epoch,
                    logit,
                    best: self.kept(),
                })
            }
            other => other,
        }
    }

    /// Validates the network in its current state. Returns its scores and the temperature that calibrates it; `None` if
    /// interrupted.
    fn validate(&self, frozen: bool) -> Result<Option<(ValidationScores, Option<f64>)>> {
        let known = self.features.as_ref().map(|features| &features.val);
        let batches = self
            .batches(&self.val, known, 0, 0)
            .take_while(|_| !self.is_interrupted());
        let mut logits = Logits::new(self.metadata.model.classes(), self.val.len());
        let confusion = score(self.network.as_ref(), batches, frozen, Some(&mut logits))?;
        let scores = ValidationScores {
            loss: confusion.mean_loss(),
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_scores().f1,
        };
        if self.is_interrupted() {
            return Ok(None);
        }
        Ok(Some((scores, logits.temperature())))
    }

    /// Trains on the batches of an epoch that are left. False if interrupted.
    fn train_epoch(&mut self, epoch: usize, frozen: bool) -> Result<bool> {
        if self.fresh_statistics && self.place.batch == 0 {
            self.network.parameters().restart_statistics();
        }
        let known = self.features.as_ref().map(|features| &features.train);
        let mut batches = self.batches(&self.train, known, epoch as u64, self.place.batch);
        loop {
            if self.stepper.is_between_steps() {
                self.save_if_due(Border::Step)?;
                if self.is_interrupted() {
                    return Ok(false);
                }
            }
            let Some(batch) = batches.next() else {
                break;
            };
            let batch = batch?;
            self.clock.lap(|times| &mut times.data);
            let loss = match self.teaches(&batch)? {
                true => {
                    self.progress.learning_rate = self.stepper.learning_rate();
                    Some(self.train_batch(&batch, frozen)?)
                }
                false => None,
            };
            self.place.batch = batch.number + 1;
            if let Some(loss) = loss {
                self.sink.handle(&Event::BatchDone {
                    epoch,
                    batch: self.place.batch,
                    images: batch.labels.len(),
                    loss,
                    images_done: self.progress.confusion.total(),
                    running_loss: self.progress.confusion.mean_loss(),
                    running_accuracy: self.progress.confusion.accuracy(),
                    learning_rate: self.progress.learning_rate,
                })?;
                self.clock.lap(|times| &mut times.other);
            }
        }
        drop(batches);
        // The time to end the loader's threads and write its disk cache counts as data time.
        self.clock.lap(|times| &mut times.data);
        self.torn = true;
        let stepped = self.stepper.flush(self.network.parameters())?;
        self.count_step(stepped)?;
        self.place.batch = self.train.batches_per_epoch();
        self.torn = false;
        self.clock.lap(|times| &mut times.optimizer);
        if self.progress.confusion.total() == 0 {
            return Err(match self.last_divergence {
                Some(cause) if self.left_out_in_a_row > 0 => self.divergence(cause),
                _ => self.no_batches(),
            });
        }
        Ok(true)
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

    /// Trains on one batch; returns its mean loss. A batch whose loss or gradient is not finite is an error, or left out
    /// if so configured.
    pub(super) fn train_batch(&mut self, batch: &Batch, frozen: bool) -> Result<f64> {
        // Until the batch is done, the statistics and the step may not belong together.
        self.torn = true;
        let skips = self.config.train.on_divergence == OnDivergence::Skip;
        let parameters = self.network.parameters();
        let statistics = skips
            .then(|| parameters.statistics_snapshot())
            .transpose()?;
        let number = self.batches;
        let pass = match &batch.inputs {
            Inputs::Images(images) => self.network.forward_step(images, number, frozen)?,
            Inputs::Features(features) => self.network.forward_head_step(features, number)?,
        };
        self.batches += 1;
        let taught = match (&self.teacher, &batch.inputs) {
            (Some(teacher), Inputs::Images(images)) => Some((teacher, teacher.logits(images)?)),
            _ => None,
        };
        let distillation = taught
            .as_ref()
            .map(|(teacher, logits)| teacher.distillation(logits));
        let loss = (self.loss).taught(pass.logits(), &batch.targets(), distillation)?;
        self.clock.lap(|times| &mut times.forward);
        if !loss.mean.is_finite() {
            return self.diverged(batch.number, NonFinite::Loss(loss.mean), statistics);
        }
        let predicted = match predicted_classes(pass.logits()) {
            Err(Error::Classifier(classifier::Error::NonFiniteAnswer { logit, .. })) => {
                return self.diverged(batch.number, NonFinite::Loss(logit.into()), statistics);
            }
            predicted => predicted?,
        };
        self.clock.lap(|times| &mut times.other);
        loss.backward_scaled(pass, self.stepper.loss_scale().unwrap_or(1.0))?;
        self.last_gradient = Some(Place {
            epoch: self.place.epoch,
            batch: batch.number + 1,
        });
        self.clock.lap(|times| &mut times.backward);
        // Otherwise the weights or the next loss show it. A scaled loss may overflow: the stepper handles it.
        let checks = skips || self.stepper.hides_infinity();
        let cause = NonFinite::Gradient { loss: loss.mean };
        if checks && self.stepper.loss_scale().is_none() && !self.gradient_is_finite()? {
            return self.diverged(batch.number, cause, statistics);
        }
        let confusion = &mut self.progress.confusion;
        confusion.add(batch.main_labels(), &predicted)?;
        confusion.add_loss(loss.mean, loss.weight);
        self.left_out_in_a_row = 0;
        let stepped = match self.stepper.take(self.network.parameters(), loss.weight) {
            // The smallest scale of the loss has not helped.
            Err(Error::Optim(optim::Error::NotFinite { .. })) => {
                self.place.batch = batch.number + 1;
                return Err(self.divergence(cause));
            }
            stepped => stepped?,
        };
        self.count_step(stepped)?;
        self.clock.lap(|times| &mut times.optimizer);
        self.torn = false;
        Ok(loss.mean)
    }

    /// Counts an optimizer step, if one was taken, and adds its weights to the averages.
    fn count_step(&mut self, stepped: bool) -> Result<()> {
        if stepped {
            self.steps += 1;
            self.tracks.update(self.network.parameters())?;
            if let Some(saving) = &mut self.saving {
                saving.stepped();
            }
        }
        Ok(())
    }
}
