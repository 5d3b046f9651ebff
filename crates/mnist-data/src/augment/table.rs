//! A macro that generates all code that lists the operations, from one table.

use rand_chacha::ChaCha8Rng;

use super::setting::AugmentSetting;
use crate::decode::Image;
use crate::error::Result;

/// The settings of one operation.
pub(crate) trait Step {
    /// The keys of its table.
    const SETTINGS: &'static [AugmentSetting];

    /// Checks every value; `key` is the operation's own, for example `augment.affine`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for the first invalid value.
    fn validate(&self, key: &'static str) -> Result<()>;

    /// Changes an image that has its final size. `memory` is reused from image to image.
    ///
    /// Crops, flips, affine maps and elastic distortions change nothing here: `Augment` has already
    /// combined them in one resampling.
    fn change(&self, _: &mut Image, _: impl FnOnce() -> ChaCha8Rng, _: &mut Vec<u8>) {}
}

/// One line per operation: key, settings, and the name and number of its stream of random numbers. Streams
/// must keep their numbers, so that a seed keeps its pixels.
macro_rules! operations {
    ($($(#[doc = $text:literal])+ $key:ident: $settings:ty, $purpose:ident = $stream:literal;)+) => {
        /// The random changes of an epoch's images, in the order of the fields.
        ///
        /// In a configuration file, the operations start as in `preset`. Each further key changes one operation:
        /// `false` switches it off, `true` switches it on, and a table switches it on and sets some of its keys.
        /// Missing keys of the table come from the preset's operation, or else from the operation's defaults. The
        /// serialised form has the preset and the differences from it, so that higher layers of configuration can
        /// change both. [`AugmentConfig::explicit`] writes everything.
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
            $($(#[doc = $text])+ pub $key: Option<$settings>,)+
        }

        /// The use of the numbers. Each purpose has separate numbers, so that switching one operation off
        /// leaves the others unchanged.
        #[derive(Debug, Clone, Copy)]
        pub(crate) enum Purpose {
            $($purpose = $stream,)+
            Mix = 9,
        }

        impl AugmentConfig {
            /// Every operation with its keys.
            pub const OPERATIONS: &'static [$crate::augment::AugmentOperation] =
                &[$($crate::augment::AugmentOperation {
                    name: stringify!($key),
                    text: concat!($($text),+).trim_ascii_start(),
                    settings: <$settings as $crate::augment::table::Step>::SETTINGS,
                }),+];

            /// No operation.
            pub(super) fn nothing(preset: Preset) -> Self {
                Self { preset, $($key: None,)+ }
            }

            /// Checks the values of every operation that is on.
            pub(super) fn check_operations(&self) -> $crate::error::Result<()> {
                $(if let Some(operation) = &self.$key {
                    $crate::augment::table::Step::validate(
                        operation,
                        concat!("augment.", stringify!($key)),
                    )?;
                })+
                Ok(())
            }

            /// Changes an image of the final size by each operation that is on, in order.
            pub(super) fn change(&self, image: &mut $crate::decode::Image, draw: Draw, memory: &mut Vec<u8>) {
                $(if let Some(operation) = &self.$key {
                    let numbers = || draw.numbers(Purpose::$purpose);
                    $crate::augment::table::Step::change(operation, image, numbers, memory);
                })+
            }

            /// Each key with its value; operations that are off are null.
            pub(super) fn written(&self) -> Vec<(&'static str, serde_json::Value)> {
                use $crate::augment::config::json;
                vec![("preset", json(&self.preset)), $((stringify!($key), json(&self.$key))),+]
            }
        }

        /// The section as written in a file.
        #[derive(Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct Written {
            preset: Preset,
            $($key: Option<serde_json::Value>,)+
        }

        impl Written {
            pub(super) fn read<E: serde::de::Error>(self) -> std::result::Result<AugmentConfig, E> {
                let preset = AugmentConfig::from(self.preset);
                Ok(AugmentConfig {
                    preset: self.preset,
                    $($key: $crate::augment::config::on_top(stringify!($key), preset.$key, self.$key)?,)+
                })
            }
        }
    };
}

pub(super) use operations;
