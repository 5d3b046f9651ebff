//! Losses and gradients that are not finite.

use mobilenet::StatisticsSnapshot;
use serde::Serialize;

use super::Session;
use crate::config::{MAX_SKIPPED, OnDivergence};
use crate::state::Place;
use crate::table::write_json;
use crate::{Error, Result};

/// The file in the folder of the run.
const FILE: &str = "diverged.json";

/// The contents of `diverged.json`: where training diverged. Numbers are texts, since JSON has no NaN.
#[derive(Serialize)]
struct Diverged {
    epoch: usize,
    /// The batch within the epoch, from 1.
    batch: usize,
    /// The number of optimizer steps before.
    steps: u64,
    learning_rate: f64,
    /// The batch's loss; absent if the weights were found not to be finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<String>,
    /// The ids of the batch's images.
    images: Vec<String>,
    /// The largest gradient of the last backward pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    largest_gradient: Option<Largest>,
}

#[derive(Serialize)]
struct Largest {
    /// The name of the parameter with the largest gradient.
    parameter: String,
    value: String,
    epoch: usize,
    batch: usize,
    /// The ids of the images of that batch.
    images: Vec<String>,
}

/// The number of a batch that is not finite.
#[derive(Clone, Copy, Debug)]
pub(super) enum NonFinite {
    /// The loss, or a logit.
    Loss(f64),
    /// The gradient. The loss is finite.
    Gradient { loss: f64 },
}

impl NonFinite {
    fn loss(self) -> f64 {
        match self {
            Self::Loss(loss) | Self::Gradient { loss } => loss,
        }
    }
}

pub(super) fn are_finite(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}

impl Session<'_> {
    /// Handles a batch, numbered from 0, whose loss or gradient is not finite: leaves it out, or ends the run. Returns
    /// its loss.
    pub(super) fn diverged(
        &mut self,
        number: usize,
        cause: NonFinite,
        statistics: Option<StatisticsSnapshot>,
    ) -> Result<f64> {
        let (epoch, batch) = (self.place.epoch, number + 1);
        self.left_out_in_a_row += 1;
        self.last_divergence = Some(cause);
        let skips = self.config.train.on_divergence == OnDivergence::Skip;
        if skips && self.left_out_in_a_row <= MAX_SKIPPED {
            // The forward pass may have put NaN into the running statistics.
            if let Some(statistics) = statistics {
                self.network.parameters().restore_statistics(&statistics)?;
            }
            tracing::warn!(
                "epoch {epoch}, batch {batch}: its loss or gradient is not finite; the batch is left out"
            );
            self.torn = false;
            return Ok(cause.loss());
        }
        self.place.batch = batch;
        Err(self.divergence(cause))
    }

    /// The error for a batch that is not finite, the last one before the place of the run.
    pub(super) fn divergence(&self, cause: NonFinite) -> Error {
        let Place { epoch, batch } = self.place;
        if let Err(error) = self.write_diverged(Some(cause.loss())) {
            return error;
        }
        match cause {
            NonFinite::Loss(loss) => Error::NonFiniteLoss {
                epoch,
                batch,
                loss,
                best: None,
            },
            NonFinite::Gradient { .. } => Error::NonFiniteGradient {
                epoch,
                batch,
                best: None,
            },
        }
    }

    /// Writes `diverged.json` into the folder of a run. If it cannot be written, a warning says so.
    pub(super) fn write_diverged(&self, loss: Option<f64>) -> Result<()> {
        if !self.is_run {
            return Ok(());
        }
        let largest_gradient = match self.last_gradient {
            Some(place) => self.largest_gradient()?.map(|(parameter, value)| Largest {
                parameter,
                value: value.to_string(),
                epoch: place.epoch,
                batch: place.batch,
                images: self.ids(place),
            }),
            None => None,
        };
        let diverged = Diverged {
            epoch: self.place.epoch,
            batch: self.place.batch,
            steps: self.steps,
            learning_rate: self.stepper.learning_rate(),
            loss: loss.map(|loss| loss.to_string()),
            images: self.ids(self.place),
            largest_gradient,
        };
        let path = self.run_dir.join(FILE);
        if let Err(error) = write_json(&path, &diverged) {
            tracing::warn!("{}", mnist_data::with_causes(&error));
        }
        Ok(())
    }

    /// The ids of the images of the batch before this place.
    fn ids(&self, place: Place) -> Vec<String> {
        let size = self.train.options().batch_size;
        let order = self.train.order(place.epoch as u64);
        let unreadable: Vec<usize> = self
            .train
            .left_out()
            .into_iter()
            .map(|(index, _)| index)
            .collect();
        let batch = order
            .chunks(size)
            .nth(place.batch.saturating_sub(1))
            .unwrap_or_default();
        let readable = batch.iter().filter(|index| !unreadable.contains(index));
        readable
            .map(|&index| self.train.samples()[index].id().to_owned())
            .collect()
    }

    pub(super) fn gradient_is_finite(&self) -> Result<bool> {
        Ok(self.network.parameters().gradient_is_finite()?)
    }

    /// The parameter with the largest gradient of the last backward pass. NaN is larger than any number.
    fn largest_gradient(&self) -> Result<Option<(String, f32)>> {
        let parameters = self.network.parameters();
        let size = |value: f32| {
            if value.is_nan() {
                f32::INFINITY
            } else {
                value.abs()
            }
        };
        let largest = parameters.read_gradient(|gradient| {
            let segments = parameters.segments().iter();
            let largest = segments.filter_map(|segment| {
                let values = gradient[segment.range.clone()].iter().copied();
                let largest = values.max_by(|a, b| size(*a).total_cmp(&size(*b)))?;
                Some((segment, largest))
            });
            let largest = largest.reduce(|a, b| if size(b.1) > size(a.1) { b } else { a });
            largest.map(|(segment, value)| (segment.name.clone(), value))
        })?;
        Ok(largest)
    }
}
