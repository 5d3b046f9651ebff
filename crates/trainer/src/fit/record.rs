//! Writes the record of a run.

use std::path::Path;

use files::Checksum;
use mnist_data::{Sample, TEST, TRAIN, VALIDATION};

use super::{Outcome, Session};
use crate::{Result, RunDir, RunRecord, SplitRecord, Splits, unix_time};

/// The record of a run that is active.
pub(super) struct Open {
    record: RunRecord,
    /// If the run was complete before: the time of its end, and its number of epochs.
    ended: Option<(u64, usize)>,
}

impl Open {
    /// Writes the record of a run that begins or goes on.
    pub(super) fn begin(session: &Session<'_>, splits: &Splits, run: &RunDir) -> Result<Self> {
        // A record that cannot be read is replaced.
        let before = RunRecord::read(run.path()).ok().flatten();
        let metadata = &session.metadata;
        let classes = metadata.class_names.len();
        let mut images = vec![
            of_split(TRAIN, session.train.samples(), classes),
            of_split(VALIDATION, session.val.samples(), classes),
        ];
        if let Some((test, _)) = splits.test() {
            images.push(of_split(TEST, &test.samples, classes));
        }
        let record = RunRecord {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: metadata.model.name().to_string(),
            parameters: session.network.parameters().len(),
            device: session.network.processor().name().to_owned(),
            processor: mobilenet::Isa::best().to_string(),
            precision: session.config.train.precision.fixed(),
            speeds: match (&session.chosen, &before) {
                (Some(chosen), _) => chosen.speeds.clone(),
                (None, Some(before)) => before.speeds.clone(),
                (None, None) => Vec::new(),
            },
            threads: session.config.train.threads(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            started: (before.as_ref()).map_or_else(|| unix_time() as u64, |before| before.started),
            finished: None,
            classes: metadata.class_names.clone(),
            splits: images,
            monitor: session.config.train.monitor.name().to_owned(),
            ending: None,
            best_epoch: None,
            best_score: None,
            weights: None,
        };
        record.write(run.path())?;
        let finished = before.and_then(|before| before.finished);
        let ended = session.ending.and(finished);
        Ok(Self {
            record,
            ended: ended.map(|at| (at, session.reports.len())),
        })
    }

    /// Writes the record of a run that has ended; `None` if it has failed. A complete run that was only measured again
    /// keeps the time of its end. A record that cannot be written does not fail the run.
    pub(super) fn finish(self, run: &RunDir, outcome: Option<&Outcome>) {
        let best = outcome.and_then(|outcome| outcome.best.as_ref());
        let name = |weights: &Path| weights.file_name()?.to_str().map(str::to_owned);
        let epochs = outcome.map(|outcome| outcome.epochs.len());
        let is_same = |&(_, before): &(u64, usize)| epochs == Some(before);
        let finished = self.ended.filter(is_same).map(|(at, _)| at);
        let record = RunRecord {
            finished: Some(finished.unwrap_or_else(|| unix_time() as u64)),
            ending: outcome.map(|outcome| outcome.ending),
            best_epoch: best.map(|best| best.epoch),
            best_score: best.map(|best| best.score),
            weights: best.and_then(|best| name(&best.weights)),
            ..self.record
        };
        if let Err(error) = record.write(run.path()) {
            tracing::warn!("{}", mnist_data::with_causes(&error));
        }
    }
}

fn of_split(name: &str, samples: &[Sample], classes: usize) -> SplitRecord {
    let mut per_class = vec![0; classes];
    let mut checksum = Checksum::default();
    for sample in samples {
        if let Some(count) = per_class.get_mut(sample.label) {
            *count += 1;
        }
        checksum.text(sample.id());
        checksum.text(&sample.label.to_string());
    }
    SplitRecord {
        name: name.to_owned(),
        images: samples.len() as u64,
        per_class,
        fingerprint: checksum.finish(),
    }
}
