//! The weights that a run validates and saves: the network's own, and their moving average if there is one.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;

use mobilenet::weights::WeightsMetadata;
use mobilenet::{Model, Parameters, Snapshot};
use optim::{EmaConfig, EmaState};

use super::average::Average;
use crate::checkpoint::{Best, Checkpoints};
use crate::config::Monitor;
use crate::events::Event;
use crate::state::{BestRecord, Builder, RunState, TrackRecord};
use crate::{Result, ValidationScores};

/// All tracks; the first is the network's own weights.
pub(super) struct Tracks(Vec<Track>);

/// Weights with their checkpoints.
struct Track {
    /// `None` for the network's own weights.
    average: Option<Average>,
    checkpoints: Checkpoints,
    /// A copy of the best weights in memory, restored at the end of the run.
    best: Option<Arc<Snapshot>>,
}

impl Tracks {
    /// The network's own weights and, if `ema` is given, their average.
    pub(super) fn new(
        ema: Option<&EmaConfig>,
        parameters: &Parameters,
        checkpoints: Checkpoints,
    ) -> Result<Self> {
        let average = ema.map(|ema| Average::new(ema, parameters)).transpose()?;
        let average = average.map(|average| Track {
            average: Some(average),
            checkpoints: checkpoints.clone().marked("_ema"),
            best: None,
        });
        let own = Track {
            average: None,
            checkpoints,
            best: None,
        };
        Ok(Self([own].into_iter().chain(average).collect()))
    }

    /// The number of tracks.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Adds the network's values after a step to the averages.
    pub(super) fn update(&mut self, parameters: &Parameters) -> Result<()> {
        let averages = self.0.iter_mut().filter_map(|track| track.average.as_mut());
        averages
            .into_iter()
            .try_for_each(|average| average.update(parameters))
    }

    /// Runs `f` once for each track, with the track's weights in the network.
    pub(super) fn each<R>(
        &self,
        parameters: &Parameters,
        mut f: impl FnMut() -> Result<R>,
    ) -> Result<Vec<R>> {
        self.0
            .iter()
            .map(|track| track.with(parameters, &mut f))
            .collect()
    }

    /// Saves an epoch's weights if the policy requires it. `validated` has the scores and the temperature of each track.
    /// Returns whether any track is the best so far, and the outcome of each write.
    pub(super) fn record(
        &mut self,
        network: &dyn Model,
        metadata: &WeightsMetadata,
        epoch: usize,
        validated: &[(ValidationScores, Option<f64>)],
    ) -> Result<(bool, Vec<Event>)> {
        let (mut improved, mut events) = (false, Vec::new());
        for (track, (scores, temperature)) in self.0.iter_mut().zip(validated) {
            let metadata = &WeightsMetadata {
                temperature: *temperature,
                ..metadata.clone()
            };
            let order = track.checkpoints.compare(scores);
            improved |= order == Ordering::Greater;
            let mut checkpoints = track.checkpoints.clone();
            let (more, snapshot) = track.with(network.parameters(), || {
                let events = checkpoints.record(network, metadata, epoch, scores)?;
                let is_best = order != Ordering::Less;
                let snapshot = is_best.then(|| network.parameters().snapshot());
                Ok((events, snapshot.transpose()?))
            })?;
            track.checkpoints = checkpoints;
            track.best = snapshot.map(Arc::new).or(track.best.take());
            events.extend(more);
        }
        Ok((improved, events))
    }

    /// Writes the best weights whose files are missing: a process was killed before it wrote them, or after it removed
    /// them for better ones that its last state lacks.
    pub(super) fn write_missing(
        &mut self,
        network: &dyn Model,
        metadata: &WeightsMetadata,
    ) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for track in &mut self.0 {
            let is_missing = |best: &Best| !best.weights.is_file();
            if let (true, Some(snapshot)) = (
                track.checkpoints.best().is_some_and(is_missing),
                &track.best,
            ) {
                let parameters = network.parameters();
                let own = parameters.snapshot()?;
                parameters.restore(snapshot)?;
                let written = track.checkpoints.write_best(network, metadata);
                parameters.restore(&own)?;
                events.extend(written?);
            }
        }
        Ok(events)
    }

    /// Retries failed writes of weights.
    pub(super) fn retry(&mut self) -> Vec<Event> {
        let tracks = self.0.iter_mut();
        tracks.flat_map(|track| track.checkpoints.retry()).collect()
    }

    /// The best weights of the run, of all tracks. `images` is the number of validation images.
    pub(super) fn best(&self, monitor: Monitor, images: usize) -> Option<(Best, &Arc<Snapshot>)> {
        let bests = self.0.iter().filter_map(|track| {
            let best = track.checkpoints.best()?;
            Some((best, track.best.as_ref()?))
        });
        let best = bests.reduce(|own, average| {
            match monitor.prefers_average(average.0.score, own.0.score, images) {
                true => average,
                false => own,
            }
        });
        best.map(|(best, snapshot)| (best.clone(), snapshot))
    }

    /// The path of the best weights on disk.
    pub(super) fn kept(&self, best: Option<&Best>) -> Option<PathBuf> {
        let kept = || self.0.iter().filter_map(|track| track.checkpoints.kept());
        let of_best = kept().find(|path| best.is_some_and(|best| best.weights == *path));
        of_best.or_else(|| kept().next()).map(ToOwned::to_owned)
    }

    /// What a state saves of the tracks, besides tensors.
    pub(super) fn records(&self) -> Vec<TrackRecord> {
        let record = |track: &Track| TrackRecord {
            updates: track.average.as_ref().map(Average::updates),
            best: track.checkpoints.best().map(BestRecord::of),
            kept: track.checkpoints.kept_best().map(BestRecord::of),
            counts: track.best.as_ref().map(|best| best.counts()),
        };
        self.0.iter().map(record).collect()
    }

    /// Copies the averages into a state.
    pub(super) fn copy(&self, parameters: &Parameters, state: &mut Builder) -> Result<()> {
        for (index, track) in self.0.iter().enumerate() {
            if let Some(average) = &track.average {
                let prefix = average_prefix(index);
                let [arena, statistics] = average.values()?;
                state.copy(&prefix, parameters.segments(), &arena);
                state.copy(&prefix, parameters.statistics_segments(), &statistics);
            }
        }
        Ok(())
    }

    /// Adds the best weights to a state.
    pub(super) fn share(&self, parameters: &Parameters, state: &mut Builder) {
        for (index, track) in self.0.iter().enumerate() {
            if let Some(best) = &track.best {
                state.share(&best_prefix(index), parameters, best);
            }
        }
    }

    /// Restores the tracks from a state.
    ///
    /// # Errors
    ///
    /// [`Error::State`](crate::Error::State) if the state is that of other tracks.
    pub(super) fn restore(
        &mut self,
        state: &mut RunState,
        parameters: &Parameters,
        run: &std::path::Path,
    ) -> Result<()> {
        let records = state.record.tracks.clone();
        if records.len() != self.0.len() {
            let problem = format!(
                "it has {} tracks of weights, expected {}",
                records.len(),
                self.0.len()
            );
            return Err(state.unfit(problem));
        }
        let (segments, statistics) = (parameters.segments(), parameters.statistics_segments());
        for (index, (track, record)) in self.0.iter_mut().zip(records).enumerate() {
            if let (Some(average), Some([of_parameters, of_statistics])) =
                (&mut track.average, record.updates)
            {
                let prefix = average_prefix(index);
                let of_parameters = EmaState {
                    updates: of_parameters,
                    average: state.take(&prefix, segments)?,
                };
                let of_statistics = EmaState {
                    updates: of_statistics,
                    average: state.take(&prefix, statistics)?,
                };
                average.restore([of_parameters, of_statistics])?;
            }
            if let Some(counts) = record.counts {
                let prefix = best_prefix(index);
                let arena = state.take(&prefix, segments)?;
                let statistics = state.take(&prefix, statistics)?;
                track.best = Some(Arc::new(parameters.snapshot_of(arena, statistics, counts)?));
            }
            let [best, kept] =
                [record.best, record.kept].map(|best| best.map(|best| best.in_folder(run)));
            track.checkpoints.restore(best, kept);
        }
        Ok(())
    }
}

/// The names of a track's tensors in a state begin with this.
fn average_prefix(track: usize) -> String {
    format!("average.{track}")
}

fn best_prefix(track: usize) -> String {
    format!("best.{track}")
}

impl Track {
    /// Runs `f` with the track's weights in the network.
    fn with<R>(&self, parameters: &Parameters, f: impl FnOnce() -> Result<R>) -> Result<R> {
        let Some(average) = &self.average else {
            return f();
        };
        let own = parameters.snapshot()?;
        let [arena, statistics] = average.values()?.map(Cow::into_owned);
        parameters.set(arena, statistics)?;
        let result = f();
        parameters.restore(&own)?;
        result
    }
}
