//! Going on with a run that was interrupted.

use std::path::Path;

use trainer::config::{Change, Layer};
use trainer::{Ending, RunConfig, RunDir, RunState};

use crate::args::RunArgs;
use crate::ending::quoted;
use crate::terminal::Terminal;
use crate::{layers, weights_cache};

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
    let changes = before.changes(&config)?;
    for Change { key, from, to, .. } in &changes {
        terminal.line(&format!("changed: {key} from {from} to {to}"));
    }
    // Only the teacher is read again: the state has the weights themselves.
    if changes
        .iter()
        .any(|change| change.key == "distillation.teacher")
    {
        weights_cache::resolve_all(&mut config)?;
    }
    Ok(config)
}

/// The line about the command that goes on with a run. `command` is `train` or `cross-validate`.
pub(crate) fn command(run: &Path, command: &str) -> String {
    format!("to go on:\n  classify {command} --resume {}", quoted(run))
}

/// Whether all work of a run is done: its epochs are trained, its weights are there, and its wrong answers are written.
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
}
