//! The scales and ticks of an axis.

/// A linear or logarithmic scale from a range of values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) low: f64,
    pub(crate) high: f64,
    is_log: bool,
    /// The smallest distance of two ticks.
    least_step: f64,
}

impl Scale {
    /// A linear scale. An empty range is widened.
    pub(crate) fn linear(low: f64, high: f64) -> Self {
        let is_range = low.is_finite() && high.is_finite() && low < high;
        let (low, high) = match (is_range, low.is_finite()) {
            (true, _) => (low, high),
            (false, true) => (low - 0.5, low + 0.5),
            (false, false) => (0.0, 1.0),
        };
        Self {
            low,
            high,
            is_log: false,
            least_step: 0.0,
        }
    }

    /// A logarithmic scale of positive values.
    pub(crate) fn log(low: f64, high: f64) -> Self {
        let low = if low > 0.0 && low.is_finite() {
            low
        } else {
            1e-12
        };
        let high = if high.is_finite() {
            high.max(low * 1.01)
        } else {
            low * 10.0
        };
        Self {
            low,
            high,
            is_log: true,
            least_step: 0.0,
        }
    }

    /// A linear scale that holds all these values, with some room, and ends at ticks.
    pub(crate) fn around(values: impl Iterator<Item = f64>) -> Self {
        let values = values.filter(|value| value.is_finite());
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let scale = Self::linear(low, high);
        let step = step((scale.high - scale.low) / 5.0);
        Self {
            low: (scale.low / step).floor() * step,
            high: (scale.high / step).ceil() * step,
            is_log: false,
            least_step: 0.0,
        }
    }

    /// A scale of epochs, with ticks at whole numbers only. A single epoch stands in the middle.
    pub(crate) fn epochs(first: f64, last: f64) -> Self {
        let scale = match first < last {
            true => Self::linear(first, last),
            false => Self::linear(last - 1.0, last + 1.0),
        };
        Self {
            least_step: 1.0,
            ..scale
        }
    }

    /// The share of the axis before a value.
    pub(crate) fn share(&self, value: f64) -> f64 {
        match self.is_log {
            false => (value - self.low) / (self.high - self.low),
            true => (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln(),
        }
    }

    /// At most about `most` round values in the range, with their labels.
    pub(crate) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        match self.is_log {
            false => self.linear_ticks(most),
            true => self.log_ticks(most),
        }
    }

    fn linear_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let step = step((self.high - self.low) / most.max(1) as f64).max(self.least_step);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        let digits = (-step.log10().floor()).max(0.0) as usize;
        let of = |index: i64| {
            let value = index as f64 * step;
            (value, number(value, digits))
        };
        (first..=last).take(100).map(of).collect()
    }

    fn log_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let (first, last) = (
            self.low.log10().ceil() as i32,
            self.high.log10().floor() as i32,
        );
        let every = ((last - first + 1) as usize).div_ceil(most.max(1)).max(1);
        let powers = (first..=last).step_by(every);
        powers
            .map(|power| (10f64.powi(power), format!("1e{power}")))
            .collect()
    }
}

/// The value with these decimals; very small and large ones with an exponent.
fn number(value: f64, digits: usize) -> String {
    if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e6) {
        return format!("{value:.1e}");
    }
    format!("{value:.digits$}")
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least this large.
fn step(least: f64) -> f64 {
    let least = if least > 0.0 && least.is_finite() {
        least
    } else {
        1.0
    };
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps
        .into_iter()
        .find(|step| *step >= least * 0.999_999)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_scale() {
        let labels = |scale: Scale| -> Vec<String> {
            scale.ticks(5).into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(
            labels(Scale::linear(0.0, 1.0)),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            labels(Scale::linear(1.0, 6.0)),
            ["1", "2", "3", "4", "5", "6"]
        );
        assert_eq!(labels(Scale::epochs(1.0, 3.0)), ["1", "2", "3"]);
        assert_eq!(
            labels(Scale::log(1e-5, 0.1)),
            ["1e-5", "1e-4", "1e-3", "1e-2", "1e-1"]
        );
        assert_eq!(
            labels(Scale::around([0.03, 0.41].into_iter())),
            ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]
        );
    }

    #[test]
    fn odd_ranges_are_widened() {
        for scale in [
            Scale::linear(3.0, 3.0),
            Scale::linear(f64::NAN, 1.0),
            Scale::around(std::iter::empty()),
            Scale::log(0.0, f64::NAN),
        ] {
            assert!(scale.low < scale.high, "{scale:?}");
            assert!(scale.ticks(5).len() < 20);
            assert!(scale.share(scale.low).abs() < 1e-9);
        }
    }
}
