//! Weights of samples in the loss.

use std::collections::HashMap;
use std::path::PathBuf;

use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use crate::csv_table::{Table, is_weight};
use crate::error::{Error, Result};
use crate::sample::Sample;

/// Patterns match as in a shell: `*` and `?` do not match `/`, but `**` does. A leading dot is not special.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Sets weights of samples by their ids, which are paths relative to the split's folder.
///
/// Samples without a matching pattern or row keep their weight: 1, or the weight in a CSV file of
/// labels.
///
/// ```
/// use mnist_data::{Sample, WeightsConfig};
///
/// let weights: WeightsConfig =
///     serde_json::from_str(r#"{ "patterns": [{ "pattern": "dots/*", "weight": 0.5 }] }"#)?;
/// let mut samples =
///     ["dots/1.png", "rings/1.png"].map(|id| Sample::new(id.into(), id.into(), 0));
/// weights.apply(&mut samples)?;
/// assert_eq!(samples.map(|sample| sample.weight), [0.5, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WeightsConfig {
    /// A CSV file with the columns `path` (a sample's id) and `weight`. It overrides the patterns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Patterns of ids. If several match, the last one is used.
    pub patterns: Vec<WeightPattern>,
}

/// A pattern, and the weight of all samples whose ids match it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightPattern {
    /// `*` and `?` match within a folder's name, `**` any folders, `[a-c]` one character.
    pub pattern: String,
    /// The weight, at least 0.
    pub weight: f32,
}

impl WeightsConfig {
    /// Sets the weights of these samples.
    ///
    /// # Errors
    /// [`Error::Setting`] if a pattern is invalid or matches no sample, a weight is negative or not a number, or no
    /// sample has a weight above 0. [`Error::Table`] and [`Error::Io`] for the file; every row must name a sample.
    pub fn apply(&self, samples: &mut [Sample]) -> Result<()> {
        for (number, entry) in self.patterns.iter().enumerate() {
            let refuse = |problem: String| Error::Setting {
                setting: "sample_weights.patterns",
                problem: format!("number {} ({:?}): {problem}", number + 1, entry.pattern),
            };
            if !is_weight(entry.weight) {
                return Err(refuse(format!(
                    "found weight {}, expected a finite number of at least 0",
                    entry.weight
                )));
            }
            let pattern =
                Pattern::new(&entry.pattern).map_err(|error| refuse(error.to_string()))?;
            let mut matched = false;
            for sample in samples.iter_mut() {
                if pattern.matches_with(sample.id(), MATCHING) {
                    sample.weight = entry.weight;
                    matched = true;
                }
            }
            if let (false, Some(example)) = (matched, samples.first()) {
                return Err(refuse(format!(
                    "matches no sample; they are named like {:?}",
                    example.id()
                )));
            }
        }
        if let Some(file) = &self.file {
            let table = Table::read(file, &["path", "weight"])?;
            let places = samples.iter().enumerate();
            let places: HashMap<&str, usize> =
                places.map(|(place, sample)| (sample.id(), place)).collect();
            let mut weights = Vec::with_capacity(table.rows.len());
            for row in &table.rows {
                let place = places.get(row.id().as_str()).ok_or_else(|| {
                    let example = samples.first().map_or("", Sample::id);
                    let problem = format!(
                        "no sample is named {:?}; they are named like {example:?}",
                        row.path
                    );
                    table.at(row.line, problem)
                })?;
                weights.push((*place, row.weight));
            }
            for (place, weight) in weights {
                samples[place].weight = weight;
            }
        }
        if !samples.is_empty() && samples.iter().all(|sample| sample.weight == 0.0) {
            return Err(Error::Setting {
                setting: "sample_weights",
                problem: "every sample weighs 0, so there is nothing to learn".into(),
            });
        }
        Ok(())
    }
}
