//! The results of a run so far: its best weights, and the images that were left out.

use std::path::PathBuf;
use std::sync::Arc;

use mobilenet::Snapshot;
use mobilenet::weights;

use super::Session;
use crate::checkpoint::Best;
use crate::events::{Event, Unreadable};
use crate::infer::unreadable;
use crate::{Error, Result};

impl Session<'_> {
    /// Returns an error if the last attempt to write the best weights failed. If the file of the best weights was
    /// deleted meanwhile, it is written again.
    pub(super) fn check_written(&self, best: &Best, last_try: Vec<Event>) -> Result<()> {
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
    pub(super) fn kept(&self) -> Option<PathBuf> {
        let best = self.best().map(|(best, _)| best);
        self.tracks.kept(best.as_ref())
    }

    /// The best weights of the run: the network's own or an average.
    pub(super) fn best(&self) -> Option<(Best, Arc<Snapshot>)> {
        let best = self.tracks.best(self.config.train.monitor, self.val.len());
        best.map(|(best, snapshot)| (best, Arc::clone(snapshot)))
    }

    /// The images left out so far.
    pub(super) fn unreadable(&self) -> Unreadable {
        let names = &self.metadata.class_names;
        let [train, val] = [&self.train, &self.val].map(|loader| unreadable(loader, names));
        Unreadable { train, val }
    }

    pub(super) fn report_skipped(&mut self, count: usize) -> Result<()> {
        if count > self.skipped {
            self.skipped = count;
            self.sink.handle(&Event::ImagesSkipped { count })?;
        }
        Ok(())
    }
}
