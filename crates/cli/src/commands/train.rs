use std::io::Write;
use std::path::Path;

use trainer::{Classifier, Evaluation, InferenceOptions, MetricsFile, Outcome, RunConfig, Splits};

use crate::Done;
use crate::args::TrainArgs;
use crate::interrupt::Interrupt;
use crate::prepare;
use crate::terminal::{Run, Terminal, Work};

pub(crate) fn train(args: &TrainArgs, terminal: &Terminal) -> anyhow::Result<Done> {
    let mut config = super::configuration(&args.run)?;
    super::use_threads(config.train.threads())?;
    let interrupt = Interrupt::listen(terminal)?;
    let is_sample = prepare::images(&mut config, terminal)?;
    let splits = Splits::open_showing(&config, &Work::new(terminal))?;
    let outcome = super::in_run_dir(&args.run, config.data.source.name(), |run| {
        let mut sinks = (Run::new(terminal), MetricsFile::append(&run.metrics())?);
        Ok(interrupt.during(|asked| trainer::fit(&config, &splits, run, &mut sinks, asked))?)
    })?;
    if interrupt.was_asked() {
        terminal.line(&match &outcome.best {
            Some(best) => format!("the best weights so far are in {}", best.weights.display()),
            None => "no epoch was completed, so there are no weights".to_owned(),
        });
        return Ok(Done::Interrupted);
    }
    if splits.test().is_some() {
        let result = evaluate(&config, &splits, &outcome, terminal);
        print_result(&outcome, result.as_ref().ok())?;
        result?;
    } else {
        print_result(&outcome, None)?;
        let root = config.data.root();
        terminal.line(&format!("no test split in {}", root.display()));
    }
    if is_sample {
        prepare::warn_of_sample(terminal);
    }
    Ok(Done::Completed)
}

fn evaluate(
    config: &RunConfig,
    splits: &Splits,
    outcome: &Outcome,
    terminal: &Terminal,
) -> trainer::Result<Option<Evaluation>> {
    let Some((images, name)) = splits.test() else {
        return Ok(None);
    };
    let classifier = Classifier::new(outcome.network.as_ref(), &outcome.metadata);
    let options = splits.test_options(config);
    trainer::evaluate_images(&classifier, images, name, options, &Work::new(terminal)).map(Some)
}

/// Prints the weights' path even if the test failed.
fn print_result(outcome: &Outcome, test: Option<&Evaluation>) -> std::io::Result<()> {
    let mut out = super::stdout();
    if let Some(test) = test {
        writeln!(out, "test accuracy {:.4}", test.accuracy)?;
        writeln!(out, "test macro F1 {:.4}", test.macro_f1)?;
        writeln!(out, "test loss {:.4}", test.loss)?;
        if test.skipped > 0 {
            writeln!(out, "test images skipped {}", test.skipped)?;
        }
    }
    if let Some(best) = &outcome.best {
        writeln!(out, "best epoch {}", best.epoch)?;
        writeln!(out, "weights {}", best.weights.display())?;
    }
    out.flush()
}
