//! `[distillation]`: learning from a trained network.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Knowledge distillation: Hinton et al., 2015.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillationConfig {
    /// The teacher: a weights file of any model with the same classes.
    pub teacher: PathBuf,
    /// The temperature: the logits of teacher and student are divided by it before the softmax.
    #[serde(default = "default_temperature")]
    pub temperature: f64,
    /// The share of the teacher's term in the loss, above 0 and at most 1. The labels' term has the rest.
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
    /// Distillation from `teacher` at temperature 4, with half of the loss.
    pub fn new(teacher: impl Into<PathBuf>) -> Self {
        Self {
            teacher: teacher.into(),
            temperature: default_temperature(),
            weight: default_weight(),
        }
    }
}
