//! The training loop.

mod shown;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mnist_data::Loader;
use mobilenet::weights::WeightsMetadata;
use mobilenet::{ByteTable, Model, Snapshot};
use optim::{LrSchedule, Optimizer, ParameterGroup, clip_gradient_norm};

use crate::batch::{Batch, Shown};
use crate::checkpoint::{Best, Checkpoints, EarlyStopping};
use crate::config::{Monitor, RunConfig};
use crate::device::{device_name, open_device};
use crate::events::{EpochReport, Event, EventSink};
use crate::features::Features;
use crate::infer::{predicted_classes, score};
use crate::model::start;
use crate::timing::Stopwatch;
use crate::{CrossEntropy, Error, Result, RunDir, Splits, Tally};

const BACKBONE: &str = "backbone";
const HEAD: &str = "head";

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every epoch was trained.
    Completed,
    /// Nothing was gained for `patience` epochs.
    StoppedEarly,
    /// The interrupt flag was set.
    Interrupted,
}

/// What a run leaves behind.
pub struct Outcome {
    /// The network with the best weights (the last ones, if no epoch was completed).
    pub network: Box<dyn Model>,
    /// What a weights file of it says.
    pub metadata: WeightsMetadata,
    /// The best epoch, if one was completed.
    pub best: Option<Best>,
    /// Every completed epoch.
    pub epochs: Vec<EpochReport>,
    /// How it ended.
    pub ending: Ending,
}

/// Trains as the configuration says, in a folder of its own.
///
/// Only the head learns for the first `freeze_epochs`. Each epoch is trained,
/// validated and, where the policy says so, written; the best weights are in
/// place at the end. Setting `interrupt` ends the run before its next batch,
/// with the best weights so far on disk.
///
/// # Errors
///
/// Anything wrong with the configuration or the data is an error before the
/// first batch. A loss that is not finite is an error that leaves the best
/// weights so far on disk.
pub fn fit(
    config: &RunConfig,
    splits: &Splits,
    run: &RunDir,
    sink: &mut dyn EventSink,
    interrupt: &AtomicBool,
) -> Result<Outcome> {
    config.validate()?;
    Session::new(config, splits, run, sink, interrupt)?.run()
}

/// Everything that lives as long as a run.
struct Session<'a> {
    config: &'a RunConfig,
    sink: &'a mut dyn EventSink,
    interrupt: &'a AtomicBool,
    network: Box<dyn Model>,
    metadata: WeightsMetadata,
    optimizer: Optimizer,
    schedule: LrSchedule,
    loss: CrossEntropy,
    table: Arc<ByteTable>,
    train: Loader,
    val: Loader,
    /// While the backbone is frozen, where they are kept.
    features: Option<Features>,
    checkpoints: Checkpoints,
    /// Where the epoch's time goes.
    clock: Stopwatch,
    /// The best weights in memory, for the end of the run.
    best: Option<Snapshot>,
    /// Optimizer steps so far; also the seed of each step's dropout.
    step: u64,
    skipped: usize,
}

/// The training half of an epoch.
struct Trained {
    tally: Tally,
    learning_rate: f64,
    seconds: f64,
}

impl<'a> Session<'a> {
    fn new(
        config: &'a RunConfig,
        splits: &Splits,
        run: &RunDir,
        sink: &'a mut dyn EventSink,
        interrupt: &'a AtomicBool,
    ) -> Result<Self> {
        let class_names = splits.class_names();
        let train = splits.train_loader(config)?;
        let loss = splits.loss(config, train.samples())?;
        let val = splits.val_loader(config)?;
        let schedule = LrSchedule::new(
            &config.schedule,
            config.warmup.as_ref(),
            config.train.learning_rate,
            config.train.epochs,
            train.batches_per_epoch(),
        )?;
        let device = open_device(config.train.device)?;
        let (mut network, loaded) = start(config, class_names.len(), &device)?;
        let model = network.description();
        network.set_precision(config.train.precision)?;
        run.write_config(&config.resolved(&model))?;
        sink.handle(&Event::RunStarted {
            run_dir: run.path().to_owned(),
            model: model.name().to_string(),
            classes: class_names.clone(),
            parameters: network.parameters().len(),
            train_images: train.len(),
            val_images: val.len(),
            epochs: config.train.epochs,
            device: device_name(&device).to_owned(),
            threads: config.train.threads(),
        })?;
        if let Some(report) = loaded {
            sink.handle(&Event::PretrainedLoaded(report))?;
        }
        let metadata = WeightsMetadata {
            model,
            class_names,
            image_size: config.data.image_size,
            normalisation: config.data.normalisation,
            epoch: None,
            score: None,
        };
        let parameters = network.parameters();
        let groups = vec![
            ParameterGroup::new(BACKBONE, parameters.backbone()),
            ParameterGroup::new(HEAD, parameters.head()),
        ];
        Ok(Self {
            optimizer: Optimizer::new(&config.optimizer, parameters.len(), groups)?,
            table: Arc::new(metadata.normalisation.table()),
            checkpoints: Checkpoints::new(
                run.path(),
                config.train.checkpoints,
                config.train.monitor,
            ),
            config,
            sink,
            interrupt,
            network,
            metadata,
            schedule,
            loss,
            train,
            val,
            features: None,
            clock: Stopwatch::start(),
            best: None,
            step: 0,
            skipped: 0,
        })
    }

    fn run(mut self) -> Result<Outcome> {
        let mut stopping = EarlyStopping::new(self.config.train.patience);
        let mut epochs = Vec::new();
        let mut ending = Ending::Completed;
        for epoch in 1..=self.config.train.epochs {
            let frozen = self.freeze(epoch)?;
            let Some(report) = self.epoch(epoch, frozen)? else {
                ending = Ending::Interrupted;
                self.sink.handle(&Event::Interrupted { epoch })?;
                break;
            };
            let improved = self.checkpoint(&report)?;
            epochs.push(report);
            // Where nothing ever thaws, the head is all that can gain.
            let waiting = frozen && self.network.trains_backbone();
            if stopping.stops(improved, waiting) {
                ending = Ending::StoppedEarly;
                let best_epoch = self.checkpoints.best().map_or(epoch, |best| best.epoch);
                self.sink
                    .handle(&Event::StoppedEarly { epoch, best_epoch })?;
                break;
            }
        }
        let best = self.checkpoints.best().cloned();
        if let (Some(best), Some(snapshot)) = (&best, &self.best) {
            self.network.parameters().restore(snapshot)?;
            self.metadata.epoch = Some(best.epoch);
            self.metadata.score = Some(best.score);
        }
        self.sink.handle(&Event::Finished {
            best_epoch: best.as_ref().map(|best| best.epoch),
            weights: best.as_ref().map(|best| best.weights.clone()),
        })?;
        Ok(Outcome {
            network: self.network,
            metadata: self.metadata,
            best,
            epochs,
            ending,
        })
    }

    /// Freezes or thaws the backbone for an epoch; whether it is frozen.
    fn freeze(&mut self, epoch: usize) -> Result<bool> {
        let freeze_epochs = self.config.train.freeze_epochs;
        let frozen = epoch <= freeze_epochs || !self.network.trains_backbone();
        self.optimizer.set_frozen(BACKBONE, frozen)?;
        if frozen && epoch == 1 {
            self.sink.handle(&Event::Frozen { epoch })?;
        }
        if freeze_epochs > 0 && epoch == freeze_epochs + 1 {
            self.sink.handle(&Event::Unfrozen { epoch })?;
        }
        Ok(frozen)
    }

    /// Trains and validates once; `None` when interrupted.
    fn epoch(&mut self, epoch: usize, frozen: bool) -> Result<Option<EpochReport>> {
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
        let interrupt = self.interrupt;
        let known = self.features.as_ref().map(|features| &features.val);
        let batches = self
            .batches(&self.val, known, 0)
            .take_while(|_| !interrupt.load(Ordering::Relaxed));
        let validated = score(self.network.as_ref(), batches, frozen, &|_| ())?;
        self.clock.lap(|times| &mut times.validation);
        if interrupt.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let times = self.clock.times();
        let report = EpochReport {
            epoch,
            train_loss: trained.tally.mean_loss(),
            train_accuracy: trained.tally.accuracy(),
            val_loss: validated.mean_loss(),
            val_accuracy: validated.accuracy(),
            val_macro_f1: validated.macro_scores().f1,
            learning_rate: trained.learning_rate,
            images_per_second: trained.tally.total() as f64 / trained.seconds,
            seconds: times.total(),
            times,
        };
        self.schedule.epoch_end(self.monitored(&report));
        self.sink.handle(&Event::EpochFinished(report.clone()))?;
        self.report_skipped()?;
        Ok(Some(report))
    }

    fn train_epoch(&mut self, epoch: usize, frozen: bool) -> Result<Option<Trained>> {
        let mut tally = Tally::new(self.metadata.model.classes());
        let mut learning_rate = self.schedule.learning_rate();
        let known = self.features.as_ref().map(|features| &features.train);
        let batches = self.batches(&self.train, known, epoch as u64);
        for (index, batch) in batches.enumerate() {
            if self.interrupt.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let batch = batch?;
            self.clock.lap(|times| &mut times.data);
            let images = batch.labels.len();
            // One image alone has no variance that its 1x1 maps could be normalised by.
            if images < 2 {
                continue;
            }
            learning_rate = self.schedule.learning_rate();
            let loss = self.train_batch(epoch, index + 1, &batch, frozen, &mut tally)?;
            self.sink.handle(&Event::BatchDone {
                epoch,
                batch: index + 1,
                images,
                loss,
            })?;
            self.clock.lap(|times| &mut times.other);
        }
        // The loader's own end: its threads, and its file of decoded images.
        self.clock.lap(|times| &mut times.data);
        if tally.total() == 0 {
            return Err(Error::NoImages(format!(
                "{}: too few of the training images could be read to make a batch; the warnings name each",
                self.config.data.root().join("train").display()
            )));
        }
        Ok(Some(Trained {
            tally,
            learning_rate,
            seconds: self.clock.times().total(),
        }))
    }

    /// One optimizer step; the batch's mean loss.
    fn train_batch(
        &mut self,
        epoch: usize,
        index: usize,
        batch: &Batch,
        frozen: bool,
        tally: &mut Tally,
    ) -> Result<f64> {
        let (network, step) = (&mut self.network, self.step);
        let logits = match &batch.shown {
            Shown::Images(images) => network.forward_train(images, step, frozen)?,
            Shown::Features(features) => network.forward_train_head(features, step)?,
        };
        let loss = self.loss.apply(&logits, &batch.labels, &batch.weights)?;
        let value = loss.value()?;
        self.clock.lap(|times| &mut times.forward);
        if !value.is_finite() {
            return Err(Error::NonFiniteLoss {
                epoch,
                batch: index,
                loss: value,
                best: self.checkpoints.best().map(|best| best.weights.clone()),
            });
        }
        tally.add(&batch.labels, &predicted_classes(&logits)?)?;
        tally.add_loss(value, loss.weight);
        self.clock.lap(|times| &mut times.other);
        loss.mean.backward()?;
        self.clock.lap(|times| &mut times.backward);
        self.update()?;
        self.clock.lap(|times| &mut times.optimizer);
        Ok(value)
    }

    /// Moves the parameters against the gradient of the last backward pass.
    fn update(&mut self) -> Result<()> {
        let learning_rate = self.schedule.learning_rate();
        let max_norm = self.config.train.clip_gradient_norm;
        let optimizer = &mut self.optimizer;
        let mut outcome = Ok(());
        self.network.parameters().update(|values, gradients| {
            outcome = match max_norm {
                None => optimizer.step(values, gradients, learning_rate),
                Some(max_norm) => {
                    let mut clipped = gradients.to_vec();
                    clip_gradient_norm(&mut clipped, max_norm)
                        .and_then(|_| optimizer.step(values, &clipped, learning_rate))
                }
            };
        })?;
        outcome?;
        self.step += 1;
        self.schedule.step();
        Ok(())
    }

    /// Writes the epoch's weights where the policy says so; whether it was the best.
    fn checkpoint(&mut self, report: &EpochReport) -> Result<bool> {
        let score = self.monitored(report);
        let improved = self.checkpoints.improves(score);
        if improved {
            self.best = Some(self.network.parameters().snapshot()?);
        }
        let epoch = report.epoch;
        let written =
            self.checkpoints
                .record(self.network.as_ref(), &self.metadata, epoch, score)?;
        if let Some(path) = written {
            self.sink
                .handle(&Event::CheckpointWritten { path, epoch, score })?;
        }
        Ok(improved)
    }

    fn monitored(&self, report: &EpochReport) -> f64 {
        match self.config.train.monitor {
            Monitor::ValAccuracy => report.val_accuracy,
            Monitor::ValMacroF1 => report.val_macro_f1,
            Monitor::ValLoss => report.val_loss,
        }
    }

    fn report_skipped(&mut self) -> Result<()> {
        let count = self.train.skipped().len() + self.val.skipped().len();
        if count > self.skipped {
            self.skipped = count;
            self.sink.handle(&Event::ImagesSkipped { count })?;
        }
        Ok(())
    }
}
