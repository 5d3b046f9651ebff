use std::io::Write;

use trainer::{CrossValidation, Splits, Spread};

use crate::Done;
use crate::args::CrossValidateArgs;
use crate::interrupt::Interrupt;
use crate::prepare;
use crate::run::Run;
use crate::terminal::Terminal;

pub(crate) fn cross_validate(
    args: &CrossValidateArgs,
    terminal: &Terminal,
) -> anyhow::Result<Done> {
    let mut config = super::configuration(&args.run)?;
    super::use_threads(config.train.threads())?;
    let interrupt = Interrupt::listen(terminal)?;
    let is_sample = prepare::images(&mut config, terminal)?;
    let splits = Splits::open_for_folds(&config)?;
    let done = super::in_run_dir(&args.run, "folds", |run| {
        let mut sink = Run::new(terminal);
        let result = interrupt.during(|asked| {
            let (folds, seed) = (args.folds.into(), args.seed);
            trainer::cross_validate(&config, &splits, folds, seed, run, &mut sink, asked)
        });
        let report = run.cross_validation();
        if !matches!(result, Ok(Some(_))) && report.is_file() {
            let report = report.display();
            terminal.line(&format!("finished folds are in {report}"));
        }
        let Some(result) = result? else {
            return Ok(Done::Interrupted);
        };
        let mut out = super::stdout();
        table(&mut out, &result)?;
        // The results are written again, in case the write after the last fold failed.
        result.write(&report)?;
        writeln!(out, "report {}", report.display())?;
        out.flush()?;
        Ok(Done::Completed)
    })?;
    if is_sample {
        prepare::warn_of_sample(terminal);
    }
    Ok(done)
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
