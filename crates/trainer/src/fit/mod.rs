//! The training loop.

mod average;
mod begin;
mod device_buffers;
mod diverged;
mod epoch;
mod figures;
mod groups;
mod inputs;
mod lr_find;
mod on_device;
mod record;
mod results;
mod resume;
mod settled;
mod step;
mod teacher;
mod tracks;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use classifier::Classifier;
use mnist_data::Loader;
use mobilenet::weights::WeightsMetadata;
use mobilenet::{ByteTable, Model};
use optim::LrSchedule;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Best, Checkpoints, EarlyStopping};
use crate::config::RunConfig;
use crate::events::{EpochReport, Event, EventSink};
use crate::features::Features;
use crate::model::Start;
use crate::precision::ChosenPrecision;
use crate::state::{Border, Place, RunState};
use crate::timing::Stopwatch;
use crate::{ConfusionMatrix, Objective, Result, RunDir, Splits};
use begin::Begun;
pub(crate) use begin::with_precision;
pub use lr_find::{LrCurve, LrPoint, LrRange, find_learning_rate};
pub use on_device::PlacedOptimizer;
use step::Stepper;
use teacher::Teacher;
use tracks::Tracks;

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every epoch was trained.
    Completed,
    /// The monitored score did not improve for `patience` epochs.
    StoppedEarly,
    /// The interrupt flag was set. The run can be resumed.
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
    /// [`Error::Classifier`](crate::Error::Classifier) if the metadata was changed and no longer fits the network.
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
/// ends the run after the current step, with its state and the best weights so far on disk. Weights
/// that cannot be written stay in memory ([`Event::CheckpointDelayed`]); writing is retried after
/// each epoch and at the end. The state is saved as [`TrainConfig::save_every`] requires; a save
/// that fails ([`Event::StateDelayed`]) is followed by the next one.
///
/// # Errors
///
/// Invalid configurations and data are errors before the first batch. A loss that is not finite is
/// an error; the best weights and the last state so far stay on disk. [`Error::WeightsUnwritten`]
/// and [`Error::StateUnsaved`] if the best weights or the state cannot be written at the end either.
///
/// [`Error::WeightsUnwritten`]: crate::Error::WeightsUnwritten
/// [`Error::StateUnsaved`]: crate::Error::StateUnsaved
/// [`TrainConfig::save_every`]: crate::config::TrainConfig::save_every
pub fn fit(
    config: &RunConfig,
    splits: &Splits,
    run: &RunDir,
    sink: &mut dyn EventSink,
    interrupt: &AtomicBool,
) -> Result<Outcome> {
    resume(config, splits, run, None, sink, interrupt)
}

/// As [`fit`], but goes on from the state of an interrupted run; see [`RunDir::state`]. With the same configuration,
/// number of threads and instruction set, weights and scores equal those of an uninterrupted run bit for bit.
///
/// A run that is over trains nothing: the outcome is that of its end.
///
/// # Errors
///
/// Those of [`fit`]. [`Error::Changed`] if the images are others, and [`Error::State`] if the state does not fit the
/// configuration. Before, check the configuration by [`RunConfig::changes`].
///
/// [`Error::Changed`]: crate::Error::Changed
/// [`Error::State`]: crate::Error::State
pub fn resume(
    config: &RunConfig,
    splits: &Splits,
    run: &RunDir,
    state: Option<RunState>,
    sink: &mut dyn EventSink,
    interrupt: &AtomicBool,
) -> Result<Outcome> {
    let (config, begun) = Begun::new(config, &splits.class_names(), state.as_ref())?;
    let mut session = Session::new(&config, begun, splits, run, state, sink, interrupt)?;
    session.is_run = true;
    let record = record::Open::begin(&session, splits, run)?;
    session.save_states(run)?;
    let outcome = session.run();
    record.finish(run, outcome.as_ref().ok());
    outcome
}

/// A run in progress.
struct Session<'a> {
    config: &'a RunConfig,
    sink: &'a mut dyn EventSink,
    interrupt: &'a AtomicBool,
    network: Box<dyn Model>,
    /// The choice of the precision, if it was `"auto"`.
    chosen: Option<ChosenPrecision>,
    metadata: WeightsMetadata,
    stepper: Stepper,
    tracks: Tracks,
    teacher: Option<Teacher>,
    loss: Objective,
    table: Arc<ByteTable>,
    train: Loader,
    val: Loader,
    /// The cached features, if the backbone is frozen and the features fit into memory.
    features: Option<Features>,
    /// Measures the parts of the epoch's time.
    clock: Stopwatch,
    place: Place,
    /// The measurements of the epoch in progress.
    progress: Progress,
    /// The reports of the finished epochs.
    reports: Vec<EpochReport>,
    stopping: EarlyStopping,
    /// How the run has ended.
    ending: Option<Ending>,
    /// The number of batches so far; also the seed of each batch's dropout.
    batches: u64,
    /// The number of optimizer steps so far.
    steps: u64,
    /// The batches in a row that were left out because training diverged.
    left_out_in_a_row: usize,
    last_divergence: Option<diverged::NonFinite>,
    /// Whether the session is in the middle of a change, so that no state can be saved.
    torn: bool,
    /// The place of the state from which the run goes on.
    resumed_at: Option<Place>,
    /// The place after the last batch with a gradient in this process.
    last_gradient: Option<Place>,
    skipped: usize,
    /// Whether the running statistics come from this run's batches instead of pretrained weights. Then each epoch
    /// restarts them, so that they match the epoch's weights. Otherwise a short run would end before the influence of
    /// the initial values and of earlier epochs has faded.
    fresh_statistics: bool,
    /// Whether the warning about unsettled running statistics was sent.
    unsettled: bool,
    /// Whether this is a run, whose folder says why it ended, and not a search for a learning rate.
    is_run: bool,
    /// The checksums of the inputs, if the run was resumed and saves no states yet.
    inputs: Option<resume::Inputs>,
    /// Saves the state; `None` if this session saves none.
    saving: Option<resume::Saving>,
    run_dir: PathBuf,
}

/// The measurements of an epoch in progress.
struct Progress {
    confusion: ConfusionMatrix,
    /// The learning rate of the last step.
    learning_rate: f64,
    /// After validation, the temperature that calibrates each track.
    temperatures: Vec<Option<f64>>,
}

impl<'a> Session<'a> {
    fn new(
        config: &'a RunConfig,
        begun: Begun,
        splits: &Splits,
        run: &RunDir,
        state: Option<RunState>,
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
        let Start {
            network, loaded, ..
        } = &begun.start;
        let model = network.description();
        sink.handle(&Event::RunStarted {
            run_dir: run.path().to_owned(),
            model: model.name().to_string(),
            classes: class_names.clone(),
            parameters: network.parameters().len(),
            train_images: train.len(),
            val_images: val.len(),
            epochs: config.train.epochs,
            frozen_epochs: match network.trains_backbone() {
                true => config.train.freeze_epochs.min(config.train.epochs),
                false => config.train.epochs,
            },
            device: network.processor().name().to_owned(),
            threads: config.train.threads(),
            executor: network.executor(),
        })?;
        begun.tell(sink)?;
        if let Some(report) = loaded {
            sink.handle(&Event::PretrainedLoaded(report.clone()))?;
        }
        let Begun {
            start:
                Start {
                    network,
                    training,
                    fresh_statistics,
                    ..
                },
            tensors,
            chosen,
            ..
        } = begun;
        let metadata = WeightsMetadata {
            framing: config.data.framing(),
            orientation: config.data.orientation,
            normalisation: config.data.normalisation(),
            ..WeightsMetadata::new(model, class_names, config.data.image_size)
        };
        let mut stepper = Stepper::new(config, network.parameters(), schedule)?;
        stepper.go_on_from(training);
        let distillation = config.distillation.as_ref();
        let teacher = distillation
            .map(|distillation| Teacher::open(distillation, &metadata, &tensors))
            .transpose()?;
        let (policy, monitor) = (config.train.checkpoints, config.train.monitor);
        let checkpoints = Checkpoints::new(run.path(), policy, monitor);
        let mut session = Self {
            tracks: Tracks::new(config.ema.as_ref(), network.parameters(), checkpoints)?,
            progress: Progress::new(metadata.model.classes(), &stepper),
            stepper,
            teacher,
            table: Arc::new(metadata.normalisation.table()),
            config,
            sink,
            interrupt,
            network,
            chosen,
            metadata,
            loss,
            train,
            val,
            features: None,
            clock: Stopwatch::start(),
            place: Place { epoch: 1, batch: 0 },
            reports: Vec::new(),
            stopping: EarlyStopping::new(config.train.patience),
            ending: None,
            batches: 0,
            steps: 0,
            left_out_in_a_row: 0,
            last_divergence: None,
            torn: false,
            resumed_at: None,
            last_gradient: None,
            skipped: 0,
            fresh_statistics,
            unsettled: false,
            is_run: false,
            inputs: None,
            saving: None,
            run_dir: run.path().to_owned(),
        };
        match state {
            Some(state) => session.restore(state)?,
            None if run.is_resumed() => session.begin_again()?,
            None => {}
        }
        // After the check of the inputs, so that a refused change of a path is not kept.
        run.write_config(&config.resolved(&session.metadata.model))?;
        Ok(session)
    }

    fn run(mut self) -> Result<Outcome> {
        let trained = self.train();
        let events = self.tracks.retry();
        let handled = self.tell(&events);
        let saved = self.last_save(&trained);
        let ending = trained.map_err(|error| error.keeping(self.kept()))?;
        handled?;
        let best = match self.best() {
            Some((best, snapshot)) => {
                self.network.parameters().restore(&snapshot)?;
                self.metadata.epoch = Some(best.epoch);
                self.metadata.score = Some(best.score);
                self.metadata.temperature = best.temperature;
                Some(best)
            }
            None => None,
        };
        if let Some(best) = &best {
            self.check_written(best, events)?;
        }
        saved?;
        self.sink.handle(&Event::Finished {
            best_epoch: best.as_ref().map(|best| best.epoch),
            weights: best.as_ref().map(|best| best.weights.clone()),
        })?;
        Ok(Outcome {
            network: Arc::from(self.network),
            metadata: self.metadata,
            best,
            epochs: self.reports,
            ending,
        })
    }

    /// Trains the remaining epochs. Returns why the run ended.
    fn train(&mut self) -> Result<Ending> {
        // A run that was over can go on only with more epochs.
        if self.ending == Some(Ending::StoppedEarly) {
            return Ok(Ending::StoppedEarly);
        }
        self.ending = None;
        while self.place.epoch <= self.config.train.epochs {
            let epoch = self.place.epoch;
            let frozen = self.freeze(epoch)?;
            let Some(report) = self.epoch(epoch, frozen)? else {
                self.sink.handle(&Event::Interrupted { epoch })?;
                return Ok(Ending::Interrupted);
            };
            let improved = self.checkpoint(&report)?;
            self.reports.push(report);
            self.place = Place {
                epoch: epoch + 1,
                batch: 0,
            };
            self.torn = false;
            // If the backbone stays frozen for the whole run, early stopping counts these epochs.
            let thaws = self.config.train.freeze_epochs < self.config.train.epochs
                && self.network.trains_backbone();
            let waiting = frozen && thaws;
            if self.stopping.stops(improved, waiting) {
                let best_epoch = self.best().map_or(epoch, |(best, _)| best.epoch);
                self.sink
                    .handle(&Event::StoppedEarly { epoch, best_epoch })?;
                self.ending = Some(Ending::StoppedEarly);
                return Ok(Ending::StoppedEarly);
            }
            if epoch < self.config.train.epochs {
                self.save_if_due(Border::Epoch)?;
            }
        }
        self.ending = Some(Ending::Completed);
        Ok(Ending::Completed)
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
        self.metadata.training = self.stepper.state();
        let (network, metadata) = (self.network.as_ref(), &self.metadata);
        let scores = [report.scores()].into_iter().chain(report.ema);
        let temperatures = self.progress.temperatures.iter().copied();
        let validated: Vec<_> = scores.zip(temperatures).collect();
        let tracks = &mut self.tracks;
        let (improved, events) = tracks.record(network, metadata, report.epoch, &validated)?;
        self.tell(&events)?;
        Ok(improved)
    }

    fn tell(&mut self, events: &[Event]) -> Result<()> {
        events.iter().try_for_each(|event| self.sink.handle(event))
    }
}

impl Progress {
    fn new(classes: usize, stepper: &Stepper) -> Self {
        Self {
            confusion: ConfusionMatrix::new(classes),
            learning_rate: stepper.learning_rate(),
            temperatures: Vec::new(),
        }
    }
}
