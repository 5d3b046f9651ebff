//! The training loop.

mod average;
mod epoch;
mod figures;
mod groups;
mod inputs;
mod lr_find;
mod settled;
mod step;
mod teacher;

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use classifier::Classifier;
use mnist_data::Loader;
use mobilenet::weights::{self, WeightsMetadata};
use mobilenet::{ByteTable, ClassOrder, Model, Snapshot};
use optim::LrSchedule;

use crate::checkpoint::{Best, Checkpoints, EarlyStopping};
use crate::config::RunConfig;
use crate::device::{device_name, open_device};
use crate::events::{EpochReport, Event, EventSink, Unreadable};
use crate::features::Features;
use crate::infer::unreadable;
use crate::model::{Start, start};
use crate::timing::Stopwatch;
use crate::{Error, Objective, Result, RunDir, Splits};
use average::Average;
pub use lr_find::{LrCurve, LrPoint, LrRange, find_learning_rate};
use step::Stepper;
use teacher::Teacher;

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every epoch was trained.
    Completed,
    /// The monitored score did not improve for `patience` epochs.
    StoppedEarly,
    /// The interrupt flag was set.
    Interrupted,
}

/// The result of a run.
pub struct Outcome {
    /// The network with the best weights (the last ones, if no epoch was completed).
    pub network: Arc<dyn Model>,
    /// The metadata for the network's weights file.
    pub metadata: WeightsMetadata,
    /// The best epoch, if one was completed.
    pub best: Option<Best>,
    /// The reports of all completed epochs.
    pub epochs: Vec<EpochReport>,
    /// Why the run ended.
    pub ending: Ending,
}

impl Outcome {
    /// A classifier with the trained network.
    ///
    /// # Errors
    ///
    /// [`Error::Classifier`] if the metadata was changed and no longer fits the network.
    pub fn classifier(&self) -> Result<Classifier> {
        Ok(Classifier::new(
            Arc::clone(&self.network),
            self.metadata.clone(),
        )?)
    }
}

/// Trains as configured, in the folder of `run`.
///
/// Only the head learns for the first `freeze_epochs`. Each epoch is trained, validated and, if the
/// policy requires it, saved. At the end the network holds the best weights. Setting `interrupt`
/// ends the run before its next batch, with the best weights so far on disk. Weights that cannot be
/// written stay in memory ([`Event::CheckpointDelayed`]); writing is retried after each epoch and
/// at the end.
///
/// # Errors
///
/// Invalid configurations and data are errors before the first batch. A loss that is not finite is
/// an error; the best weights so far stay on disk. [`Error::WeightsUnwritten`] if the best weights
/// cannot be written at the end either.
pub fn fit(
    config: &RunConfig,
    splits: &Splits,
    run: &RunDir,
    sink: &mut dyn EventSink,
    interrupt: &AtomicBool,
) -> Result<Outcome> {
    config.validate()?;
    let config = &config.settled()?;
    Session::new(config, splits, run, sink, interrupt)?.run()
}

/// The state of a run.
struct Session<'a> {
    config: &'a RunConfig,
    sink: &'a mut dyn EventSink,
    interrupt: &'a AtomicBool,
    network: Box<dyn Model>,
    metadata: WeightsMetadata,
    stepper: Stepper,
    /// The moving average, if it is configured.
    average: Option<Average>,
    teacher: Option<Teacher>,
    loss: Objective,
    table: Arc<ByteTable>,
    train: Loader,
    val: Loader,
    /// The cached features, if the backbone is frozen and the features fit into memory.
    features: Option<Features>,
    checkpoints: Checkpoints,
    /// Measures the parts of the epoch's time.
    clock: Stopwatch,
    /// A copy of the best weights in memory, restored at the end of the run.
    best: Option<Snapshot>,
    /// The number of batches so far; also the seed of each batch's dropout.
    batches: u64,
    skipped: usize,
    /// Whether the running statistics come from this run's batches instead of pretrained weights. Then each epoch
    /// restarts them, so that they match the epoch's weights. Otherwise a short run would end before the influence of
    /// the initial values and of earlier epochs has faded.
    fresh_statistics: bool,
    /// Whether the warning about unsettled running statistics was sent.
    unsettled: bool,
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
        figures::check(&config.data, train.samples());
        let loss = splits.loss(config, train.samples())?;
        let val = splits.val_loader(config)?;
        let schedule = LrSchedule::new(
            &config.schedule(),
            config.warmup.as_ref(),
            config.train.learning_rate,
            config.train.epochs,
            train
                .batches_per_epoch()
                .div_ceil(config.train.accumulate_batches),
        )?;
        let device = open_device(config.train.device)?;
        let Start {
            mut network,
            loaded,
            training,
            fresh_statistics,
        } = start(config, &class_names, &device)?;
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
            class_order: ClassOrder::Named,
            image_size: config.data.image_size,
            framing: config.data.framing(),
            orientation: config.data.orientation,
            normalisation: config.data.normalisation(),
            epoch: None,
            score: None,
            training: None,
        };
        let mut stepper = Stepper::new(config, network.parameters(), schedule)?;
        stepper.go_on_from(training);
        let distillation = config.distillation.as_ref();
        let teacher = distillation
            .map(|distillation| Teacher::open(distillation, &metadata, &device))
            .transpose()?;
        let (policy, monitor) = (config.train.checkpoints, config.train.monitor);
        let checkpoints = Checkpoints::new(run.path(), policy, monitor);
        let average = config.ema.as_ref().map(|ema| {
            let checkpoints = checkpoints.clone().marked("_ema");
            Average::new(ema, network.parameters(), checkpoints)
        });
        Ok(Self {
            stepper,
            teacher,
            table: Arc::new(metadata.normalisation.table()),
            checkpoints,
            average: average.transpose()?,
            config,
            sink,
            interrupt,
            network,
            metadata,
            loss,
            train,
            val,
            features: None,
            clock: Stopwatch::start(),
            best: None,
            batches: 0,
            skipped: 0,
            fresh_statistics,
            unsettled: false,
        })
    }

    fn run(mut self) -> Result<Outcome> {
        let trained = self.train();
        let events = self.retry();
        let handled = self.tell(&events);
        let (epochs, ending) = trained.map_err(|error| error.keeping(self.kept()))?;
        handled?;
        let best = match self.best() {
            Some((best, snapshot)) => {
                self.network.parameters().restore(snapshot)?;
                self.metadata.epoch = Some(best.epoch);
                self.metadata.score = Some(best.score);
                Some(best)
            }
            None => None,
        };
        if let Some(best) = &best {
            self.check_written(best, events)?;
        }
        self.sink.handle(&Event::Finished {
            best_epoch: best.as_ref().map(|best| best.epoch),
            weights: best.as_ref().map(|best| best.weights.clone()),
        })?;
        Ok(Outcome {
            network: Arc::from(self.network),
            metadata: self.metadata,
            best,
            epochs,
            ending,
        })
    }

    /// Trains all epochs. Returns the reports, and why the run ended.
    fn train(&mut self) -> Result<(Vec<EpochReport>, Ending)> {
        let mut stopping = EarlyStopping::new(self.config.train.patience);
        let mut epochs = Vec::new();
        for epoch in 1..=self.config.train.epochs {
            let frozen = self.freeze(epoch)?;
            let Some(report) = self.epoch(epoch, frozen)? else {
                self.sink.handle(&Event::Interrupted { epoch })?;
                return Ok((epochs, Ending::Interrupted));
            };
            let improved = self.checkpoint(&report)?;
            epochs.push(report);
            // If the backbone stays frozen for the whole run, early stopping counts these epochs.
            let thaws = self.config.train.freeze_epochs < self.config.train.epochs
                && self.network.trains_backbone();
            let waiting = frozen && thaws;
            if stopping.stops(improved, waiting) {
                let best_epoch = self.best().map_or(epoch, |(best, _)| best.epoch);
                self.sink
                    .handle(&Event::StoppedEarly { epoch, best_epoch })?;
                return Ok((epochs, Ending::StoppedEarly));
            }
        }
        Ok((epochs, Ending::Completed))
    }

    /// Freezes or unfreezes the backbone for an epoch; returns whether it is frozen.
    fn freeze(&mut self, epoch: usize) -> Result<bool> {
        let freeze_epochs = self.config.train.freeze_epochs;
        let frozen = epoch <= freeze_epochs || !self.network.trains_backbone();
        self.stepper.freeze_backbone(frozen)?;
        if frozen && epoch == 1 {
            self.sink.handle(&Event::Frozen { epoch })?;
        }
        if freeze_epochs > 0 && epoch == freeze_epochs + 1 {
            self.sink.handle(&Event::Unfrozen { epoch })?;
        }
        Ok(frozen)
    }

    /// Saves the epoch's weights and their average if the policy requires it; returns whether the weights or the
    /// average are the best so far.
    fn checkpoint(&mut self, report: &EpochReport) -> Result<bool> {
        let (epoch, scores) = (report.epoch, report.scores());
        self.metadata.training = self.stepper.state();
        let (network, metadata) = (self.network.as_ref(), &self.metadata);
        let order = self.checkpoints.compare(&scores);
        let mut improved = order == Ordering::Greater;
        if order != Ordering::Less {
            self.best = Some(network.parameters().snapshot()?);
        }
        let mut events = self.checkpoints.record(network, metadata, epoch, &scores)?;
        if let (Some(mut average), Some(scores)) = (self.average.take(), &report.ema) {
            let order = average.checkpoints.compare(scores);
            let mut checkpoints = average.checkpoints.clone();
            let (more, snapshot) = average.instead(network.parameters(), || {
                let events = checkpoints.record(network, metadata, epoch, scores)?;
                let is_best = order != Ordering::Less;
                let snapshot = is_best.then(|| network.parameters().snapshot());
                Ok((events, snapshot.transpose()?))
            })?;
            average.checkpoints = checkpoints;
            average.best = snapshot.or(average.best);
            events.extend(more);
            improved |= order == Ordering::Greater;
            self.average = Some(average);
        }
        self.tell(&events)?;
        Ok(improved)
    }

    fn tell(&mut self, events: &[Event]) -> Result<()> {
        events.iter().try_for_each(|event| self.sink.handle(event))
    }

    /// Retries failed writes of weights.
    fn retry(&mut self) -> Vec<Event> {
        let mut events = self.checkpoints.retry();
        let average = self.average.as_mut();
        events.extend(average.map_or_else(Vec::new, |average| average.checkpoints.retry()));
        events
    }

    /// Returns an error if the last attempt to write the best weights failed. If the file of the best weights was
    /// deleted meanwhile, it is written again.
    fn check_written(&self, best: &Best, last_try: Vec<Event>) -> Result<()> {
        let delayed = last_try.into_iter().find_map(|event| match event {
            Event::CheckpointDelayed { path, problem, .. } if path == best.weights => Some(problem),
            _ => None,
        });
        let again = || weights::save(&best.weights, self.network.as_ref(), &self.metadata).err();
        let removed = (delayed.is_none() && !best.weights.exists())
            .then(again)
            .flatten();
        let removed = removed.map(|error| {
            let error = mnist_data::with_causes(&error);
            format!("it was removed during the run, and could not be written again ({error})")
        });
        delayed.or(removed).map_or(Ok(()), |problem| {
            Err(Error::WeightsUnwritten {
                path: best.weights.clone(),
                epoch: best.epoch,
                problem,
                best: self.kept(),
            })
        })
    }

    /// The path of the best weights on disk.
    fn kept(&self) -> Option<PathBuf> {
        let best = self.best().map(|(best, _)| best.weights);
        let average = self.average.as_ref();
        let average = average.and_then(|average| average.checkpoints.kept());
        let kept = [self.checkpoints.kept(), average];
        let of_best = kept
            .iter()
            .flatten()
            .find(|path| best.as_deref() == Some(path));
        let any = of_best.or_else(|| kept.iter().flatten().next());
        any.map(|path| path.to_path_buf())
    }

    /// The best weights of the run: the network's own or an average.
    fn best(&self) -> Option<(Best, &Snapshot)> {
        let own = self.checkpoints.best().zip(self.best.as_ref());
        let average = self.average.as_ref();
        let average = average.and_then(|a| a.checkpoints.best().zip(a.best.as_ref()));
        let monitor = self.config.train.monitor;
        let images = self.val.len();
        let (best, snapshot) = match (own, average) {
            (Some(own), Some(average)) => {
                match monitor.prefers_average(average.0.score, own.0.score, images) {
                    true => average,
                    false => own,
                }
            }
            (own, average) => own.or(average)?,
        };
        Some((best.clone(), snapshot))
    }

    /// The images left out so far.
    fn unreadable(&self) -> Unreadable {
        let names = &self.metadata.class_names;
        let [train, val] = [&self.train, &self.val].map(|loader| unreadable(loader, names));
        Unreadable { train, val }
    }

    fn report_skipped(&mut self, count: usize) -> Result<()> {
        if count > self.skipped {
            self.skipped = count;
            self.sink.handle(&Event::ImagesSkipped { count })?;
        }
        Ok(())
    }
}
