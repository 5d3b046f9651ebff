//! `classify`: trains, evaluates and uses image classifiers.

mod args;
mod commands;
mod drawing;
mod ending;
mod escape;
mod exit;
mod explain;
mod interrupt;
mod json_log;
mod layers;
mod pace;
mod photos;
mod prepare;
mod resume;
mod run;
mod screen;
mod survey;
mod terminal;
mod tui;
mod weights_cache;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use terminal::Terminal;

/// How a command without an error ended.
pub(crate) enum Done {
    Completed,
    Interrupted,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::new();
    terminal.install_logs(cli.verbose);
    if let Some(folder) = weights_cache::kernels() {
        trainer::keep_kernels_in(folder);
    }
    if let Some(folder) = weights_cache::speeds() {
        trainer::keep_speeds_in(folder);
    }
    match run(cli.command, &terminal) {
        Ok(Done::Completed) => ExitCode::SUCCESS,
        Ok(Done::Interrupted) => ExitCode::from(130),
        // The reader of our output has closed the pipe.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal.error(&error);
            ExitCode::from(if exit::is_usage(&error) { 2 } else { 1 })
        }
    }
}

fn run(command: Command, terminal: &Terminal) -> anyhow::Result<Done> {
    match command {
        Command::Fetch(args) => commands::fetch(&args, terminal)?,
        Command::Unpack(args) => commands::unpack(&args, terminal)?,
        Command::Train(args) => return commands::train(&args, terminal),
        Command::CrossValidate(args) => return commands::cross_validate(&args, terminal),
        Command::LrFind(args) => return commands::lr_find(&args, terminal),
        Command::Evaluate(args) => commands::evaluate(&args, terminal)?,
        Command::Report(args) => commands::report(&args, terminal)?,
        Command::Predict(args) => commands::predict(&args, terminal)?,
        Command::Compare(args) => commands::compare(&args, terminal)?,
        Command::Inspect(args) => commands::inspect(&args)?,
        Command::Models(args) => commands::models(&args)?,
        Command::Export(args) => commands::export(&args)?,
        Command::Serve(args) => commands::serve(args, terminal)?,
        Command::ImportConfig(args) => commands::import_config(&args, terminal)?,
        Command::Completions(args) => commands::completions(&args)?,
        Command::Man(args) => commands::man(&args)?,
    }
    Ok(Done::Completed)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
