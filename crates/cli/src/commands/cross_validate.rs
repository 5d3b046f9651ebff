use std::io::Write;

use trainer::{CrossValidation, FoldsConfig, RunConfig, RunDir, Splits, Spread};

use crate::Done;
use crate::args::CrossValidateArgs;
use crate::interrupt::Interrupt;
use crate::json_log::{Ending, JsonLog};
use crate::run::Run;
use crate::terminal::Terminal;
use crate::{prepare, resume};

pub(crate) fn cross_validate(
    args: &CrossValidateArgs,
    terminal: &Terminal,
) -> anyhow::Result<Done> {
    let mut log = JsonLog::on_stdout(args.json_log);
    let done = with_log(args, &mut log, terminal);
    if let (Err(error), Some(log)) = (&done, &mut log) {
        let error = format!("{error:#}");
        log.write(&Ending::Failed { error });
    }
    done
}

fn with_log(
    args: &CrossValidateArgs,
    log: &mut Option<JsonLog>,
    terminal: &Terminal,
) -> anyhow::Result<Done> {
    let interrupt = Interrupt::listen(terminal)?;
    let Some(dir) = &args.resume else {
        let config = super::configuration(&args.run)?;
        let prepared = prepared(config, terminal)?;
        return super::in_run_dir(&args.run, "folds", |run| {
            let division = FoldsConfig {
                count: args.folds.into(),
                seed: args.seed,
            };
            validated(run, &division, None, prepared, &interrupt, log, terminal)
        });
    };
    let run = RunDir::reopen(dir)?;
    let before = CrossValidation::read(&run)?;
    let config = resume::configuration(&run, &args.run, terminal)?;
    let prepared = prepared(config, terminal)?;
    let division = before.division.clone();
    validated(
        &run,
        &division,
        Some(before),
        prepared,
        &interrupt,
        log,
        terminal,
    )
}

struct Prepared {
    config: RunConfig,
    splits: Splits,
    is_sample: bool,
}

fn prepared(mut config: RunConfig, terminal: &Terminal) -> anyhow::Result<Prepared> {
    let is_sample = super::ready(&mut config, terminal)?;
    let splits = Splits::open_for_folds(&config)?;
    Ok(Prepared {
        config,
        splits,
        is_sample,
    })
}

fn validated(
    run: &RunDir,
    division: &FoldsConfig,
    before: Option<CrossValidation>,
    prepared: Prepared,
    interrupt: &Interrupt,
    log: &mut Option<JsonLog>,
    terminal: &Terminal,
) -> anyhow::Result<Done> {
    let Prepared {
        config,
        splits,
        is_sample,
    } = prepared;
    let mut sink = (Run::new(terminal), log.as_mut());
    let result = interrupt.during(|asked| {
        trainer::cross_validate(&config, &splits, division, run, before, &mut sink, asked)
    });
    let report = run.cross_validation();
    if !matches!(result, Ok(Some(_))) && report.is_file() {
        let report = report.display();
        terminal.line(&format!("finished folds are in {report}"));
        terminal.line(&resume::command(run.path(), "cross-validate"));
    }
    let Some(result) = result? else {
        return Ok(Done::Interrupted);
    };
    if let Some(log) = log {
        result.write(&report)?;
        log.write(&Ending::CrossValidation {
            folds: result.folds.len(),
            accuracy: result.accuracy.mean,
            accuracy_std: result.accuracy.std,
            macro_f1: result.macro_f1.mean,
            macro_f1_std: result.macro_f1.std,
            loss: result.loss.mean,
            loss_std: result.loss.std,
            report: report.display().to_string(),
        });
    } else {
        let mut out = super::stdout();
        table(&mut out, &result)?;
        // The results are written again, in case the write after the last fold failed.
        result.write(&report)?;
        writeln!(out, "report {}", report.display())?;
        out.flush()?;
    }
    if is_sample {
        prepare::warn_of_sample(terminal);
    }
    Ok(Done::Completed)
}

fn table(out: &mut impl Write, result: &CrossValidation) -> std::io::Result<()> {
    writeln!(
        out,
        "fold  images  epoch  accuracy  macro F1    loss  weights"
    )?;
    for (index, fold) in result.folds.iter().enumerate() {
        let scores = &fold.scores;
        writeln!(
            out,
            "{:4}  {:6}  {:5}  {:8.4}  {:8.4}  {:6.4}  {}",
            index + 1,
            fold.val_images,
            fold.epoch,
            scores.accuracy,
            scores.macro_f1,
            scores.loss,
            fold.weights.display()
        )?;
    }
    for (name, Spread { mean, std }) in [
        ("accuracy", result.accuracy),
        ("macro F1", result.macro_f1),
        ("loss", result.loss),
    ] {
        writeln!(out, "{name} {mean:.4} ± {std:.4}")?;
    }
    Ok(())
}
