//! A macro that generates, from one table of rules, all code that lists the rules.

use super::setting::OptimizerSetting;
use crate::coefficients::Coefficients;
use crate::error::{Error, is_non_negative, require};
use crate::pass::Buffers;

/// An update rule: its settings for a whole run.
pub(crate) trait Rule {
    type Step: Step;

    /// The keys of the rule, except `type`.
    const SETTINGS: &'static [OptimizerSetting];

    /// Checks every value. `section` is the section in error messages.
    fn validate(&self, section: &str) -> Result<(), Error>;

    /// The weight decay of groups that do not set it.
    fn weight_decay(&self) -> f64;

    /// Names of the rule's state buffers, as in the reference's `state_dict`. There are at most three.
    fn buffer_names(&self) -> &'static [&'static str];

    /// Whether the rule centralises the gradients of a matrix's rows.
    fn centralises(&self, _is_convolution: bool) -> bool {
        false
    }

    /// Computes the coefficients of step number `step` (starting from 1) for one group.
    fn step(&self, step: u64, learning_rate: f64, weight_decay: f64) -> Self::Step;
}

/// The coefficients of one step for one group. They can be applied to any part of the group.
pub(crate) trait Step {
    /// Applies the step to a part of the buffers. `row` is the length of the rows with centralised gradients, or 0 if
    /// there are none. Implementations must be inlined, so that they are compiled for each instruction set.
    fn apply(&self, buffers: Buffers<'_>, row: usize);

    /// The coefficients as plain numbers.
    fn coefficients(&self) -> Coefficients;
}

/// Requires both betas to be at least 0 and below 1.
pub(super) fn check_betas(section: &str, betas: [f64; 2]) -> Result<(), Error> {
    let in_range = betas.iter().all(|beta| (0.0..1.0).contains(beta));
    let found = format!("[{}, {}]", betas[0], betas[1]);
    require(in_range, section, "betas", found, "both in 0 <= beta < 1")
}

pub(super) fn check_non_negative(
    section: &str,
    key: &'static str,
    value: f64,
) -> Result<(), Error> {
    let ok = is_non_negative(value);
    require(ok, section, key, value, "a finite number >= 0")
}

/// One line per rule: variant, settings, and name in a configuration file.
macro_rules! rules {
    ($($(#[doc = $text:literal])+ $rule:ident($settings:ident) = $name:literal;)+) => {
        /// An update rule with its settings. Names and defaults are those of `torch.optim`, or of the
        /// package `pytorch-optimizer`.
        ///
        /// The learning rate is not a setting here: a schedule computes it for every
        /// [`Optimizer::step`](crate::Optimizer::step).
        ///
        /// ```
        /// use optim::OptimizerConfig;
        ///
        /// let config: OptimizerConfig =
        ///     serde_json::from_str(r#"{ "type": "sgd", "momentum": 0.9, "nesterov": true }"#)?;
        /// config.validate()?;
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "type")]
        pub enum OptimizerConfig {
            $($(#[doc = $text])+ #[serde(rename = $name)] $rule($settings),)+
        }

        impl OptimizerConfig {
            /// Every rule with its keys.
            pub const RULES: &'static [OptimizerRule] = &[$(OptimizerRule {
                name: $name,
                text: concat!($($text),+).trim_ascii_start(),
                settings: <$settings as table::Rule>::SETTINGS,
            }),+];

            /// Every rule, with its default settings.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$rule($settings::default())),+]
            }

            /// The name in a configuration file, for example `adamw`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$rule(_) => $name,)+
                }
            }

            /// Checks every value.
            ///
            /// # Errors
            /// [`Error::Setting`](crate::Error::Setting) with the first key that is out of range.
            pub fn validate(&self) -> Result<(), crate::Error> {
                let section = format!("optimizer {}", self.name());
                match self {
                    $(Self::$rule(rule) => table::Rule::validate(rule, &section),)+
                }
            }

            pub(crate) fn weight_decay(&self) -> f64 {
                match self {
                    $(Self::$rule(rule) => table::Rule::weight_decay(rule),)+
                }
            }

            pub(crate) fn buffer_names(&self) -> &'static [&'static str] {
                match self {
                    $(Self::$rule(rule) => table::Rule::buffer_names(rule),)+
                }
            }

            pub(crate) fn centralises(&self, is_convolution: bool) -> bool {
                match self {
                    $(Self::$rule(rule) => table::Rule::centralises(rule, is_convolution),)+
                }
            }

            pub(crate) fn update(&self, step: u64, learning_rate: f64, weight_decay: f64) -> Update {
                match self {
                    $(Self::$rule(rule) => {
                        Update::$rule(table::Rule::step(rule, step, learning_rate, weight_decay))
                    })+
                }
            }
        }

        /// The coefficients of one step for one group. They can be applied to any part of the group.
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) enum Update {
            /// A step of a frozen group: nothing changes.
            Hold,
            $($rule(<$settings as table::Rule>::Step),)+
        }

        impl Update {
            /// The coefficients as plain numbers.
            pub(crate) fn coefficients(&self) -> crate::Coefficients {
                match self {
                    Self::Hold => crate::Coefficients::new(crate::RuleKind::Hold, []),
                    $(Self::$rule(step) => table::Step::coefficients(step),)+
                }
            }

            #[inline(always)]
            fn apply_inlined(&self, buffers: crate::pass::Buffers<'_>, row: usize) {
                match self {
                    Self::Hold => {}
                    $(Self::$rule(step) => table::Step::apply(step, buffers, row),)+
                }
            }
        }
    };
}

pub(super) use rules;
