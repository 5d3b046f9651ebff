//! A macro that generates all code that lists the losses, from one table.

use super::config::ClassWeights;
use super::softmax::Softmax;
use crate::config::{ConfigError, Kind};

/// A key of a loss: its name, its valid values, and its purpose.
pub(crate) type LossSetting = (&'static str, Kind, &'static str);

// Purposes of the keys that several losses have.
pub(super) const LABEL_SMOOTHING: &str = "Share of the target that is spread over all classes.";
pub(super) const CLASS_WEIGHTS_TEXT: &str =
    "Weight of each class: \"balanced\", or a list with one weight per class.";

/// A loss of one image, with its settings.
pub(crate) trait Formula {
    /// Its keys, besides `type`.
    fn settings(&self) -> &'static [LossSetting];

    /// Checks every value except the class weights.
    fn validate(&self) -> Result<(), ConfigError>;

    /// The class weights and their key.
    fn class_weights(&self) -> (&'static str, &ClassWeights);

    /// Whether the class weights are part of a batch's total weight. `mixed` if the images are mixtures of
    /// two.
    fn counts_classes(&self, mixed: bool) -> bool;

    /// Adds `weight` times the gradient by the logits to `gradient`, and returns `weight` times the loss.
    fn row(&self, image: &Row<'_>, weight: f64, gradient: &mut [f64]) -> f64;
}

/// An image in a batch.
pub(crate) struct Row<'a> {
    /// One for each class.
    pub(super) logits: &'a [f32],
    pub(super) softmax: &'a Softmax,
    pub(super) label: usize,
    pub(super) class_weights: &'a [f64],
}

/// One line per loss: variant, settings, and name in a configuration file.
macro_rules! losses {
    ($($(#[doc = $text:literal])+ $loss:ident($settings:ident) = $name:literal;)+) => {
        /// The loss that training minimises.
        ///
        /// ```
        /// use trainer::config::LossConfig;
        ///
        /// let text = "type = 'focal'\ngamma = 1.5\nalpha = 'balanced'\n";
        /// let config: LossConfig = toml::from_str(text)?;
        /// config.validate(None)?;
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "type")]
        pub enum LossConfig {
            $($(#[doc = $text])+ #[serde(rename = $name)] $loss($settings),)+
        }

        impl LossConfig {
            /// The name of each loss in a configuration file, with a description.
            pub const NAMES: &'static [(&'static str, &'static str)] =
                &[$(($name, concat!($($text),+).trim_ascii_start())),+];

            /// One of each, with its default settings.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$loss($settings::default())),+]
            }

            /// The name in a configuration file, for example `focal`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$loss(_) => $name,)+
                }
            }

            pub(crate) fn formula(&self) -> &dyn table::Formula {
                match self {
                    $(Self::$loss(loss) => loss,)+
                }
            }
        }
    };
}

pub(super) use losses;
