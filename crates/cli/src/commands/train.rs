use std::io::Write;
use std::path::Path;

use trainer::config::SaveEvery;
use trainer::{
    Best, Ending, Evaluation, InferenceOptions, Listed, Measured, MetricsFile, Mistake, Outcome,
    RunConfig, RunDir, RunState, Splits, Survey, TensorBoard,
};

use crate::Done;
use crate::args::TrainArgs;
use crate::interrupt::Interrupt;
use crate::json_log::{Ending as Last, JsonLog, RunResult};
use crate::photos::Chosen;
use crate::run::Run;
use crate::terminal::{Terminal, Work};
use crate::tui::{NoTerminal, Tui};
use crate::{ending, explain, photos, prepare, resume, survey};

pub(crate) fn train(args: &TrainArgs, terminal: &Terminal) -> anyhow::Result<Done> {
    let mut log = JsonLog::on_stdout(args.json_log);
    let done = with_log(args, &mut log, terminal);
    if let (Err(error), Some(log)) = (&done, &mut log) {
        let error = format!("{error:#}");
        log.write(&Last::Failed { error });
    }
    done
}

fn with_log(
    args: &TrainArgs,
    log: &mut Option<JsonLog>,
    terminal: &Terminal,
) -> anyhow::Result<Done> {
    if args.tui && !terminal.is_terminal {
        return Err(NoTerminal.into());
    }
    let interrupt = Interrupt::listen(terminal)?;
    let output = Output {
        log,
        tui: args.tui,
        terminal,
    };
    let Some(dir) = &args.resume else {
        let prepared = prepared(args, terminal)?;
        let name = prepared.name.clone();
        return super::in_run_dir(&args.run, &name, |run| {
            trained(run, None, prepared, &interrupt, output)
        });
    };
    let run = RunDir::reopen(dir)?;
    resume::refuse_cross_validation(dir)?;
    let config = resume::configuration(&run, &args.run, terminal)?;
    let state = run.state()?;
    match &state {
        Some(state) if resume::is_finished(&run, state, &config) => {
            let best = state.best(run.path());
            terminal.line(&format!(
                "{} is complete: nothing is left to train",
                dir.display()
            ));
            print_result(output.log, best.as_ref(), None)?;
            return Ok(Done::Completed);
        }
        Some(_) => {}
        None => {
            resume::refuse_finished(&run, &config)?;
            terminal.line("no state was saved yet, so the run begins again");
        }
    }
    let prepared = listed(config, terminal)?;
    trained(&run, state, prepared, &interrupt, output)
}

/// Where a run is shown.
struct Output<'a> {
    log: &'a mut Option<JsonLog>,
    tui: bool,
    terminal: &'a Terminal,
}

/// Trains in the folder of a run, and evaluates.
fn trained(
    run: &RunDir,
    state: Option<RunState>,
    prepared: Prepared,
    interrupt: &Interrupt,
    output: Output,
) -> anyhow::Result<Done> {
    let Output { log, tui, terminal } = output;
    let Prepared {
        config,
        splits,
        is_sample,
        ..
    } = prepared;
    let board = TensorBoard::create(run.path(), &config, &splits)?;
    let metrics = MetricsFile::append(&run.metrics())?;
    let can_save = config.train.save_every != SaveEvery::Never;
    // The view takes the terminal first, so that it receives the lines.
    let tui = tui
        .then(|| Tui::start(terminal, interrupt, can_save))
        .transpose()?;
    let mut sinks = ((Run::new(terminal), tui), (metrics, (board, log.as_mut())));
    let outcome =
        interrupt.during(|asked| trainer::resume(&config, &splits, run, state, &mut sinks, asked));
    drop(sinks);
    let outcome = outcome.inspect_err(|error| {
        if run.has_state() {
            terminal.line(&resume::after(error, run.path()));
        }
    })?;
    if outcome.best.is_some() {
        splits.write_division(run.path())?;
    }
    if outcome.ending == Ending::Interrupted || interrupt.was_asked() {
        terminal.line(&match &outcome.best {
            Some(best) => format!("the best weights so far are in {}", best.weights.display()),
            None => "no epoch was completed, so there are no weights".to_owned(),
        });
        if run.has_state() {
            terminal.line(&resume::command(run.path(), "train"));
        }
        // A report would keep the folder of a run without results.
        if outcome.best.is_some() || run.has_state() {
            super::report::of_training(run.path(), &splits, terminal);
        }
        return Ok(Done::Interrupted);
    }
    let result = evaluate(run, &config, &splits, &outcome, terminal);
    let scores = result.as_ref().ok().and_then(Option::as_ref);
    let scores = scores.map(|(scores, measured)| (scores, *measured));
    print_result(log, outcome.best.as_ref(), scores)?;
    end(&splits, &outcome, scores, terminal);
    if let Some((scores, measured)) = scores {
        let (images, _) = splits.measured(measured);
        let classifier = outcome.classifier();
        let classifier = classifier.map(|it| it.with_decoding(config.data.decode_options()));
        explain::mistakes(run.path(), classifier, images, scores, terminal);
    }
    super::report::of_training(run.path(), &splits, terminal);
    if let Some((scores, _)) = scores {
        // The last file: a run without it is not complete, and `--resume` makes the others anew.
        let wrong = run.path().join(super::WRONG);
        Mistake::write_csv(&wrong, &scores.mistakes, &outcome.metadata.class_names)?;
    }
    result?;
    if is_sample {
        prepare::warn_of_sample(terminal);
    }
    Ok(Done::Completed)
}

/// Prints the result in plain words, with its files and the next command.
fn end(
    splits: &Splits,
    outcome: &Outcome,
    scores: Option<(&Evaluation, Measured)>,
    terminal: &Terminal,
) {
    let Some(best) = &outcome.best else {
        return;
    };
    let run = best.weights.parent().unwrap_or(Path::new(""));
    let wrong = run.join(super::WRONG);
    let mut lines = Vec::new();
    if let Some((scores, measured)) = scores {
        lines.extend(ending::of_scores(scores, measured));
    }
    lines.extend(ending::overfitting(
        &outcome.epochs,
        best.epoch,
        splits.val.samples.len(),
    ));
    lines.extend(ending::next(&best.weights, scores.map(|_| wrong.as_path())));
    lines.iter().for_each(|line| terminal.line(line));
}

/// A run that is ready to begin.
struct Prepared {
    config: RunConfig,
    splits: Splits,
    /// The name of the run's folder, before its number.
    name: String,
    /// Whether the sample digits replace MNIST.
    is_sample: bool,
}

fn prepared(args: &TrainArgs, terminal: &Terminal) -> anyhow::Result<Prepared> {
    let Some(photos) = args.photos.as_ref().or(args.data.as_ref()) else {
        photos::refuse_bystanders(&args.run)?;
        let config = super::configuration(&args.run)?;
        if config == RunConfig::default() {
            terminal.line(
                "no PHOTOS are given, so this trains on MNIST; for your own: classify train FOLDER",
            );
        }
        return listed(config, terminal);
    };
    let Chosen {
        config,
        images,
        lines,
    } = photos::choose(photos, &args.run, args.time_budget, terminal)?;
    let progress = Work::new(terminal);
    let splits = images.split(&config, &progress)?;
    let survey = Survey::of(&splits, &config, &progress)?;
    survey::show(&survey, &config, terminal);
    lines.iter().for_each(|line| terminal.line(line));
    Ok(Prepared {
        config,
        splits,
        name: run_name(photos),
        is_sample: false,
    })
}

/// Prepares the images of a configuration.
fn listed(mut config: RunConfig, terminal: &Terminal) -> anyhow::Result<Prepared> {
    let is_sample = super::ready(&mut config, terminal)?;
    let splits = Listed::open(&config)?.split(&config, &Work::new(terminal))?;
    let name = config.data.source.name().to_owned();
    Ok(Prepared {
        config,
        splits,
        name,
        is_sample,
    })
}

/// A run name from the name of the photos' folder.
fn run_name(photos: &Path) -> String {
    let real = std::fs::canonicalize(photos);
    let real = real.as_deref().unwrap_or(photos);
    let name = match real.is_dir() {
        true => real.file_name(),
        false => real.file_stem(),
    };
    let name = name.map(|name| name.to_string_lossy().into_owned());
    // A file system takes names of 255 bytes; a number follows.
    let mut name = name.unwrap_or_else(|| "photos".to_owned());
    while name.len() > 200 {
        name.pop();
    }
    name
}

/// Measures the network on the test images, or else on the validation images, and writes its scores and answers into
/// the folder of the run; `None` if no epoch was completed.
fn evaluate(
    run: &RunDir,
    config: &RunConfig,
    splits: &Splits,
    outcome: &Outcome,
    terminal: &Terminal,
) -> trainer::Result<Option<(Evaluation, Measured)>> {
    if outcome.best.is_none() {
        return Ok(None);
    }
    let classifier = outcome.classifier()?;
    let measured = match splits.test() {
        Some(_) => Measured::Test,
        None => Measured::Validation,
    };
    let (images, name) = splits.measured(measured);
    let options = InferenceOptions {
        answers: Some(RunDir::answers(run.path(), measured)),
        ..splits.options(config, measured)
    };
    let progress = Work::new(terminal);
    let scores = trainer::evaluate_images(&classifier, images, name, options, &progress)?;
    scores.write(&RunDir::evaluation(run.path(), measured))?;
    Ok(Some((scores, measured)))
}

/// Prints the weights' path even if the test failed; with a log of events, as its last line.
fn print_result(
    log: &mut Option<JsonLog>,
    best: Option<&Best>,
    scores: Option<(&Evaluation, Measured)>,
) -> std::io::Result<()> {
    if let Some(log) = log {
        let evaluation = scores.map(|(evaluation, _)| evaluation);
        log.write(&Last::Result(RunResult {
            split: scores.map(|(_, measured)| measured.name()),
            images: evaluation.map(|scores| scores.images),
            skipped: evaluation.map(|scores| scores.skipped as u64),
            accuracy: evaluation.map(|scores| scores.accuracy),
            macro_f1: evaluation.map(|scores| scores.macro_f1),
            loss: evaluation.map(|scores| scores.loss),
            best_epoch: best.map(|best| best.epoch),
            weights: best.map(|best| best.weights.as_path()),
        }));
        return Ok(());
    }
    let mut out = super::stdout();
    if let Some((scores, measured)) = scores {
        let kind = measured.name();
        writeln!(out, "{kind} accuracy {:.4}", scores.accuracy)?;
        writeln!(out, "{kind} macro F1 {:.4}", scores.macro_f1)?;
        writeln!(out, "{kind} loss {:.4}", scores.loss)?;
        if scores.skipped > 0 {
            writeln!(out, "{kind} images skipped {}", scores.skipped)?;
        }
    }
    if let Some(best) = best {
        writeln!(out, "best epoch {}", best.epoch)?;
        writeln!(out, "weights {}", best.weights.display())?;
    }
    out.flush()
}
