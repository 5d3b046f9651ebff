//! The section `[augment]` of a configuration.

use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{
    AffineConfig, AugmentConfig, ColorJitterConfig, FlipConfig, ResizedCropConfig, Written,
};
use crate::error::{Error, Result};

/// A set of operations to start from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// No changes.
    #[default]
    None,
    /// For handwritten digits: [`AffineConfig`]'s defaults. Nothing is ever mirrored.
    Digits,
    /// For photographs: crops of 35 to 100 % of the area, mirrored horizontally every second time, and
    /// [`ColorJitterConfig`]'s defaults.
    Photos,
}

impl From<Preset> for AugmentConfig {
    fn from(preset: Preset) -> Self {
        let nothing = Self::nothing(preset);
        match preset {
            Preset::None => nothing,
            Preset::Digits => Self {
                affine: Some(AffineConfig::default()),
                ..nothing
            },
            Preset::Photos => Self {
                resized_crop: Some(ResizedCropConfig {
                    scale: [0.35, 1.0],
                    ..ResizedCropConfig::default()
                }),
                horizontal_flip: Some(FlipConfig::default()),
                color_jitter: Some(ColorJitterConfig::default()),
                ..nothing
            },
        }
    }
}

impl Default for AugmentConfig {
    /// No changes.
    fn default() -> Self {
        Preset::None.into()
    }
}

impl AugmentConfig {
    /// Whether all operations are off, so every epoch has the same pixels.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let preset = self.preset;
        let nothing = Self::default();
        *self == Self { preset, ..nothing }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first key with an invalid value, or a flip on top of `digits`.
    pub fn validate(&self) -> Result<()> {
        for (setting, flip) in [
            ("augment.horizontal_flip", &self.horizontal_flip),
            ("augment.vertical_flip", &self.vertical_flip),
        ] {
            if flip.is_some() && self.preset == Preset::Digits {
                let problem = "is on with preset = \"digits\", where a mirrored image is another character or none, \
                               so that its label would be wrong; leave it out, or take preset = \"none\" and set affine";
                return Err(Error::Setting {
                    setting,
                    problem: problem.into(),
                });
            }
        }
        self.check_operations()
    }

    /// Every key: `preset`, and each operation as `false` or a whole table. It reads back as the same
    /// configuration, even if another version of this crate has other presets.
    #[must_use]
    pub fn explicit(&self) -> Map<String, Value> {
        let entry = |value: Value| match value {
            Value::Null => Value::Bool(false),
            on => on,
        };
        let written = self.written().into_iter();
        written
            .map(|(key, value)| (key.into(), entry(value)))
            .collect()
    }
}

impl Serialize for AugmentConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let preset = Self::from(self.preset).explicit();
        let mut written = self.explicit();
        written.retain(|key, value| key == "preset" || preset.get(key) != Some(value));
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AugmentConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Written::deserialize(deserializer)?.read()
    }
}

/// The operation after a key has changed the preset's.
pub(super) fn on_top<T, E>(
    key: &str,
    preset: Option<T>,
    written: Option<Value>,
) -> std::result::Result<Option<T>, E>
where
    T: Default + Serialize + DeserializeOwned,
    E: serde::de::Error,
{
    let table = match written {
        None => return Ok(preset),
        Some(Value::Bool(false)) => return Ok(None),
        Some(Value::Bool(true)) => return Ok(Some(preset.unwrap_or_default())),
        Some(Value::Object(table)) => table,
        Some(other) => {
            return Err(E::custom(format!(
                "{key}: found {other}, expected true, false or a table of settings"
            )));
        }
    };
    let mut operation = preset.unwrap_or_default();
    let mut settings = json(&operation);
    // One key at a time, so that an error names a known one.
    for (name, value) in table {
        let finite = is_finite(&value);
        let known = settings.get(&name).is_some();
        if let Value::Object(settings) = &mut settings {
            settings.insert(name.clone(), value);
        }
        operation = T::deserialize(&settings).map_err(|error| {
            E::custom(match (known, finite) {
                (false, _) => format!("{key}: {error}"),
                (true, false) => format!("{key}.{name}: found a number that is not finite"),
                (true, true) => format!("{key}.{name}: {error}"),
            })
        })?;
    }
    Ok(Some(operation))
}

/// Whether a value contains no null: JSON writes infinities and NaN as null.
fn is_finite(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(values) => values.iter().all(is_finite),
        _ => true,
    }
}

/// Settings as JSON, which never fails for them.
pub(super) fn json(settings: &impl Serialize) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// An error with a setting's value and its valid range.
pub(crate) fn require(
    holds: bool,
    setting: &'static str,
    found: impl Display,
    expected: &str,
) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::Setting {
            setting,
            problem: format!("found {found}, expected {expected}"),
        }),
    }
}

/// Requires `[smallest, largest]` shares of an area.
pub(crate) fn require_shares(setting: &'static str, shares: [f64; 2]) -> Result<()> {
    let [low, high] = shares;
    require(
        0.0 < low && low <= high && high <= 1.0,
        setting,
        format_args!("{shares:?}"),
        "[smallest, largest] above 0 to 1",
    )
}

/// Requires `[smallest, largest]` within bounds.
pub(crate) fn require_range(
    setting: &'static str,
    [low, high]: [f64; 2],
    [least, most]: [f64; 2],
) -> Result<()> {
    require(
        least <= low && low <= high && high <= most,
        setting,
        format_args!("[{low}, {high}]"),
        &format!("[smallest, largest] within {least} to {most}"),
    )
}
