//! The macro that generates every list of the operations from one table.

use rand_chacha::ChaCha8Rng;

use super::setting::AugmentSetting;
use crate::decode::Image;
use crate::error::Result;

/// The settings of one operation.
pub(crate) trait Step {
    /// The keys of the operation's table.
    const SETTINGS: &'static [AugmentSetting];

    /// Checks every value. `key` is the operation's full key for messages, such as `augment.affine`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for the first invalid value.
    fn validate(&self, key: &'static str) -> Result<()>;

    /// Changes an image that has its final size. `memory` is reused from image to image.
    ///
    /// The default does nothing. Crops, flips, affine maps and elastic distortions keep it, since `Augment` has already
    /// applied them.
    fn change(&self, _: &mut Image, _: impl FnOnce() -> ChaCha8Rng, _: &mut Vec<u8>) {}
}

/// One line per operation: key, settings, and the name and number of its stream of random numbers. The numbers of
/// streams must never change, so that the same seed gives the same pixels in later versions.
macro_rules! operations {
    ($($(#[doc = $text:literal])+ $key:ident: $settings:ty, $purpose:ident = $stream:literal;)+) => {
        /// The random changes of an epoch's images, in the order of the fields.
        ///
        /// In a configuration file, `preset` chooses a set of operations, and each further key changes one operation.
        /// `false` switches the operation off, `true` switches it on, and a table switches it on with these settings.
        /// Settings missing from the table come from the preset, or else from the operation's defaults. Serialising
        /// writes only the preset and the differences from it, so that further layers of configuration can follow.
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
            /// The preset that the other fields are based on.
            pub preset: Preset,
            $($(#[doc = $text])+ pub $key: Option<$settings>,)+
        }

        /// The purpose of random numbers. Each purpose has its own stream, so switching one operation off does not
        /// change the others.
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

            /// The configuration without operations.
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

        /// The section `[augment]` as written in a file.
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
