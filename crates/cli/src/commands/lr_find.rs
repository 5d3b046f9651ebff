use std::io::Write;

use trainer::{LrCurve, LrRange, RunDir, Splits};

use crate::Done;
use crate::args::LrFindArgs;
use crate::interrupt::Interrupt;
use crate::prepare;
use crate::run::Run;
use crate::terminal::Terminal;

pub(crate) fn lr_find(args: &LrFindArgs, terminal: &Terminal) -> anyhow::Result<Done> {
    let mut config = super::configuration(&args.run)?;
    let interrupt = Interrupt::listen(terminal)?;
    let is_sample = super::ready(&mut config, terminal)?;
    let splits = Splits::open(&config)?;
    let range = LrRange {
        from: args.from,
        to: args.to,
        steps: args.steps,
    };
    super::in_run_dir(&args.run, "lr-find", |run| {
        let mut sink = Run::of_steps(terminal);
        let curve = interrupt.during(|asked| {
            trainer::find_learning_rate(&config, range, &splits, run, &mut sink, asked)
        })?;
        if curve.points.is_empty() {
            terminal.line("no step was taken, so there is no curve");
            return Ok(());
        }
        write(run, &curve)?;
        if config.train.freeze_epochs > 0 {
            terminal.line(
                "this rate is for the head alone, because train.freeze_epochs is above 0; \
                 for that of the whole network: --set train.freeze_epochs=0",
            );
        }
        Ok(())
    })?;
    if is_sample {
        prepare::warn_of_sample(terminal);
    }
    Ok(match interrupt.was_asked() {
        true => Done::Interrupted,
        false => Done::Completed,
    })
}

fn write(run: &RunDir, curve: &LrCurve) -> anyhow::Result<()> {
    let (csv, svg) = (
        run.path().join("lr-find.csv"),
        run.path().join("lr-find.svg"),
    );
    // The suggestion is printed even if the files cannot be written.
    let mut out = super::stdout();
    match curve.suggestion() {
        Some(rate) => writeln!(out, "suggested learning rate {rate:.1e}")?,
        None => writeln!(out, "the loss never falls: no learning rate to suggest")?,
    }
    out.flush()?;
    curve.write_csv(&csv)?;
    let plot = report::learning_rates(curve)?.to_file();
    mnist_data::write_atomically(&svg, |file| file.write_all(plot.as_bytes()))?;
    writeln!(out, "curve {}", csv.display())?;
    writeln!(out, "plot {}", svg.display())?;
    Ok(out.flush()?)
}
