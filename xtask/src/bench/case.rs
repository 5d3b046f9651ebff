//! Cases of a benchmark. Each case has several sides (programs to compare), which run in turns.

use std::process::Command;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Networks of other families than MobileNet, with torchvision's names.
pub(super) const NETWORKS: [&str; 5] = [
    "resnet50",
    "shufflenet_v2_x1_0",
    "efficientnet_b0",
    "densenet121",
    "regnet_y_400mf",
];

/// The work of a case. It is part of the results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Work {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) model: Option<String>,
    /// Height and width of an image, in pixels.
    pub(super) image_size: usize,
    /// Number of images in a step.
    pub(super) batch: usize,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) precision: Option<String>,
}

impl Work {
    /// The work of running a network in f32.
    pub(super) fn new(model: &str, image_size: usize, batch: usize) -> Self {
        Self {
            model: Some(model.to_owned()),
            image_size,
            batch,
            precision: Some("f32".to_owned()),
        }
    }

    pub(super) fn with_precision(mut self, precision: &str) -> Self {
        self.precision = Some(precision.to_owned());
        self
    }

    /// Adds the work and the number of threads to a runner's command.
    pub(super) fn describe(&self, mut command: Command, threads: usize) -> Command {
        if let Some(model) = &self.model {
            command.args(["--model", model]);
        }
        command.args(["--image-size", &self.image_size.to_string()]);
        command.args(["--batch", &self.batch.to_string()]);
        command.args(["--threads", &threads.to_string()]);
        command
    }

    /// As [`Work::describe`], for a program that can run in several precisions.
    pub(super) fn describe_with_precision(&self, command: Command, threads: usize) -> Command {
        let mut command = self.describe(command, threads);
        if let Some(precision) = &self.precision {
            command.args(["--precision", precision]);
        }
        command
    }
}

/// The unit of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Unit {
    #[serde(rename = "images/s")]
    ImagesPerSecond,
    #[serde(rename = "GFLOP/s")]
    GigaflopsPerSecond,
    #[serde(rename = "requests/s")]
    RequestsPerSecond,
    /// Time of a request; half of them take less.
    #[serde(rename = "ms p50")]
    MedianMilliseconds,
    /// Time of a request; 99 of 100 take less.
    #[serde(rename = "ms p99")]
    SlowMilliseconds,
    /// Time of one step.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Time of a whole process, from its start to its end.
    #[serde(rename = "s")]
    Seconds,
    /// Peak memory of a process.
    #[serde(rename = "MB")]
    Megabytes,
    /// Memory of several processes; a page that they share counts once.
    #[serde(rename = "MB PSS")]
    ProportionalMegabytes,
}

impl Unit {
    pub(super) fn more_is_better(self) -> bool {
        matches!(
            self,
            Unit::ImagesPerSecond | Unit::GigaflopsPerSecond | Unit::RequestsPerSecond
        )
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Unit::ImagesPerSecond => "images/s",
            Unit::GigaflopsPerSecond => "GFLOP/s",
            Unit::RequestsPerSecond => "requests/s",
            Unit::MedianMilliseconds => "ms p50",
            Unit::SlowMilliseconds => "ms p99",
            Unit::ProportionalMegabytes => "MB PSS",
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
            Unit::Megabytes => "MB",
        }
    }
}

/// The amount of work in a step of a runner, in the unit of the case.
#[derive(Clone, Copy)]
pub(super) enum Amount {
    Known(f64),
    /// Unknown in advance: the runner's answer to this question, multiplied by this factor.
    Asked(&'static str, f64),
}

/// The task of a side in each round.
pub(super) enum Task {
    /// Takes steps with a runner.
    Steps {
        command: Command,
        amount: Amount,
        /// Whether another thread keeps a core busy during the measurement.
        neighbour: bool,
    },
    /// Runs a whole process.
    Process(Command),
}

pub(super) struct Side {
    pub(super) name: String,
    pub(super) task: Task,
    /// Whether the benchmark fails if this side does not run. Sides that are not required are
    /// skipped: other programs that are not installed, and settings that this processor does not
    /// support.
    pub(super) required: bool,
}

impl Side {
    /// A side that takes steps with an optional runner.
    pub(super) fn steps(name: &str, command: Command, amount: f64) -> Self {
        Self {
            name: name.to_owned(),
            task: Task::Steps {
                command,
                amount: Amount::Known(amount),
                neighbour: false,
            },
            required: false,
        }
    }

    pub(super) fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// One row of a benchmark. Its sides are created only when the case runs, because that may need a
/// build, an export or a download.
pub(super) struct Case<'a> {
    pub(super) name: String,
    pub(super) work: Work,
    pub(super) unit: Unit,
    #[expect(clippy::type_complexity, reason = "a closure, once")]
    pub(super) sides: Box<dyn Fn(&Work) -> Result<Vec<Side>> + 'a>,
}

impl<'a> Case<'a> {
    pub(super) fn new(
        name: impl Into<String>,
        unit: Unit,
        work: Work,
        sides: impl Fn(&Work) -> Result<Vec<Side>> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            work,
            unit,
            sides: Box::new(sides),
        }
    }
}

/// The case with this name, or all cases with names that contain it.
pub(super) fn select<'a>(mut cases: Vec<Case<'a>>, filter: Option<&str>) -> Result<Vec<Case<'a>>> {
    let names: Vec<_> = cases.iter().map(|case| case.name.clone()).collect();
    let chosen = chosen(&names, filter)?;
    cases.retain(|case| chosen.contains(&case.name));
    Ok(cases)
}

/// The name that equals the filter, or all names that contain it. Without a filter, all names.
pub(super) fn chosen(names: &[String], filter: Option<&str>) -> Result<Vec<String>> {
    let filter = filter.unwrap_or_default();
    let exact = names.iter().any(|name| name == filter);
    let is_chosen = |name: &&String| match exact {
        true => *name == filter,
        false => name.contains(filter),
    };
    let chosen: Vec<_> = names.iter().filter(is_chosen).cloned().collect();
    if chosen.is_empty() {
        bail!("no case {filter:?}; there are {}", names.join(", "));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filter: Option<&str>) -> Result<Vec<String>> {
        let case = |name| Case::new(name, Unit::Seconds, Work::default(), |_| Ok(vec![]));
        let cases = ["large-224", "large-224-bf16", "small-32"].map(case).into();
        Ok(select(cases, filter)?.into_iter().map(|c| c.name).collect())
    }

    #[test]
    fn cases_are_found_by_name_or_a_part_of_it() {
        assert_eq!(names(None).unwrap().len(), 3);
        assert_eq!(names(Some("large")).unwrap().len(), 2);
        assert_eq!(names(Some("large-224")).unwrap(), ["large-224"]);
        let error = names(Some("medium")).unwrap_err().to_string();
        assert!(error.contains("small-32"), "{error}");
    }

    #[test]
    fn a_unit_is_written_as_it_is_shown() {
        for unit in [
            Unit::ImagesPerSecond,
            Unit::GigaflopsPerSecond,
            Unit::RequestsPerSecond,
            Unit::MedianMilliseconds,
            Unit::SlowMilliseconds,
            Unit::ProportionalMegabytes,
            Unit::Milliseconds,
            Unit::Seconds,
            Unit::Megabytes,
        ] {
            assert_eq!(serde_json::to_value(unit).unwrap(), unit.name());
        }
    }
}
