//! Measures inference: the logits of a batch of images.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Options;
use super::case::{Case, NETWORKS, Side, Unit, Work};
use super::variants::{BF16, forced, over_f32};
use crate::programs::{example, ours, python_peer, rust_peer, scratch};
use crate::shell::run;

/// Image sizes and batch sizes: one image at a time, as in a server, and large batches.
const SIZES: [(usize, usize); 3] = [(224, 1), (224, 32), (32, 256)];

/// Cases for which another program also runs in bf16.
const BATCHES: [(&str, usize, usize); 3] =
    [("large", 224, 1), ("large", 224, 32), ("small", 32, 256)];

pub(super) fn cases(options: &Options) -> Result<Vec<Case<'_>>> {
    let program = example("trainer", "infer_step")?;
    let mut cases = list(&program, options.python.as_deref(), options.threads);
    cases.extend(against_ourselves(&program, options.threads));
    Ok(cases)
}

fn list<'a>(program: &Path, python: Option<&'a Path>, threads: usize) -> Vec<Case<'a>> {
    let mut cases = Vec::new();
    let mut case = |suffix: &str, work: Work, peers: Peers| {
        let model = work.model.as_deref().unwrap_or_default();
        let name = format!("{model}-{}-{}{suffix}", work.image_size, work.batch);
        let program = program.to_path_buf();
        cases.push(Case::new(name, Unit::ImagesPerSecond, work, move |work| {
            let command = work.describe_with_precision(ours(&program, threads), threads);
            let mut sides = vec![side("ours", command, work)];
            if let Some(python) = python {
                // Without an ONNX file, none of them runs.
                match peers(python, work, threads) {
                    Ok(peers) => sides.extend(peers),
                    Err(error) => eprintln!("the peers are not run: {error:#}"),
                }
            }
            // f32 must run on every machine.
            if work.precision.as_deref() == Some("f32") {
                sides[0].required = true;
            }
            Ok(sides)
        }));
    };
    for (size, batch) in SIZES {
        for model in ["large", "small"] {
            case("", Work::new(model, size, batch), f32_peers);
        }
    }
    for model in NETWORKS {
        for batch in [1, 32] {
            case("", Work::new(model, 224, batch), f32_peers);
        }
    }
    let layered = [("resnet50", 224, 1), ("resnet50", 224, 32)];
    for (model, size, batch) in BATCHES.into_iter().chain(layered) {
        let work = Work::new(model, size, batch).with_precision("bf16");
        case("-bf16", work, openvino);
    }
    case("-rust", Work::new("large", 224, 1), rust_peers);
    cases
}

/// Compares instruction sets and precisions with ours in f32 on the best instruction set.
fn against_ourselves(program: &Path, threads: usize) -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    let mut case = |suffix: String, work: Work, sides: Variants| {
        let model = work.model.as_deref().unwrap_or_default();
        let name = format!("{model}-{}-{}-{suffix}", work.image_size, work.batch);
        let program = program.to_path_buf();
        cases.push(Case::new(name, Unit::ImagesPerSecond, work, move |work| {
            Ok(sides(work, &|name, work| {
                let command = work.describe_with_precision(ours(&program, threads), threads);
                side(name, command, work)
            }))
        }));
    };
    for (model, size, batch) in BATCHES {
        let work = Work::new(model, size, batch);
        for precision in BF16 {
            let work = work.clone().with_precision(precision);
            case(format!("{precision}-over-f32"), work, |work, ours| {
                over_f32(work, ours)
            });
        }
        if batch > 1 {
            case("avx2".to_owned(), work.clone(), |work, ours| {
                forced("avx2", work, ours)
            });
            case("portable".to_owned(), work, |work, ours| {
                forced("portable", work, ours)
            });
        }
    }
    cases
}

/// Makes the sides of a case from a function that makes a side of ours.
type Variants = fn(&Work, &dyn Fn(&str, &Work) -> Side) -> Vec<Side>;

type Peers = fn(&Path, &Work, usize) -> Result<Vec<Side>>;

fn side(name: &str, command: Command, work: &Work) -> Side {
    Side::steps(name, command, work.batch as f64)
}

fn f32_peers(python: &Path, work: &Work, threads: usize) -> Result<Vec<Side>> {
    let torch = work.describe(python_peer(python, "torch_infer.py")?, threads);
    let file = onnx(python, work)?;
    let onnxruntime = on_file(python_peer(python, "onnxruntime_infer.py")?, &file, threads);
    let mut sides = vec![
        side("torch", torch, work),
        side("onnxruntime", onnxruntime, work),
    ];
    sides.extend(openvino(python, work, threads)?);
    Ok(sides)
}

/// OpenVINO tuned for latency. For larger batches also OpenVINO tuned for throughput, which runs
/// several batches in parallel.
fn openvino(python: &Path, work: &Work, threads: usize) -> Result<Vec<Side>> {
    let file = onnx(python, work)?;
    let hints: &[_] = match work.batch {
        1 => &["latency"],
        _ => &["latency", "throughput"],
    };
    let mut sides = Vec::new();
    for hint in hints {
        let mut command = on_file(python_peer(python, "openvino_infer.py")?, &file, threads);
        command.args(["--hint", hint]);
        command.args(["--precision", work.precision.as_deref().unwrap_or("f32")]);
        sides.push(side(&format!("openvino_{hint}"), command, work));
    }
    Ok(sides)
}

fn rust_peers(python: &Path, work: &Work, threads: usize) -> Result<Vec<Side>> {
    let file = onnx(python, work)?;
    let mut sides = Vec::new();
    for name in ["rten", "tract"] {
        let program = rust_peer(&format!("peer-{name}"))?;
        let command = on_file(ours(&program, threads), &file, threads);
        sides.push(side(name, command, work));
    }
    Ok(sides)
}

/// Command of a program that needs only an ONNX file and a number of threads.
fn on_file(mut command: Command, file: &Path, threads: usize) -> Command {
    command.arg("--onnx").arg(file);
    command.args(["--threads", &threads.to_string()]);
    command
}

/// Exports torchvision's network as an ONNX file, for all programs that inference is compared with.
pub(super) fn onnx(python: &Path, work: &Work) -> Result<PathBuf> {
    let model = work.model.as_deref().unwrap_or("small");
    let (size, batch) = (work.image_size, work.batch);
    let path = scratch("onnx")?.join(format!("{model}-{size}-{batch}.onnx"));
    if !path.exists() {
        let mut command = work.describe(python_peer(python, "export_onnx.py")?, 1);
        command.arg("--out").arg(&path);
        run(&mut command)?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::bars;

    #[test]
    fn every_case_has_a_name_of_its_own_and_runs_without_peers() {
        let program = Path::new("infer_step");
        let variants = against_ourselves(program, 2);
        for case in &variants {
            let sides = (case.sides)(&case.work).unwrap();
            let required: Vec<_> = sides.iter().map(|side| side.required).collect();
            assert_eq!(required, [false, true], "{}", case.name);
        }
        let cases = list(program, None, 2);
        let names: Vec<_> = variants.iter().map(|case| case.name.as_str()).collect();
        for name in [
            "large-224-32-avx2",
            "small-32-256-portable",
            "large-224-1-bf16-over-f32",
            "small-32-256-bf16_amx-over-f32",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
        for name in [
            "large-224-1",
            "resnet50-224-32",
            "small-32-256-bf16",
            "large-224-1-rust",
        ] {
            assert!(names.contains(name), "{name}");
        }
        for name in bars::cases("infer") {
            assert!(names.contains(name), "a bar of {name}");
        }
        for case in &cases {
            let sides = (case.sides)(&case.work).unwrap();
            assert_eq!(sides.len(), 1, "{}", case.name);
            assert_eq!(
                sides[0].required,
                !case.name.ends_with("bf16"),
                "{}",
                case.name
            );
        }
    }
}
