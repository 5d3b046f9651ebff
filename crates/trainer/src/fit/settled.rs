//! Checks that batch normalisation gives similar results in inference and in training.

use super::Session;
use mnist_data::with_causes;

use crate::batch::Batch;
use crate::events::Event;
use crate::infer::score;
use crate::{Error, Result};

/// The number of training batches to repeat.
const BATCHES: usize = 4;

impl Session<'_> {
    /// Reports once if the running statistics of batch normalisation do not suit the weights.
    ///
    /// If validation accuracy is near chance, some training batches are repeated in inference. This excludes other
    /// causes of the low accuracy, such as few images.
    pub(super) fn check_statistics(
        &mut self,
        epoch: usize,
        training: f64,
        validation: f64,
    ) -> Result<()> {
        let classes = self.metadata.model.classes();
        if self.unsettled || !falls_short(training, validation, classes) {
            return Ok(());
        }
        let batches = self
            .batches(&self.train, None, epoch as u64, 0)
            .take(BATCHES);
        let batches = batches.map(|batch| {
            let batch = batch?;
            Ok(Batch {
                labels: batch.main_labels().to_vec(),
                ..batch
            })
        });
        let inference = match score(self.network.as_ref(), batches, false, None) {
            Ok(confusion) => confusion.accuracy(),
            Err(Error::Classifier(classifier::Error::NonFiniteAnswer { .. })) => 0.0,
            // This check must not fail the epoch.
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!("cannot check whether the running statistics have settled: {error}");
                return Ok(());
            }
        };
        if falls_short(training, inference, classes) {
            self.unsettled = true;
            self.sink.handle(&Event::StatisticsUnsettled {
                epoch,
                training,
                inference,
            })?;
        }
        Ok(())
    }
}

/// Whether the training accuracy is more than halfway from chance to 1, and `accuracy` less than halfway from chance to
/// the training accuracy.
fn falls_short(training: f64, accuracy: f64, classes: usize) -> bool {
    let chance = 1.0 / classes as f64;
    training > chance + (1.0 - chance) / 2.0 && accuracy < (chance + training) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accuracy_falls_short_where_training_is_good_and_it_is_near_chance() {
        for (training, accuracy, classes, expected) in [
            (1.0, 0.33, 3, true),
            (1.0, 0.7, 3, false),
            (0.95, 0.5, 2, true),
            (0.95, 0.8, 2, false),
            (0.58, 0.1, 10, true),
            (0.58, 0.4, 10, false),
            // Here the training accuracy itself is too low.
            (0.7, 0.4, 2, false),
            (0.6, 0.35, 3, false),
            (0.5, 0.1, 10, false),
        ] {
            assert_eq!(
                falls_short(training, accuracy, classes),
                expected,
                "{training} {accuracy} {classes}"
            );
        }
    }
}
