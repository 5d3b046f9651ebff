//! Dynamic loss scaling for f16.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, is_positive, require};
use crate::pass::GRAIN;

/// Settings of a [`LossScaler`]; the defaults are torch's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossScalerConfig {
    /// The first scale. It must be above zero, and not below f32's smallest normal number.
    pub init_scale: f64,
    /// Factor by which the scale grows after `growth_interval` good steps; above 1.
    pub growth_factor: f64,
    /// Factor by which the scale shrinks after a step with a non-finite gradient; between 0 and 1.
    pub backoff_factor: f64,
    /// Number of consecutive good steps before the scale grows; above zero.
    pub growth_interval: u32,
}

impl Default for LossScalerConfig {
    fn default() -> Self {
        Self {
            init_scale: 65536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
        }
    }
}

impl LossScalerConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first value that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let section = "loss scale";
        let (init, growth, backoff) = (self.init_scale, self.growth_factor, self.backoff_factor);
        let ok = is_scale(init as f32);
        let expected = "a number that f32 can hold, from 1.2e-38 on";
        require(ok, section, "init_scale", init, expected)?;
        let ok = is_positive(growth) && growth > 1.0;
        require(ok, section, "growth_factor", growth, "a finite number > 1")?;
        let ok = is_positive(backoff) && backoff < 1.0;
        require(ok, section, "backoff_factor", backoff, "0 < factor < 1")?;
        let interval = self.growth_interval;
        require(
            interval > 0,
            section,
            "growth_interval",
            interval,
            "at least 1",
        )
    }
}

/// Dynamic loss scaling (Micikevicius et al., 2018; `torch.amp.GradScaler`).
///
/// Numbers below 6e-8 are zero in f16, and many gradients are that small. So the loss is multiplied
/// by [`scale`](LossScaler::scale) before the backward pass, and the gradient is divided by the
/// scale afterwards. If the gradient overflows, the step is skipped and the scale shrinks. After
/// many good steps the scale grows.
///
/// ```
/// use optim::{LossScaler, LossScalerConfig};
///
/// let mut scaler = LossScaler::new(&LossScalerConfig::default())?;
/// let mut gradient = [65536.0, -131072.0]; // of the loss times 65536
/// assert!(scaler.unscale(&mut gradient)?);
/// assert_eq!(gradient, [1.0, -2.0]);
///
/// assert!(!scaler.unscale(&mut [f32::INFINITY, 0.0])?); // skip this step
/// assert_eq!(scaler.scale(), 32768.0);
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LossScaler {
    config: LossScalerConfig,
    state: LossScalerState,
}

/// The complete state of a [`LossScaler`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScalerState {
    /// The scale for the next step.
    pub scale: f32,
    /// Number of good steps since the last change of the scale.
    pub good_steps: u32,
}

impl LossScaler {
    /// If a gradient is not finite below this scale, the scale is not the cause.
    const LEAST: f32 = 1.0 / 65536.0;

    /// Creates a scaler.
    ///
    /// # Errors
    /// [`Error::Setting`] if a setting is out of range.
    pub fn new(config: &LossScalerConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            config: config.clone(),
            state: LossScalerState {
                scale: config.init_scale as f32,
                good_steps: 0,
            },
        })
    }

    /// The factor for the loss of the next step.
    pub fn scale(&self) -> f32 {
        self.state.scale
    }

    /// Divides the gradient of a scaled loss by the scale, and updates the scale. Returns false if
    /// the gradient is not finite; the caller must then skip the step.
    ///
    /// Call this once per step: after the gradients of all batches are accumulated, and before the
    /// gradient is clipped.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if the gradient is not finite even at the smallest scale.
    pub fn unscale(&mut self, gradient: &mut [f32]) -> Result<bool, Error> {
        let factor = self.factor();
        let finite = gradient
            .par_chunks_mut(GRAIN)
            .map(|chunk| {
                let finite = chunk.iter().all(|value| value.is_finite());
                chunk.iter_mut().for_each(|value| *value *= factor);
                finite
            })
            .reduce(|| true, |a, b| a && b);
        self.advance(finite)?;
        Ok(finite)
    }

    /// What [`LossScaler::unscale`] multiplies a gradient by.
    pub fn factor(&self) -> f32 {
        (1.0 / f64::from(self.state.scale)) as f32
    }

    /// Updates the scale after a step whose gradient lies elsewhere, for example on a GPU. `finite` is whether the scaled
    /// gradient is finite; if not, the caller must skip the step.
    ///
    /// # Errors
    /// As [`LossScaler::unscale`].
    pub fn advance(&mut self, finite: bool) -> Result<(), Error> {
        let scale = self.state.scale;
        if !finite && scale < Self::LEAST {
            return Err(Error::NotFinite { scale });
        }
        self.state = self.next(finite);
        Ok(())
    }

    /// The state after a step, as in torch's `_amp_update_scale_`. The scale never exceeds f32's
    /// range.
    fn next(&self, finite: bool) -> LossScalerState {
        let LossScalerState { scale, good_steps } = self.state;
        let times = |factor: f64| (f64::from(scale) * factor) as f32;
        if !finite {
            return LossScalerState {
                scale: times(self.config.backoff_factor).max(f32::MIN_POSITIVE),
                good_steps: 0,
            };
        }
        // A loaded state may contain the largest possible count.
        let good_steps = good_steps.saturating_add(1);
        if good_steps < self.config.growth_interval {
            return LossScalerState { scale, good_steps };
        }
        let grown = times(self.config.growth_factor);
        LossScalerState {
            scale: if grown.is_finite() { grown } else { scale },
            good_steps: 0,
        }
    }

    /// A copy of the complete state.
    pub fn state(&self) -> LossScalerState {
        self.state
    }

    /// Restores a saved state.
    ///
    /// # Errors
    /// [`Error::State`] if the state's scale is not valid. Nothing has changed then.
    pub fn load_state(&mut self, state: LossScalerState) -> Result<(), Error> {
        if !is_scale(state.scale) {
            return Err(Error::State(format!(
                "its loss scale is {:e}, expected a finite number from 1.2e-38 on",
                state.scale
            )));
        }
        self.state = state;
        Ok(())
    }
}

/// Whether a value can be a scale: positive, and with a finite inverse.
fn is_scale(value: f32) -> bool {
    value.is_normal() && value > 0.0
}
