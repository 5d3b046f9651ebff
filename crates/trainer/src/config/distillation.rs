//! `[distillation]`: learning from a trained network.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Knowledge distillation: Hinton et al., 2015.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillationConfig {
    /// The teacher: weights of any origin and of any model, for the same classes.
    pub teacher: PathBuf,
    /// The softmaxes of teacher and student are taken of their logits over this.
    #[serde(default = "default_temperature")]
    pub temperature: f64,
    /// Share of the teacher in the loss, above 0 and at most 1; the rest is the labels'.
    #[serde(default = "default_weight")]
    pub weight: f64,
}

fn default_temperature() -> f64 {
    4.0
}

fn default_weight() -> f64 {
    0.5
}

impl DistillationConfig {
    /// Learning from `teacher`, at temperature 4 and half of the loss.
    pub fn new(teacher: impl Into<PathBuf>) -> Self {
        Self {
            teacher: teacher.into(),
            temperature: default_temperature(),
            weight: default_weight(),
        }
    }
}
