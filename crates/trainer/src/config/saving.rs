//! When the state of a run is saved, and what happens if training diverges.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `train.save_every`: how often the state of a run is saved, besides the ends of epochs.
///
/// ```
/// use std::time::Duration;
/// use trainer::config::SaveEvery;
///
/// assert_eq!("5m".parse(), Ok(SaveEvery::Time(Duration::from_secs(300))));
/// assert_eq!("200 steps".parse(), Ok(SaveEvery::Steps(200)));
/// assert_eq!("none".parse(), Ok(SaveEvery::Never));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SaveEvery {
    /// Neither during an epoch nor after it: the run cannot be resumed.
    Never,
    /// After this many optimizer steps, once the save before is done, and after each epoch.
    Steps(u64),
    /// After this time and after each epoch. A save is put off if it would cost more than a hundredth of the time since
    /// the last one.
    Time(Duration),
}

/// The units of a time, longest suffix first.
const UNITS: [(&str, f64); 4] = [("min", 60.0), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Reads a time of at least a second, such as `90s`, `10m` or `1.5h`.
///
/// # Errors
///
/// The expected form in words.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let seconds = UNITS.into_iter().find_map(|(unit, seconds)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        Some(number * seconds)
    });
    let time = seconds.filter(|seconds| (1.0..=1e9).contains(seconds));
    time.map(Duration::from_secs_f64)
        .ok_or_else(|| "expected a time of at least a second, such as 90s, 10m or 2h".to_owned())
}

impl FromStr for SaveEvery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let word = text.trim().to_lowercase();
        if word == "none" {
            return Ok(Self::Never);
        }
        let number = word.strip_suffix("steps").or(word.strip_suffix("step"));
        let steps = number.and_then(|number| number.trim().parse().ok());
        if let Some(steps) = steps.filter(|steps| *steps > 0) {
            return Ok(Self::Steps(steps));
        }
        let time = parse_time(&word).map(Self::Time);
        time.map_err(|_| {
            "a time of at least a second such as \"5m\" or \"30s\", a number of steps such as \"200 steps\", or \"none\""
                .to_owned()
        })
    }
}

impl fmt::Display for SaveEvery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("none"),
            Self::Steps(1) => f.write_str("1 step"),
            Self::Steps(steps) => write!(f, "{steps} steps"),
            Self::Time(time) => {
                let seconds = time.as_secs_f64();
                match seconds % 60.0 == 0.0 {
                    true => write!(f, "{}m", seconds / 60.0),
                    false => write!(f, "{seconds}s"),
                }
            }
        }
    }
}

impl TryFrom<String> for SaveEvery {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SaveEvery> for String {
    fn from(every: SaveEvery) -> Self {
        every.to_string()
    }
}

/// `train.on_divergence`: what to do if a loss or a gradient is NaN or infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDivergence {
    /// Ends the run. `diverged.json` in its folder says where.
    #[default]
    Stop,
    /// Leaves out the batch. After [`MAX_SKIPPED`] batches in a row the run ends nevertheless.
    Skip,
}

/// The most batches in a row that [`OnDivergence::Skip`] leaves out.
pub const MAX_SKIPPED: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read_and_written_back() {
        for (text, every, written) in [
            ("5m", SaveEvery::Time(Duration::from_secs(300)), "5m"),
            ("300 s", SaveEvery::Time(Duration::from_secs(300)), "5m"),
            ("30s", SaveEvery::Time(Duration::from_secs(30)), "30s"),
            ("2h", SaveEvery::Time(Duration::from_secs(7200)), "120m"),
            ("200 steps", SaveEvery::Steps(200), "200 steps"),
            ("1 step", SaveEvery::Steps(1), "1 step"),
            ("7steps", SaveEvery::Steps(7), "7 steps"),
            ("None", SaveEvery::Never, "none"),
        ] {
            assert_eq!(text.parse(), Ok(every), "{text}");
            assert_eq!(every.to_string(), written);
            assert_eq!(written.parse(), Ok(every));
        }
        for text in [
            "", "5", "0 steps", "-1 steps", "steps", "0s", "0.1s", "nan m", "5 d",
        ] {
            assert!(text.parse::<SaveEvery>().is_err(), "{text}");
        }
    }
}
