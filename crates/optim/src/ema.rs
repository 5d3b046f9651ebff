//! Exponential moving average of weights.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, require};
use crate::pass::GRAIN;

/// Settings of an [`Ema`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmaConfig {
    /// Weight of the old average in each update; `0 <= decay < 1`.
    pub decay: f64,
    /// Whether to start with a smaller decay: in update n it is at most `(1 + n) / (10 + n)`.
    pub warmup: bool,
}

impl Default for EmaConfig {
    /// The default: 0.999, with warm-up.
    fn default() -> Self {
        Self {
            decay: 0.999,
            warmup: true,
        }
    }
}

impl EmaConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] if the decay is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let ok = (0.0..1.0).contains(&self.decay);
        require(ok, "ema", "decay", self.decay, "0 <= decay < 1")
    }
}

/// The exponential moving average of the weights over the training steps (Polyak and Juditsky,
/// 1992; `torch.optim.swa_utils.get_ema_multi_avg_fn`, with TensorFlow's warm-up).
///
/// ```
/// use optim::{Ema, EmaConfig};
///
/// let mut ema = Ema::new(&EmaConfig { decay: 0.5, warmup: false }, &[0.0, 4.0])?;
/// ema.update(&[2.0, 0.0])?;
/// assert_eq!(ema.average(), [1.0, 2.0]);
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ema {
    config: EmaConfig,
    updates: u64,
    average: Vec<f32>,
}

/// The complete saved state of an [`Ema`].
#[derive(Debug, Clone, PartialEq)]
pub struct EmaState {
    /// Number of updates so far.
    pub updates: u64,
    /// The average.
    pub average: Vec<f32>,
}

impl Ema {
    /// Creates an average that starts at `values`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the decay is out of range.
    pub fn new(config: &EmaConfig, values: &[f32]) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            config: config.clone(),
            updates: 0,
            average: values.to_vec(),
        })
    }

    /// Updates the average with the values after a step, in one parallel pass. The result has the
    /// same bits for any number of threads.
    ///
    /// # Errors
    /// [`Error::Length`] if the number of values has changed since the start.
    pub fn update(&mut self, values: &[f32]) -> Result<(), Error> {
        self.check_length(values.len())?;
        let weight = self.advance();
        let chunks = self.average.par_chunks_mut(GRAIN);
        chunks
            .zip(values.par_chunks(GRAIN))
            .for_each(|(average, values)| {
                for (average, value) in average.iter_mut().zip(values) {
                    *average += weight * (value - *average);
                }
            });
        Ok(())
    }

    /// Counts an update whose values lie elsewhere, for example on a GPU. Returns `weight`: the update of each value is
    /// `average += weight * (value - average)`.
    pub fn advance(&mut self) -> f32 {
        self.updates = self.updates.saturating_add(1);
        let steps = self.updates as f64;
        let decay = match self.config.warmup {
            true => self.config.decay.min((1.0 + steps) / (10.0 + steps)),
            false => self.config.decay,
        };
        (1.0 - decay) as f32
    }

    /// Number of updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The average so far.
    pub fn average(&self) -> &[f32] {
        &self.average
    }

    /// The average so far, to be overwritten with one that was updated elsewhere.
    pub fn average_mut(&mut self) -> &mut [f32] {
        &mut self.average
    }

    /// A copy of the complete state.
    pub fn state(&self) -> EmaState {
        EmaState {
            updates: self.updates,
            average: self.average.clone(),
        }
    }

    /// Restores a saved state.
    ///
    /// # Errors
    /// [`Error::Length`] if the state has a different number of values. Nothing has changed then.
    pub fn load_state(&mut self, state: EmaState) -> Result<(), Error> {
        self.check_length(state.average.len())?;
        self.updates = state.updates;
        self.average = state.average;
        Ok(())
    }

    fn check_length(&self, found: usize) -> Result<(), Error> {
        if found == self.average.len() {
            return Ok(());
        }
        Err(Error::Length {
            what: "averaged values".to_owned(),
            expected: self.average.len(),
            found,
        })
    }
}
