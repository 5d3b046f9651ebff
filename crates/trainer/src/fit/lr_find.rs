//! The learning-rate range test: Smith, 2017.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Session;
use super::begin::Begun;
use crate::config::{ConfigError, OnDivergence, RunConfig};
use crate::events::{Event, EventSink};
use crate::table::Table;
use crate::{Error, Result, RunDir, Splits};

/// The range of learning rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrRange {
    /// The first rate.
    pub from: f64,
    /// The last rate. If the loss diverges, the test ends earlier.
    pub to: f64,
    /// The number of optimizer steps.
    pub steps: usize,
}

impl Default for LrRange {
    /// 100 steps, with rates from 1e-7 to 1.
    fn default() -> Self {
        Self {
            from: 1e-7,
            to: 1.0,
            steps: 100,
        }
    }
}

/// One step of a range test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrPoint {
    /// The step's learning rate.
    pub learning_rate: f64,
    /// The mean loss of the step's batch.
    pub loss: f64,
    /// The exponential moving average of the losses so far, without the bias of its initial 0.
    pub smoothed: f64,
}

/// The result of a range test: the loss by learning rate.
#[derive(Clone, Debug, PartialEq)]
pub struct LrCurve {
    /// Every step, the rates ascending.
    pub points: Vec<LrPoint>,
}

/// The share of earlier losses in the moving average.
const SMOOTHING: f64 = 0.95;
/// The test ends when the smoothed loss exceeds the smallest one by this factor.
const DIVERGED: f64 = 4.0;
/// The number of steps before the test may end or suggest a rate. Until then the average is too noisy.
const SETTLING: usize = 10;
/// The most steps of a test.
const MAX_STEPS: usize = 1_000_000;

impl LrCurve {
    fn push(&mut self, learning_rate: f64, loss: f64) {
        let steps = self.points.len() as i32;
        let before = self
            .points
            .last()
            .map_or(0.0, |last| last.smoothed * (1.0 - SMOOTHING.powi(steps)));
        let average = SMOOTHING * before + (1.0 - SMOOTHING) * loss;
        self.points.push(LrPoint {
            learning_rate,
            loss,
            smoothed: average / (1.0 - SMOOTHING.powi(steps + 1)),
        });
    }

    fn diverged(&self) -> bool {
        let smallest = self.points.iter().map(|point| point.smoothed);
        let smallest = smallest.fold(f64::INFINITY, f64::min);
        self.points.len() > SETTLING
            && self
                .points
                .last()
                .is_some_and(|last| last.smoothed > DIVERGED * smallest)
    }

    /// The suggested rate: where the smoothed loss, plotted over the logarithm of the rate, falls most steeply before
    /// its minimum. `None` if the loss never falls.
    pub fn suggestion(&self) -> Option<f64> {
        let settled = self.points.get(SETTLING..)?;
        let smoothed = |point: &LrPoint| point.smoothed;
        let lowest = (0..settled.len())
            .min_by(|&a, &b| smoothed(&settled[a]).total_cmp(&smoothed(&settled[b])))?;
        let steepest = settled[..=lowest].windows(2).min_by(|a, b| {
            let fall = |pair: &[LrPoint]| pair[1].smoothed - pair[0].smoothed;
            fall(a).total_cmp(&fall(b))
        })?;
        // Rounding errors alone do not count as a fall.
        let falls = steepest[1].smoothed < steepest[0].smoothed * (1.0 - 1e-9);
        falls.then_some(steepest[1].learning_rate)
    }

    /// Writes `learning_rate,loss,smoothed_loss`, one row per step, atomically.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let mut table = Table::create(path, ["learning_rate", "loss", "smoothed_loss"])?;
        for point in &self.points {
            let row = [point.learning_rate, point.loss, point.smoothed];
            let row = row.map(|value| format!("{value:e}"));
            table.row(row.each_ref().map(String::as_str))?;
        }
        table.finish()
    }
}

/// Trains with a rate that grows exponentially from step to step, and with all other settings as configured. Records
/// the losses. The trained weights are discarded.
///
/// Setting `interrupt` ends the test and returns the curve so far.
///
/// # Errors
///
/// The errors of [`fit`](super::fit). But after the first steps, a loss that is not finite is no error: it ends the
/// test.
pub fn find_learning_rate(
    config: &RunConfig,
    range: LrRange,
    splits: &Splits,
    run: &RunDir,
    sink: &mut dyn EventSink,
    interrupt: &AtomicBool,
) -> Result<LrCurve> {
    let LrRange { from, to, steps } = range;
    let counts = steps > SETTLING && steps <= MAX_STEPS;
    let fits = from > 0.0 && from < to && to.is_finite() && counts;
    if !fits {
        return Err(ConfigError::Invalid {
            key: "range of learning rates",
            found: format!("{from:e} to {to:e} in {steps} steps"),
            expected: format!("0 < from < to and more than {SETTLING} steps, at most {MAX_STEPS}"),
        }
        .into());
    }
    let (mut config, begun) = Begun::new(config, &splits.class_names(), None)?;
    // Where the loss grows without bounds, the test is over.
    config.train.on_divergence = OnDivergence::Stop;
    let config = &config;
    let mut session = Session::new(config, begun, splits, run, None, sink, interrupt)?;
    let frozen = session.freeze(1)?;
    let mut curve = LrCurve { points: Vec::new() };
    let growth = (to / from).powf(1.0 / (steps - 1) as f64);
    let per_step = config.train.accumulate_batches;
    session.sink.handle(&Event::EpochStarted {
        epoch: 1,
        batches: steps * per_step,
        done: 0,
    })?;
    let (mut batch_number, mut losses) = (0, Vec::with_capacity(per_step));
    let mut epoch = 0;
    while curve.points.len() < steps && !curve.diverged() {
        epoch += 1;
        let seen = batch_number;
        for batch in session.batches(&session.train, None, epoch, 0) {
            if interrupt.load(Ordering::Relaxed) {
                return Ok(curve);
            }
            let batch = batch?;
            if !session.teaches(&batch)? {
                continue;
            }
            let rate = from * growth.powi(curve.points.len() as i32);
            session.stepper.set_learning_rate(rate);
            batch_number += 1;
            match session.train_batch(&batch, frozen) {
                Ok(loss) => losses.push(loss),
                Err(Error::NonFiniteLoss { .. }) if curve.points.len() > SETTLING => {
                    return Ok(curve);
                }
                Err(error) => return Err(error),
            }
            session.sink.handle(&Event::BatchDone {
                epoch: 1,
                batch: batch_number,
                images: batch.labels.len(),
                loss: losses[losses.len() - 1],
                images_done: session.progress.confusion.total(),
                running_loss: session.progress.confusion.mean_loss(),
                running_accuracy: session.progress.confusion.accuracy(),
                learning_rate: rate,
            })?;
            if losses.len() == per_step {
                curve.push(rate, losses.iter().sum::<f64>() / per_step as f64);
                losses.clear();
            }
            if curve.points.len() == steps || curve.diverged() {
                break;
            }
        }
        if seen == batch_number {
            return Err(session.no_batches());
        }
    }
    Ok(curve)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: impl IntoIterator<Item = f64>) -> LrCurve {
        let mut curve = LrCurve { points: Vec::new() };
        for (step, loss) in losses.into_iter().enumerate() {
            curve.push(10f64.powf(step as f64 / 10.0 - 5.0), loss);
        }
        curve
    }

    #[test]
    fn the_average_of_equal_losses_is_that_loss() {
        let curve = curve([2.0; 30]);
        assert!(
            curve
                .points
                .iter()
                .all(|p| (p.smoothed - 2.0).abs() < 1e-12)
        );
        assert_eq!(curve.suggestion(), None);
    }

    #[test]
    fn the_suggestion_is_where_the_loss_falls() {
        // The loss is constant, falls between rates of 1e-3 and 1e-2, then rises.
        let losses = (0..70).map(|step| match step {
            0..20 => 2.3,
            20..30 => 2.3 - 0.2 * f64::from(step - 20),
            30..50 => 0.3,
            _ => 0.3 * 1.5f64.powi(step - 50),
        });
        let curve = curve(losses);
        let suggestion = curve.suggestion().unwrap();
        assert!((1e-3..2e-2).contains(&suggestion), "{suggestion}");
        assert!(curve.diverged());
    }
}
