//! Schedules that depend only on time, computed with torch's closed-form formulas.

use std::f64::consts::PI;

use super::config::{
    Anneal, CosineConfig, ExponentialConfig, Interval, MultiStepConfig, OneCycleConfig,
    PolynomialConfig, SgdrConfig, StepConfig,
};

/// Progress and length of the part of a run after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Clock {
    /// Number of finished epochs.
    pub(super) epoch: usize,
    /// Total number of epochs, at least 1.
    pub(super) epochs: usize,
    /// Number of finished optimizer steps.
    pub(super) step: usize,
    /// Total number of optimizer steps, at least 1.
    pub(super) steps: usize,
    /// Number of optimizer steps in an epoch.
    pub(super) steps_per_epoch: usize,
}

impl StepConfig {
    pub(super) fn learning_rate(&self, base: f64, clock: Clock) -> f64 {
        base * power(self.gamma, clock.epoch / self.step_size)
    }
}

impl MultiStepConfig {
    pub(super) fn learning_rate(&self, base: f64, clock: Clock) -> f64 {
        let passed = self.milestones.partition_point(|&at| at <= clock.epoch);
        base * power(self.gamma, passed)
    }
}

impl CosineConfig {
    pub(super) fn learning_rate(&self, base: f64, clock: Clock) -> f64 {
        let (at, end) = self.interval.at(clock);
        half_cosine(base, self.eta_min, at, end)
    }
}

impl SgdrConfig {
    pub(super) fn learning_rate(&self, base: f64, clock: Clock) -> f64 {
        let (mut at, mut length) = match self.interval {
            Interval::Epoch => (clock.epoch, self.t_0),
            Interval::Step => (clock.step, self.t_0.saturating_mul(clock.steps_per_epoch)),
        };
        if self.t_mult == 1 {
            at %= length;
        }
        while at >= length {
            at -= length;
            length = length.saturating_mul(self.t_mult);
        }
        half_cosine(base, self.eta_min, at, length)
    }
}

impl OneCycleConfig {
    pub(super) fn learning_rate(&self, max: f64, clock: Clock) -> f64 {
        let initial = max / self.div_factor;
        let last = initial / self.final_div_factor;
        let (at, end) = (clock.step as f64, (clock.steps - 1) as f64);
        let rise = self.pct_start * clock.steps as f64;
        let (top, back) = (rise - 1.0, 2.0 * rise - 2.0);
        let (from, to, start, end) = if at <= top {
            (initial, max, 0.0, top)
        } else if !self.three_phase {
            (max, last, top, end)
        } else if at <= back {
            (max, initial, top, back)
        } else {
            (initial, last, back, end)
        };
        // If a phase has no steps (in a run of one or two steps), it is over at once.
        let share = if end > start {
            ((at - start) / (end - start)).min(1.0)
        } else {
            1.0
        };
        match self.anneal_strategy {
            Anneal::Cos => to + (from - to) / 2.0 * ((PI * share).cos() + 1.0),
            Anneal::Linear => (to - from) * share + from,
        }
    }
}

impl PolynomialConfig {
    pub(super) fn learning_rate(&self, base: f64, clock: Clock) -> f64 {
        let (at, end) = self.interval.at(clock);
        base * (1.0 - at as f64 / end as f64).powf(self.power)
    }
}

impl ExponentialConfig {
    pub(super) fn learning_rate(&self, base: f64, clock: Clock) -> f64 {
        base * power(self.gamma, clock.epoch)
    }
}

impl Interval {
    /// Progress and length of the run, in epochs or steps. The progress is never larger than the
    /// length.
    fn at(self, clock: Clock) -> (usize, usize) {
        let (at, end) = match self {
            Self::Epoch => (clock.epoch, clock.epochs),
            Self::Step => (clock.step, clock.steps),
        };
        (at.min(end), end)
    }
}

fn half_cosine(high: f64, low: f64, at: usize, length: usize) -> f64 {
    let turn = (PI * at as f64 / length as f64).cos();
    low + (high - low) * (1.0 + turn) / 2.0
}

fn power(base: f64, exponent: usize) -> f64 {
    base.powf(exponent as f64)
}
