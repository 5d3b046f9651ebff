//! The parts of an epoch's wall time.

use std::ops::AddAssign;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Seconds since 1970 (UTC); 0 if the clock is before.
pub fn unix_time() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// The parts of an epoch's wall time, in seconds.
///
/// A GPU works asynchronously: the program waits only when it needs a result. So the time of a backward pass and of an
/// optimizer's step may be counted as that of the next `forward`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochTimes {
    /// Time to wait for training images and move them to the device.
    pub data: f64,
    /// The forward passes of training: logits and loss.
    pub forward: f64,
    /// The backward passes: gradients.
    pub backward: f64,
    /// Gradient clipping and optimizer steps.
    pub optimizer: f64,
    /// The whole validation, including its images.
    pub validation: f64,
    /// All other time: training metrics and event sinks.
    pub other: f64,
}

impl EpochTimes {
    /// Each part's name and seconds, in the order of the fields.
    pub fn parts(&self) -> [(&'static str, f64); 6] {
        [
            ("data", self.data),
            ("forward", self.forward),
            ("backward", self.backward),
            ("optimizer", self.optimizer),
            ("validation", self.validation),
            ("other", self.other),
        ]
    }

    /// The sum of all parts.
    pub fn total(&self) -> f64 {
        self.parts().iter().map(|(_, seconds)| seconds).sum()
    }
}

/// The sum over several epochs.
impl AddAssign for EpochTimes {
    fn add_assign(&mut self, more: Self) {
        self.data += more.data;
        self.forward += more.forward;
        self.backward += more.backward;
        self.optimizer += more.optimizer;
        self.validation += more.validation;
        self.other += more.other;
    }
}

/// Measures the parts of an epoch. All time since the start belongs to one part, so the parts add up to the whole.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    last: Instant,
    times: EpochTimes,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self::after(EpochTimes::default())
    }

    /// A stopwatch that goes on after these times.
    pub(crate) fn after(times: EpochTimes) -> Self {
        Self {
            last: Instant::now(),
            times,
        }
    }

    /// Adds the time since the previous call, or since the start, to a part.
    pub(crate) fn lap(&mut self, part: impl FnOnce(&mut EpochTimes) -> &mut f64) {
        let now = Instant::now();
        *part(&mut self.times) += now.duration_since(self.last).as_secs_f64();
        self.last = now;
    }

    /// The times up to the last call of `lap`.
    pub(crate) fn times(&self) -> EpochTimes {
        self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_leave_out_no_moment() {
        let mut watch = Stopwatch::start();
        let started = watch.last;
        for _ in 0..100 {
            watch.lap(|times| &mut times.forward);
            watch.lap(|times| &mut times.backward);
            watch.lap(|times| &mut times.forward);
        }
        let (times, passed) = (watch.times(), watch.last - started);
        assert!((times.total() - passed.as_secs_f64()).abs() < 1e-9);
        assert_eq!(times.total(), times.forward + times.backward);
    }

    #[test]
    fn parts_are_all_fields_and_epochs_add_up() {
        let mut sum = EpochTimes::default();
        let one = EpochTimes {
            data: 1.0,
            forward: 2.0,
            backward: 4.0,
            optimizer: 8.0,
            validation: 16.0,
            other: 32.0,
        };
        sum += one;
        sum += one;
        assert_eq!(sum.total(), 126.0);
        let fields = serde_json::to_value(sum).unwrap();
        let fields = fields.as_object().unwrap();
        assert_eq!(fields.len(), sum.parts().len());
        for (name, seconds) in sum.parts() {
            assert_eq!(fields[name], seconds);
        }
    }
}
