//! Going on with a run that was interrupted.

use std::path::{Path, PathBuf};

use trainer::config::{Change, Layer, PrecisionChoice};
use trainer::{Ending, Measured, RunConfig, RunDir, RunState};

use crate::args::RunArgs;
use crate::terminal::Terminal;
use crate::{layers, weights_cache};
use report::quoted;

/// The configuration of an earlier run with the user's changes. Changed settings are listed.
pub(crate) fn configuration(
    run: &RunDir,
    args: &RunArgs,
    terminal: &Terminal,
) -> anyhow::Result<RunConfig> {
    let mut all = vec![Layer::read(&run.config())?];
    let before = RunConfig::from_layers(&all)?;
    all.extend(layers::user_layers(args.config.as_deref(), &args.set)?);
    let mut config = RunConfig::from_layers(&all)?;
    // A run keeps the precision that was measured to be the fastest when it began.
    if config.train.precision == PrecisionChoice::Auto {
        config.train.precision = before.train.precision;
    }
    let changes = before.changes(&config)?;
    for Change { key, from, to, .. } in &changes {
        terminal.line(&format!("changed: {key} from {from} to {to}"));
    }
    // The names of fetched weights are replaced by their files. Unchanged ones are paths already, and a network's own
    // weights need not exist any more.
    let names_weights =
        |change: &Change| ["distillation.teacher", "model.pretrained"].contains(&&*change.key);
    if changes.iter().any(names_weights) {
        weights_cache::resolve_all(&mut config)?;
    }
    Ok(config)
}

/// Refuses the folder of a cross-validation or of one of its folds.
pub(crate) fn refuse_cross_validation(dir: &Path) -> anyhow::Result<()> {
    for folds in [dir, files::parent(dir)] {
        if folds.join(RunDir::CROSS_VALIDATION).is_file() {
            anyhow::bail!(
                "{} belongs to a cross-validation; {}",
                dir.display(),
                command(folds, "cross-validate")
            );
        }
    }
    Ok(())
}

/// Refuses a run that is over and has weights, but no state: it would be trained again from its beginning. Without
/// weights there is nothing to lose.
pub(crate) fn refuse_finished(run: &RunDir, config: &RunConfig) -> anyhow::Result<()> {
    let metrics = std::fs::read_to_string(run.metrics()).unwrap_or_default();
    let is_over = run.path().join(crate::commands::WRONG).is_file()
        || metrics.lines().count() >= config.train.epochs;
    let is_weights = |path: PathBuf| path.extension().is_some_and(|kind| kind == "safetensors");
    let has_weights = || -> std::io::Result<bool> {
        let mut entries = std::fs::read_dir(run.path())?;
        entries.try_fold(false, |any, entry| Ok(any || is_weights(entry?.path())))
    };
    if is_over && has_weights()? {
        anyhow::bail!(
            "{} is over, and no state is left from which it could go on; start a new run",
            run.path().display()
        );
    }
    Ok(())
}

/// How to go on after an error.
pub(crate) fn after(error: &trainer::Error, run: &Path) -> String {
    match error.is_divergence() {
        true => format!(
            "the state before is kept; start a new run with other settings, or leave out such batches:\n  \
             classify train --resume {} --set train.on_divergence=skip",
            quoted(run)
        ),
        false => format!(
            "the run can go on from its last state when the cause below is gone\n{}",
            command(run, "train")
        ),
    }
}

/// The line about the command that goes on with a run. `command` is `train` or `cross-validate`.
pub(crate) fn command(run: &Path, command: &str) -> String {
    format!("to go on:\n  classify {command} --resume {}", quoted(run))
}

/// Whether all work of a run is done: its epochs are trained, its weights are there, and its scores and wrong answers are
/// written. The wrong answers are written last, after the report.
pub(crate) fn is_finished(run: &RunDir, state: &RunState, config: &RunConfig) -> bool {
    let is_over = match state.ending() {
        Some(Ending::StoppedEarly) => true,
        Some(Ending::Completed) => state.place().epoch > config.train.epochs,
        Some(Ending::Interrupted) | None => false,
    };
    let best = state.best(run.path());
    is_over
        && best.is_some_and(|best| best.weights.is_file())
        && run.path().join(crate::commands::WRONG).is_file()
        && [Measured::Test, Measured::Validation]
            .into_iter()
            .any(|measured| is_evaluated(run, measured))
}

/// Whether the scores and the answers of a run's best weights are written.
fn is_evaluated(run: &RunDir, measured: Measured) -> bool {
    RunDir::evaluation(run.path(), measured).is_file()
        && RunDir::answers(run.path(), measured).is_file()
}
