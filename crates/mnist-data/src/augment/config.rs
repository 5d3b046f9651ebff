//! The section `[augment]` of a configuration.

use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{
    AffineConfig, ColorJitterConfig, ElasticConfig, ErasingConfig, FlipConfig, RandAugmentConfig,
    ResizedCropConfig,
};
use crate::error::{Error, Result};

/// The random changes of an epoch's images, in the order of the fields.
///
/// In a configuration file, the operations start as in `preset`. Each further key changes one operation: `false`
/// switches it off, `true` switches it on, and a table switches it on and sets some of its keys. Missing keys of the
/// table come from the preset's operation, or else from the operation's defaults. The serialised form has the preset
/// and the differences from it, so that higher layers of configuration can change both.
/// [`AugmentConfig::explicit`] writes everything.
///
/// ```
/// use mnist_data::{AugmentConfig, Preset};
///
/// let config: AugmentConfig = serde_json::from_str(
///     r#"{ "preset": "digits", "affine": { "degrees": 15 }, "elastic": true }"#,
/// )?;
/// config.validate()?;
/// let affine = config.affine.ok_or("is on")?;
/// assert_eq!((affine.degrees, affine.scale), (15.0, [0.92, 1.08]));
///
/// assert_eq!(AugmentConfig::default(), AugmentConfig::from(Preset::None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AugmentConfig {
    /// The preset it started from.
    pub preset: Preset,
    /// A crop of the image, enlarged to full size.
    pub resized_crop: Option<ResizedCropConfig>,
    /// Left and right exchanged.
    pub horizontal_flip: Option<FlipConfig>,
    /// Top and bottom exchanged.
    pub vertical_flip: Option<FlipConfig>,
    /// Rotation, scale, shear and shift.
    pub affine: Option<AffineConfig>,
    /// A smooth random distortion.
    pub elastic: Option<ElasticConfig>,
    /// Operations from a fixed list.
    pub rand_augment: Option<RandAugmentConfig>,
    /// Brightness, contrast, saturation and hue.
    pub color_jitter: Option<ColorJitterConfig>,
    /// An erased rectangle.
    pub erasing: Option<ErasingConfig>,
}

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
        let nothing = Self {
            preset,
            resized_crop: None,
            horizontal_flip: None,
            vertical_flip: None,
            affine: None,
            elastic: None,
            rand_augment: None,
            color_jitter: None,
            erasing: None,
        };
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
        for (key, setting, flip) in [
            (
                "augment.horizontal_flip",
                "augment.horizontal_flip.p",
                &self.horizontal_flip,
            ),
            (
                "augment.vertical_flip",
                "augment.vertical_flip.p",
                &self.vertical_flip,
            ),
        ] {
            if flip.is_some() && self.preset == Preset::Digits {
                let problem = "is on with preset = \"digits\", where a mirrored image is another character or none, \
                               so that its label would be wrong; leave it out, or take preset = \"none\" and set affine";
                return Err(Error::Setting {
                    setting: key,
                    problem: problem.into(),
                });
            }
            flip.as_ref()
                .map_or(Ok(()), |flip| flip.validate(setting))?;
        }
        let Self {
            resized_crop,
            affine,
            elastic,
            rand_augment,
            color_jitter,
            erasing,
            ..
        } = self;
        fn checked<T>(operation: &Option<T>, check: fn(&T) -> Result<()>) -> Result<()> {
            operation.as_ref().map_or(Ok(()), check)
        }
        checked(resized_crop, ResizedCropConfig::validate)?;
        checked(affine, AffineConfig::validate)?;
        checked(elastic, ElasticConfig::validate)?;
        checked(rand_augment, RandAugmentConfig::validate)?;
        checked(color_jitter, ColorJitterConfig::validate)?;
        checked(erasing, ErasingConfig::validate)
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

    /// Each key with its value; operations that are off are null.
    fn written(&self) -> [(&'static str, Value); 9] {
        [
            ("preset", json(&self.preset)),
            ("resized_crop", json(&self.resized_crop)),
            ("horizontal_flip", json(&self.horizontal_flip)),
            ("vertical_flip", json(&self.vertical_flip)),
            ("affine", json(&self.affine)),
            ("elastic", json(&self.elastic)),
            ("rand_augment", json(&self.rand_augment)),
            ("color_jitter", json(&self.color_jitter)),
            ("erasing", json(&self.erasing)),
        ]
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

/// The section as written in a file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    preset: Preset,
    resized_crop: Option<Value>,
    horizontal_flip: Option<Value>,
    vertical_flip: Option<Value>,
    affine: Option<Value>,
    elastic: Option<Value>,
    rand_augment: Option<Value>,
    color_jitter: Option<Value>,
    erasing: Option<Value>,
}

impl<'de> Deserialize<'de> for AugmentConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let preset = Self::from(written.preset);
        Ok(Self {
            preset: written.preset,
            resized_crop: on_top("resized_crop", preset.resized_crop, written.resized_crop)?,
            horizontal_flip: on_top(
                "horizontal_flip",
                preset.horizontal_flip,
                written.horizontal_flip,
            )?,
            vertical_flip: on_top("vertical_flip", preset.vertical_flip, written.vertical_flip)?,
            affine: on_top("affine", preset.affine, written.affine)?,
            elastic: on_top("elastic", preset.elastic, written.elastic)?,
            rand_augment: on_top("rand_augment", preset.rand_augment, written.rand_augment)?,
            color_jitter: on_top("color_jitter", preset.color_jitter, written.color_jitter)?,
            erasing: on_top("erasing", preset.erasing, written.erasing)?,
        })
    }
}

/// The operation after a key has changed the preset's.
fn on_top<T, E>(
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
fn json(settings: &impl Serialize) -> Value {
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
