//! `cargo xtask bench train`: whole training steps, ours and PyTorch's in turns,
//! so that whatever else the machine does meets both alike.

mod runner;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::shell::{cargo, root, run, target_dir};
use runner::Runner;

/// About how long one round of one side takes.
const ROUND_SECONDS: f64 = 1.0;
const MAX_STEPS: f64 = 200.0;

#[derive(clap::Args)]
pub(crate) struct TrainArguments {
    /// A Python with torch and torchvision, to compare with
    #[arg(long, value_name = "PYTHON")]
    torch: Option<PathBuf>,
    /// Write the results to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only the cases whose name holds this: large-224, small-224, large-32, small-32
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// CPU threads of each side
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Rounds of which the median counts
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

struct Case {
    model: &'static str,
    image_size: usize,
    batch: usize,
}

const CASES: [Case; 4] = [
    case("large", 224, 16),
    case("small", 224, 16),
    case("large", 32, 128),
    case("small", 32, 128),
];

const fn case(model: &'static str, image_size: usize, batch: usize) -> Case {
    Case {
        model,
        image_size,
        batch,
    }
}

impl Case {
    fn name(&self) -> String {
        format!("{}-{}", self.model, self.image_size)
    }
}

#[derive(Serialize)]
struct Report {
    results: Vec<Outcome>,
}

/// Medians over the rounds, in images a second.
#[derive(Serialize)]
struct Outcome {
    model: &'static str,
    image_size: usize,
    batch: usize,
    precision: &'static str,
    ours: f64,
    torch: Option<f64>,
    /// Ours over PyTorch's: above 1 we are faster.
    ratio: Option<f64>,
}

pub(crate) fn train(arguments: &TrainArguments) -> Result<()> {
    ensure!(arguments.rounds > 0, "--rounds must be at least 1");
    ensure!(arguments.threads > 0, "--threads must be at least 1");
    let cases = selected(arguments.case.as_deref())?;
    let build = [
        "build",
        "--release",
        "-p",
        "trainer",
        "--example",
        "train_step",
        "--locked",
    ];
    run(&mut cargo(&build)?)?;
    let example = format!("train_step{}", std::env::consts::EXE_SUFFIX);
    let ours = target_dir()?.join("release/examples").join(example);
    let peer = root()?.join("xtask/peers/torch_train.py");
    println!(
        "{:<10} {:>5}  {:>10}  {:>10}  {:>6}",
        "case", "batch", "ours", "torch", "ratio"
    );
    let mut results = Vec::new();
    for case in cases {
        let mut commands = vec![Command::new(&ours)];
        if let Some(python) = &arguments.torch {
            let mut command = Command::new(python);
            command.arg("-B").arg(&peer);
            commands.push(command);
        }
        let outcome = measure(case, commands, arguments)?;
        let shown =
            |value: Option<f64>, digits| value.map_or("-".into(), |v| format!("{v:.digits$}"));
        println!(
            "{:<10} {:>5}  {:>10.1}  {:>10}  {:>6}",
            case.name(),
            case.batch,
            outcome.ours,
            shown(outcome.torch, 1),
            shown(outcome.ratio, 2)
        );
        results.push(outcome);
    }
    println!(
        "images a second: medians of {} rounds, {} threads, f32",
        arguments.rounds, arguments.threads
    );
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&Report { results })?;
        fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn selected(filter: Option<&str>) -> Result<Vec<&'static Case>> {
    let filter = filter.unwrap_or("");
    let cases: Vec<_> = CASES
        .iter()
        .filter(|case| case.name().contains(filter))
        .collect();
    if cases.is_empty() {
        let names: Vec<_> = CASES.iter().map(Case::name).collect();
        bail!("no case {filter:?}; there are {}", names.join(", "));
    }
    Ok(cases)
}

/// Runs the commands (ours, then perhaps PyTorch's) in turns.
fn measure(case: &Case, commands: Vec<Command>, arguments: &TrainArguments) -> Result<Outcome> {
    let mut sides = Vec::new();
    for mut command in commands {
        command.args(["--model", case.model]);
        command.args(["--image-size", &case.image_size.to_string()]);
        command.args(["--batch", &case.batch.to_string()]);
        command.args(["--threads", &arguments.threads.to_string()]);
        let mut runner = Runner::start(command)?;
        // The first step allocates and chooses kernels; the second says how many make a round.
        runner.steps(1)?;
        let steps = (ROUND_SECONDS / runner.steps(1)?)
            .ceil()
            .clamp(1.0, MAX_STEPS) as usize;
        runner.steps(steps)?;
        sides.push((runner, steps, Vec::new()));
    }
    for _ in 0..arguments.rounds {
        for (runner, steps, rates) in &mut sides {
            rates.push((case.batch * *steps) as f64 / runner.steps(*steps)?);
        }
    }
    let mut medians = Vec::new();
    for (runner, _, rates) in sides {
        runner.quit()?;
        medians.push(median(rates).context("no round was measured")?);
    }
    let ours = *medians.first().context("nothing to measure")?;
    let torch = medians.get(1).copied();
    Ok(Outcome {
        model: case.model,
        image_size: case.image_size,
        batch: case.batch,
        precision: "f32",
        ours,
        torch,
        ratio: torch.map(|torch| ours / torch),
    })
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn cases_are_found_by_part_of_their_name() {
        assert_eq!(selected(None).unwrap().len(), 4);
        assert_eq!(selected(Some("small")).unwrap().len(), 2);
        assert_eq!(selected(Some("large-32")).unwrap()[0].batch, 128);
        let error = selected(Some("medium"))
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains("small-224"), "{error}");
    }

    /// Two sides that claim to need 0.5 and 0.25 seconds, however many steps.
    #[cfg(unix)]
    #[test]
    fn sides_take_turns_and_the_ratio_is_ours_over_theirs() {
        let arguments = TrainArguments {
            torch: None,
            json: None,
            case: None,
            threads: 2,
            rounds: 3,
        };
        let fake = |seconds| {
            let mut command = Command::new("sh");
            let script =
                "echo ready; while read word steps; do test $word = run || exit 0; echo $0; done";
            command.args(["-c", script, seconds]);
            command
        };
        let outcome = measure(&CASES[3], vec![fake("0.5"), fake("0.25")], &arguments).unwrap();
        // 2 and 4 steps make a round of a second.
        assert_eq!(outcome.ours, 512.0);
        assert_eq!(outcome.torch, Some(2048.0));
        assert_eq!(outcome.ratio, Some(0.25));
        let alone = measure(&CASES[3], vec![fake("0.5")], &arguments).unwrap();
        let json = serde_json::to_value(Report {
            results: vec![alone],
        })
        .unwrap();
        let expected = serde_json::json!({"results": [{
            "model": "small", "image_size": 32, "batch": 128, "precision": "f32",
            "ours": 512.0, "torch": null, "ratio": null,
        }]});
        assert_eq!(json, expected);
    }
}
