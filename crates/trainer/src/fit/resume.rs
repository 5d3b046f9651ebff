//! Saves the state of a run, and goes on from it.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Device;
use mnist_data::content_checksum;
use mobilenet::{ModelDescription, Network};

use super::{Ending, Session};
use crate::config::RunConfig;
use crate::events::Event;
use crate::model::{Start, start};
use crate::state::{
    BestRecord, Border, Builder, EpochRecord, ImageList, Origin, Place, Record, RunState, Saver,
    StateFolder, Unwritten, VERSION,
};
use crate::timing::Stopwatch;
use crate::{ConfusionMatrix, Error, Result, RunDir};

/// Saves states, with the parts of them that never change in a run.
pub(super) struct Saving {
    saver: Saver,
    inputs: Inputs,
    /// The place of the last state that was saved.
    last: Option<Place>,
    /// The place of the state that is being written.
    writing: Option<Place>,
    /// Whether a sink has asked for a save that has not begun.
    is_asked: bool,
}

/// What a run must not change: by checksums.
pub(super) struct Inputs {
    /// Of the list of images.
    images: String,
    /// Of other files, by key.
    files: BTreeMap<String, String>,
}

impl Saving {
    pub(super) fn stepped(&mut self) {
        self.saver.stepped();
    }
}

/// The network of a state, before its values are restored. A frozen backbone is not part of the state: it comes from
/// the file of pretrained weights.
pub(super) fn network(
    config: &RunConfig,
    state: &RunState,
    classes: &[String],
    device: &Device,
) -> Result<Start> {
    match &state.record.model {
        ModelDescription::MobileNet(model) => Ok(Start {
            network: Box::new(Network::new(model, config.train.seed, device)?),
            loaded: None,
            training: None,
            fresh_statistics: state.record.fresh_statistics,
        }),
        ModelDescription::Zoo(_) => start(config, classes, device),
    }
}

/// The checksums of the files, besides images, that training depends on in every step.
fn files(config: &RunConfig, model: &ModelDescription) -> Result<BTreeMap<String, String>> {
    let teacher = config
        .distillation
        .as_ref()
        .map(|distillation| &distillation.teacher);
    let backbone = match model {
        ModelDescription::MobileNet(_) => None,
        ModelDescription::Zoo(_) => config.model.pretrained.as_ref(),
    };
    let files = [
        ("distillation.teacher", teacher),
        ("model.pretrained", backbone),
    ];
    let files = files
        .into_iter()
        .filter_map(|(key, path)| Some((key, path?)));
    files
        .map(|(key, path)| Ok((key.to_owned(), content_checksum(path)?)))
        .collect()
}

impl Session<'_> {
    /// Saves states from now on, in the folder of the run.
    pub(super) fn save_states(&mut self, run: &RunDir) -> Result<()> {
        let parameters = self.network.parameters();
        let buffers = 1 + self.stepper.buffer_names().count();
        let bytes = 4 * parameters.len() * (buffers + 2 * self.tracks.count());
        let every = self.config.train.save_every;
        let mut folder = StateFolder::new(run.states());
        folder.forget_after(self.resumed_at);
        let saver = Saver::new(every, folder, bytes);
        if !saver.is_on() {
            return Ok(());
        }
        let list = self.image_list();
        let path = run.image_list();
        if self.resumed_at.is_none() || !path.exists() {
            let made = std::fs::create_dir_all(run.states());
            made.and_then(|()| files::sync_parent(&run.states()))
                .map_err(Error::io(run.states()))?;
            list.write(&path)?;
        }
        let inputs = match self.inputs.take() {
            Some(inputs) => inputs,
            None => self.read_inputs()?,
        };
        self.saving = Some(Saving {
            saver,
            inputs,
            last: None,
            writing: None,
            is_asked: false,
        });
        Ok(())
    }

    fn read_inputs(&self) -> Result<Inputs> {
        Ok(Inputs {
            images: self.image_list().checksum(),
            files: files(self.config, &self.metadata.model)?,
        })
    }

    fn image_list(&self) -> ImageList<'_> {
        ImageList {
            train: &self.train,
            val: &self.val,
            class_names: &self.metadata.class_names,
        }
    }

    /// Saves the state in the background, if it is time.
    pub(super) fn save_if_due(&mut self, border: Border) -> Result<()> {
        let Some(mut saving) = self.saving.take() else {
            return Ok(());
        };
        let saved = self.save_with(&mut saving, border);
        self.saving = Some(saving);
        saved
    }

    fn save_with(&mut self, saving: &mut Saving, border: Border) -> Result<()> {
        let outcome = saving.saver.poll();
        self.saved(saving, outcome)?;
        saving.is_asked |= self.sink.takes_save_request();
        if saving.saver.is_due(border) || (saving.is_asked && saving.saver.is_free()) {
            saving.is_asked = false;
            let start = Instant::now();
            let state = self.state(saving)?;
            saving.writing = Some(self.place);
            saving.saver.start(state, start.elapsed());
            self.clock.lap(|times| &mut times.other);
        }
        Ok(())
    }

    /// Handles the outcome of a save. A failure is no error: the next save point tries again.
    fn saved(&mut self, saving: &mut Saving, outcome: Option<std::io::Result<()>>) -> Result<()> {
        let Some(outcome) = outcome else {
            return Ok(());
        };
        let place = saving.writing.take();
        match outcome {
            Ok(()) => {
                saving.last = place;
                let Place { epoch, batch } = place.unwrap_or(self.place);
                self.sink.handle(&Event::StateSaved { epoch, batch })
            }
            Err(error) => self.sink.handle(&Event::StateDelayed {
                path: saving.saver.path().to_owned(),
                problem: mnist_data::with_causes(&error),
            }),
        }
    }

    /// Saves the state at the end of a run, unless training has diverged or an image was lost.
    pub(super) fn last_save(&mut self, trained: &Result<Ending>) -> Result<()> {
        let Some(mut saving) = self.saving.take() else {
            if self.is_run && self.ending.is_some() {
                // States of an earlier process would look like the end of this run.
                StateFolder::new(self.run_dir.join(RunDir::STATES)).remove();
            }
            return Ok(());
        };
        let outcome = saving.saver.wait();
        self.saved(&mut saving, outcome)?;
        // A state in the middle of a step, or with weights that are not finite, is useless. Images that were left out
        // until there were too many may be readable again when the run is resumed.
        let is_sound = match trained {
            Ok(_) => true,
            Err(Error::Data(mnist_data::Error::TooManyBadImages { .. })) => false,
            Err(error) if error.is_divergence() || self.torn => false,
            // The folder of a run that fails at its beginning is removed.
            Err(_) => {
                let has_results = saving.last.is_some() || !self.reports.is_empty();
                self.stepper.is_between_steps() && has_results
            }
        };
        if !is_sound {
            return Ok(());
        }
        let state = self.state(&mut saving)?;
        saving.writing = Some(self.place);
        match saving.saver.save(state) {
            Ok(()) => {
                if self.ending.is_some() {
                    saving.saver.keep_newest();
                }
                self.saved(&mut saving, Some(Ok(())))
            }
            Err(error) => Err(Error::StateUnsaved {
                path: saving.saver.path().to_owned(),
                problem: mnist_data::with_causes(&error),
                best: self.kept(),
                last: saving.last,
            }),
        }
    }

    /// A copy of the state.
    ///
    /// # Errors
    ///
    /// If the weights are not finite: such a state is never saved.
    fn state(&self, saving: &mut Saving) -> Result<Unwritten> {
        self.check_weights(self.place.epoch)?;
        let spare = saving.saver.spare();
        let mut state = Builder::new(spare);
        let parameters = self.network.parameters();
        let segments = parameters.segments();
        parameters.read(|arena, statistics| {
            state.copy("weights", segments, arena);
            state.copy("weights", parameters.statistics_segments(), statistics);
        })?;
        for (name, values) in self.stepper.buffers()? {
            state.copy(&format!("optimizer.{name}"), segments, &values);
        }
        self.tracks.copy(parameters, &mut state)?;
        self.tracks.share(parameters, &mut state);
        state.finish(&self.record(&saving.inputs))
    }

    fn record(&self, inputs: &Inputs) -> Record {
        let (schedule, loss_scaler) = self.stepper.small_states();
        Record {
            version: VERSION,
            origin: self.origin(),
            precision: self.config.train.precision.fixed(),
            place: self.place,
            ending: self.ending,
            batches: self.batches,
            steps: self.steps,
            left_out_in_a_row: self.left_out_in_a_row,
            model: self.metadata.model.clone(),
            counts: self.network.parameters().counts(),
            fresh_statistics: self.fresh_statistics,
            unsettled: self.unsettled,
            epochs_without_gain: self.stopping.stale(),
            optimizer: self.stepper.counters(),
            schedule,
            loss_scaler,
            tracks: self.tracks.records(),
            best: self.best().map(|(best, _)| BestRecord::of(&best)),
            epoch: (self.place.batch > 0).then(|| EpochRecord {
                confusion: self.progress.confusion.state(),
                learning_rate: self.progress.learning_rate,
                times: self.clock.times(),
            }),
            reports: self.reports.clone(),
            unreadable: [self.train.left_out(), self.val.left_out()],
            images: inputs.images.clone(),
            files: inputs.files.clone(),
        }
    }

    fn origin(&self) -> Origin {
        let train = &self.config.train;
        let device = self.network.processor().name();
        Origin::here(device, train.precision.fixed(), train.threads())
    }

    /// Goes on from a state.
    pub(super) fn restore(&mut self, mut state: RunState) -> Result<()> {
        self.inputs = Some(self.check_inputs(&state.record)?);
        let record = state.record.clone();
        let parameters = self.network.parameters();
        let segments = parameters.segments();
        let arena = state.take("weights", segments)?;
        let statistics = state.take("weights", parameters.statistics_segments())?;
        parameters.set(arena, statistics)?;
        parameters.set_counts(record.counts);
        let buffers: Vec<&str> = self.stepper.buffer_names().collect();
        let optimizer = state.take_optimizer(&buffers, segments)?;
        self.stepper
            .restore(optimizer, record.schedule, record.loss_scaler)?;
        self.tracks.restore(&mut state, parameters, &self.run_dir)?;
        for (loader, images) in [&self.train, &self.val].into_iter().zip(record.unreadable) {
            loader.count_as_left_out(images);
        }
        if let Some(epoch) = &record.epoch {
            let classes = self.metadata.model.classes();
            let confusion = ConfusionMatrix::with(classes, &epoch.confusion);
            let confusion =
                confusion.ok_or_else(|| state.unfit("it has other classes".to_owned()))?;
            self.progress.confusion = confusion;
            self.progress.learning_rate = epoch.learning_rate;
            self.clock = Stopwatch::after(epoch.times);
        }
        self.stopping = self.stopping.after(record.epochs_without_gain);
        (self.place, self.ending) = (record.place, record.ending);
        self.resumed_at = Some(record.place);
        (self.batches, self.steps) = (record.batches, record.steps);
        self.left_out_in_a_row = record.left_out_in_a_row;
        self.unsettled = record.unsettled;
        self.skipped = self.unreadable().total();
        self.reports = record.reports;
        self.resumed(self.origin().differences(&record.origin))?;
        let events = self
            .tracks
            .write_missing(self.network.as_ref(), &self.metadata)?;
        self.tell(&events)
    }

    /// Begins again in the folder of a run of which no state was saved. Its metrics may have lines of finished epochs.
    pub(super) fn begin_again(&mut self) -> Result<()> {
        self.resumed(Vec::new())
    }

    fn resumed(&mut self, differences: Vec<String>) -> Result<()> {
        self.sink.handle(&Event::Resumed {
            epoch: self.place.epoch,
            batch: self.place.batch,
            reports: self.reports.clone(),
            differences,
        })
    }

    /// Refuses other images, classes or files than those at the start of the run; returns their checksums.
    fn check_inputs(&self, record: &Record) -> Result<Inputs> {
        let now = self.read_inputs()?;
        if now.images != record.images {
            let path = self.run_dir.join(RunDir::IMAGE_LIST);
            let problem = self.image_list().difference(&path);
            return Err(Error::Changed(format!(
                "its images have changed: {problem}"
            )));
        }
        match record
            .files
            .iter()
            .find(|(key, checksum)| now.files.get(*key) != Some(checksum))
        {
            Some((key, _)) => Err(Error::Changed(format!(
                "the contents of the file of `{key}` have changed"
            ))),
            None => Ok(now),
        }
    }
}
