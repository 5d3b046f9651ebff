//! Measures whole training steps: forward, loss, backward, Adam.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Options;
use super::case::{Case, NETWORKS, Side, Unit, Work};
use super::variants::{BF16, forced, over_f32};
use crate::programs::{example, ours, python_peer};

/// Networks, image sizes and batches. 224 px is the image size of ImageNet, 32 px that of MNIST.
pub(super) const WORK: [(&str, usize, usize); 4] = [
    ("large", 224, 16),
    ("small", 224, 16),
    ("large", 32, 128),
    ("small", 32, 128),
];

/// The program that runs this project's training steps.
#[derive(Clone)]
pub(super) struct TrainStep {
    program: PathBuf,
    pub(super) threads: usize,
}

impl TrainStep {
    /// Builds the program.
    pub(super) fn build(options: &Options) -> Result<Self> {
        let program = example("trainer", "train_step")?;
        Ok(Self::at(program, options.threads))
    }

    /// Uses the program at this path.
    pub(super) fn at(program: impl Into<PathBuf>, threads: usize) -> Self {
        Self {
            program: program.into(),
            threads,
        }
    }

    /// The command that runs this work.
    pub(super) fn command(&self, work: &Work) -> Command {
        work.describe_with_precision(ours(&self.program, self.threads), self.threads)
    }

    /// A side that runs the program and counts images.
    pub(super) fn side(&self, name: &str, work: &Work) -> Side {
        Side::steps(name, self.command(work), work.batch as f64)
    }

    /// The same program, with another number of threads.
    pub(super) fn with_threads(&self, threads: usize) -> Self {
        Self::at(&self.program, threads)
    }
}

/// A side that runs training steps in PyTorch, eager or compiled.
pub(super) fn torch(python: &Path, work: &Work, threads: usize, compiled: bool) -> Result<Side> {
    let mut command = work.describe(python_peer(python, "torch_train.py")?, threads);
    let name = if compiled { "torch_compile" } else { "torch" };
    if compiled {
        command.arg("--compile");
    }
    Ok(Side::steps(name, command, work.batch as f64))
}

pub(super) fn cases(options: &Options) -> Result<Vec<Case<'_>>> {
    let program = TrainStep::build(options)?;
    let mut cases = against_torch(&program, options.python.as_deref());
    cases.extend(against_ourselves(&program));
    Ok(cases)
}

fn against_torch<'a>(program: &TrainStep, python: Option<&'a Path>) -> Vec<Case<'a>> {
    let case = |name: String, unit, work, compiled: &'static [bool]| {
        let ours = program.clone();
        Case::new(name, unit, work, move |work| {
            let mut sides = vec![ours.side("ours", work).required()];
            if let Some(python) = python {
                for &compiled in compiled {
                    sides.push(torch(python, work, ours.threads, compiled)?);
                }
            }
            Ok(sides)
        })
    };
    let mut cases = Vec::new();
    for (model, size, batch) in WORK {
        let (name, work) = (format!("{model}-{size}"), Work::new(model, size, batch));
        cases.push(case(name, Unit::ImagesPerSecond, work, &[false, true]));
    }
    for model in NETWORKS {
        let work = Work::new(model, 224, 16);
        let name = format!("{model}-224");
        cases.push(case(name, Unit::ImagesPerSecond, work, &[false, true]));
    }
    let work = Work::new("large", 224, 64);
    cases.push(case(
        "large-224-memory".into(),
        Unit::Megabytes,
        work,
        &[false],
    ));
    cases
}

fn against_ourselves(program: &TrainStep) -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for model in ["efficientnet_b0", "resnet50"] {
        let work = Work::new(model, 224, 16).with_precision("bf16");
        let ours = program.clone();
        let name = format!("{model}-224-bf16");
        cases.push(Case::new(name, Unit::ImagesPerSecond, work, move |work| {
            Ok(over_f32(work, |name, work| ours.side(name, work)))
        }));
    }
    for (model, size, batch) in [WORK[0], WORK[3]] {
        // The variant comes first, so that the ratio shows how much faster it is.
        let mut case = |what: &str, work, sides: fn(&TrainStep, &Work) -> Vec<Side>| {
            let ours = program.clone();
            let name = format!("{model}-{size}-{what}");
            cases.push(Case::new(name, Unit::ImagesPerSecond, work, move |work| {
                Ok(sides(&ours, work))
            }));
        };
        let work = Work::new(model, size, batch);
        for precision in BF16 {
            let work = work.clone().with_precision(precision);
            case(precision, work, |ours, work| {
                over_f32(work, |name, work| ours.side(name, work))
            });
        }
        case("avx2", work.clone(), |ours, work| {
            forced("avx2", work, |name, work| ours.side(name, work))
        });
        case("portable", work.clone(), |ours, work| {
            forced("portable", work, |name, work| ours.side(name, work))
        });
        if program.threads > 1 {
            case("threads", work, |ours, work| {
                let alone = ours.with_threads(1);
                vec![
                    ours.side("ours", work).required(),
                    alone.side("ours_1_thread", work).required(),
                ]
            });
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::bars;

    #[test]
    fn every_case_has_a_name_of_its_own_and_begins_with_ours() {
        let program = TrainStep::at("train_step", 2);
        let python = Path::new("python");
        let mut cases = against_torch(&program, Some(python));
        cases.extend(against_ourselves(&program));
        let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
        for name in [
            "large-224",
            "small-32-threads",
            "large-224-avx2",
            "large-224-bf16_amx",
            "small-32-bf16_avx512",
            "large-224-memory",
            "resnet50-224",
            "efficientnet_b0-224-bf16",
            "resnet50-224-bf16",
        ] {
            assert!(names.contains(name), "{name}");
        }
        // The cases of `gemm` have the same names.
        for name in [bars::cases("train"), bars::cases("gemm")].concat() {
            assert!(names.contains(name), "a bar of {name}");
        }
        for case in &cases {
            let sides = (case.sides)(&case.work).unwrap();
            assert!(sides.len() > 1, "{}", case.name);
            assert!(sides[0].name.starts_with("ours"), "{}", case.name);
        }
    }
}
