use std::io::Write;
use std::path::Path;

use trainer::{Classifier, Evaluation, InferenceOptions, MetricsFile, Outcome, RunConfig, Splits};

use crate::Done;
use crate::args::TrainArgs;
use crate::interrupt::Interrupt;
use crate::terminal::{Run, Terminal, Work};
use crate::{layers, prepare};

pub(crate) fn train(args: &TrainArgs, terminal: &Terminal) -> anyhow::Result<Done> {
    let mut config = layers::load(args.run.config.as_deref(), &args.run.set)?;
    super::use_threads(config.train.threads())?;
    let interrupt = Interrupt::listen(terminal)?;
    let is_sample = prepare::images(&mut config, terminal)?;
    let splits = Splits::open(&config)?;
    // What is wrong with the test images should not show only when training is over.
    let test = splits.test(&config)?;
    let outcome = super::in_run_dir(&args.run, config.data.source.name(), |run| {
        let mut sinks = (Run::new(terminal), MetricsFile::append(&run.metrics())?);
        Ok(interrupt.during(|asked| trainer::fit(&config, &splits, run, &mut sinks, asked))?)
    })?;
    if interrupt.was_asked() {
        terminal.line(&match &outcome.best {
            Some(best) => format!("the best weights so far are in {}", best.weights.display()),
            None => "no epoch was completed, so that there are no weights".to_owned(),
        });
        return Ok(Done::Interrupted);
    }
    if let Some(test) = test {
        let result = evaluate(&config, &outcome, &test, terminal);
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
    outcome: &Outcome,
    test: &Path,
    terminal: &Terminal,
) -> trainer::Result<Evaluation> {
    // As `evaluate` looks for it.
    let name = test.file_stem().and_then(|stem| stem.to_str());
    let name = name.unwrap_or(mnist_data::TEST);
    let seen = &outcome.metadata;
    let options = InferenceOptions {
        batch_size: config.data.batch_size,
        workers: config.workers(),
        on_bad_image: config.data.on_bad_image,
        bad_image_limit: config.data.bad_image_limit,
        decode: config.data.decode_options(),
        disk_cache: (config.data).disk_cache(name, seen.image_size, seen.framing),
        ..InferenceOptions::default()
    };
    let classifier = Classifier::new(outcome.network.as_ref(), seen);
    trainer::evaluate(&classifier, test, options, &Work::new(terminal))
}

/// The weights are told of, whatever became of the test.
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
