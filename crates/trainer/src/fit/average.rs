//! The moving average of the weights, which is validated and saved beside them.

use mobilenet::{Parameters, Snapshot};
use optim::{Ema, EmaConfig};

use crate::Result;
use crate::checkpoint::Checkpoints;

/// Moving averages of the parameters and the running statistics, and the checkpoints of the best averages.
pub(super) struct Average {
    parameters: Ema,
    statistics: Ema,
    pub(super) checkpoints: Checkpoints,
    pub(super) best: Option<Snapshot>,
}

impl Average {
    pub(super) fn new(
        config: &EmaConfig,
        parameters: &Parameters,
        checkpoints: Checkpoints,
    ) -> Result<Self> {
        let (parameters, statistics) = parameters
            .read(|values, statistics| (Ema::new(config, values), Ema::new(config, statistics)))?;
        Ok(Self {
            parameters: parameters?,
            statistics: statistics?,
            checkpoints,
            best: None,
        })
    }

    /// Adds the network's state after a step.
    pub(super) fn update(&mut self, parameters: &Parameters) -> Result<()> {
        let updated = parameters.read(|values, statistics| {
            self.parameters.update(values)?;
            self.statistics.update(statistics)
        })?;
        Ok(updated?)
    }

    /// Replaces the network's weights by the average while `f` runs.
    pub(super) fn instead<R>(
        &self,
        parameters: &Parameters,
        f: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let own = parameters.snapshot()?;
        let average = (self.parameters.average(), self.statistics.average());
        parameters.set(average.0.to_vec(), average.1.to_vec())?;
        let result = f();
        parameters.restore(&own)?;
        result
    }
}
