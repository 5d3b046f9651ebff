use mnist_data::TEST;
use std::io::Write;
use trainer::config::DataSource;
use trainer::{Classifier, InferenceOptions, MetricsFile, Outcome, RunConfig, Splits};

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
    let run = super::run_dir(&args.run, config.data.source.name())?;
    if is_sample {
        warn_of_sample(terminal);
    }
    let mut sinks = (Run::new(terminal), MetricsFile::append(&run.metrics())?);
    let outcome =
        interrupt.during(|asked| trainer::fit(&config, &splits, &run, &mut sinks, asked))?;
    if interrupt.was_asked() {
        terminal.line(&match &outcome.best {
            Some(best) => format!("the best weights so far are in {}", best.weights.display()),
            None => "no epoch was completed, so that there are no weights".to_owned(),
        });
        return Ok(Done::Interrupted);
    }
    print_result(&config, &outcome, terminal)?;
    if is_sample {
        warn_of_sample(terminal);
    }
    Ok(Done::Completed)
}

fn print_result(config: &RunConfig, outcome: &Outcome, terminal: &Terminal) -> anyhow::Result<()> {
    let test = config.data.root().join(match config.data.source {
        DataSource::Csv => format!("{TEST}.csv"),
        _ => TEST.to_owned(),
    });
    let mut out = super::stdout();
    if test.exists() {
        let options = InferenceOptions {
            batch_size: config.data.batch_size,
            workers: config.workers(),
            on_bad_image: config.data.on_bad_image,
            disk_cache: config.data.disk_cache(TEST, config.data.image_size),
            ..InferenceOptions::default()
        };
        let progress = Work::new(terminal);
        let classifier = Classifier::new(outcome.network.as_ref(), &outcome.metadata);
        let result = trainer::evaluate(&classifier, &test, options, &progress)?;
        writeln!(out, "test accuracy {:.4}", result.accuracy)?;
        writeln!(out, "test macro F1 {:.4}", result.macro_f1)?;
        writeln!(out, "test loss {:.4}", result.loss)?;
    } else {
        terminal.line(&format!("no test split in {}", test.display()));
    }
    if let Some(best) = &outcome.best {
        writeln!(out, "best epoch {}", best.epoch)?;
        writeln!(out, "weights {}", best.weights.display())?;
    }
    out.flush()?;
    Ok(())
}

fn warn_of_sample(terminal: &Terminal) {
    terminal.line(
        "*** MNIST could not be fetched: this run uses the 2,000 sample digits of data/sample. ***\n\
         *** Its accuracy says nothing about MNIST; the messages above say how to get the real data. ***",
    );
}
