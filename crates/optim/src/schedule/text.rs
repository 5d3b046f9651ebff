//! Reads and writes schedules as a table, and reads them as a short text.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::config::{
    Interval, LrScheduleConfig, MultiStepConfig, PlateauConfig, SgdrConfig, StepConfig,
};
use crate::error::{Error, require};

const FORMS: &str = "\"constant\", \"default-0.1-3\" (plateau: factor, patience), \"step-4-0.8\" (step_size, gamma), \"SGDR-5-2\" (t_0, t_mult), \"multi-10,20-0.1\" (milestones, gamma), or a table with a type";

impl FromStr for LrScheduleConfig {
    type Err = Error;

    /// Parses the short form of a schedule:
    ///
    /// | text              | schedule |
    /// |-------------------|----------|
    /// | `constant`        | the base rate during the whole run |
    /// | `default-0.1-3`   | plateau: factor 0.1, patience 3, lowest rate 1e-6 |
    /// | `step-4-0.8`      | step: multiplied by 0.8 every 4 epochs |
    /// | `SGDR-5-2`        | sgdr: a cycle of 5 epochs, then each cycle is twice as long |
    /// | `multi-10,20-0.1` | multi_step: multiplied by 0.1 after 10 and after 20 epochs |
    ///
    /// Letter case does not matter. Factors may be written with an exponent, as in `default-1e-1-3`.
    ///
    /// ```
    /// use optim::LrScheduleConfig;
    ///
    /// let schedule: LrScheduleConfig = "step-4-0.8".parse()?;
    /// assert_eq!(schedule.name(), "step");
    /// # Ok::<(), optim::Error>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, Error> {
        let schedule = parse(text);
        require(schedule.is_some(), "schedule", "type", text, FORMS)?;
        let schedule = schedule.unwrap_or_default();
        schedule.validate()?;
        Ok(schedule)
    }
}

fn parse(text: &str) -> Option<LrScheduleConfig> {
    if text.eq_ignore_ascii_case("constant") {
        return Some(LrScheduleConfig::Constant);
    }
    let [kind, first, second] = parts(text)[..] else {
        return None;
    };
    Some(match &kind.to_ascii_lowercase()[..] {
        "default" => LrScheduleConfig::Plateau(PlateauConfig {
            factor: first.parse().ok()?,
            patience: second.parse().ok()?,
            min_lr: 1e-6,
            ..PlateauConfig::default()
        }),
        "step" => LrScheduleConfig::Step(StepConfig {
            step_size: first.parse().ok()?,
            gamma: second.parse().ok()?,
        }),
        "sgdr" => LrScheduleConfig::Sgdr(SgdrConfig {
            t_0: first.parse().ok()?,
            t_mult: second.parse().ok()?,
            eta_min: 0.0,
            interval: Interval::Epoch,
        }),
        "multi" => LrScheduleConfig::MultiStep(MultiStepConfig {
            milestones: first
                .split(',')
                .map(|milestone| milestone.trim().parse().ok())
                .collect::<Option<_>>()?,
            gamma: second.parse().ok()?,
        }),
        _ => return None,
    })
}

/// Splits a text at its dashes, except at a dash in an exponent, as in `1e-1`.
fn parts(text: &str) -> Vec<&str> {
    let is_exponent = |before: &str| {
        let number = before.strip_suffix(['e', 'E']);
        number.is_some_and(|number| number.ends_with(|c: char| c.is_ascii_digit() || c == '.'))
    };
    let (mut parts, mut start) = (Vec::new(), 0);
    for (dash, _) in text.match_indices('-') {
        if !is_exponent(&text[..dash]) {
            parts.push(&text[start..dash]);
            start = dash + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Writes a schedule as a table.
impl Serialize for LrScheduleConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Calls the type's derived function, not this trait method.
        LrScheduleConfig::serialize(self, serializer)
    }
}

/// Reads a schedule from a table, or from a text as `from_str` does.
impl<'de> Deserialize<'de> for LrScheduleConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TableOrText)
    }
}

struct TableOrText;

impl<'de> Visitor<'de> for TableOrText {
    type Value = LrScheduleConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a schedule: {FORMS}")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<LrScheduleConfig, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LrScheduleConfig, A::Error> {
        LrScheduleConfig::deserialize(MapAccessDeserializer::new(map))
    }
}
