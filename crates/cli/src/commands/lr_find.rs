use std::io::Write;

use trainer::{LrRange, Splits};

use crate::Done;
use crate::args::LrFindArgs;
use crate::interrupt::Interrupt;
use crate::terminal::{Run, Terminal};
use crate::{layers, pictures, prepare};

pub(crate) fn lr_find(args: &LrFindArgs, terminal: &Terminal) -> anyhow::Result<Done> {
    let mut config = layers::load(args.run.config.as_deref(), &args.run.set)?;
    super::use_threads(config.train.threads())?;
    let interrupt = Interrupt::listen(terminal)?;
    prepare::images(&mut config, terminal)?;
    let splits = Splits::open(&config)?;
    let run = super::run_dir(&args.run, "lr-find")?;
    let range = LrRange {
        from: args.from,
        to: args.to,
        steps: args.steps,
    };
    let mut sink = Run::new(terminal);
    let curve = interrupt.during(|asked| {
        trainer::find_learning_rate(&config, range, &splits, &run, &mut sink, asked)
    })?;
    let (csv, svg) = (
        run.path().join("lr-find.csv"),
        run.path().join("lr-find.svg"),
    );
    curve.write_csv(&csv)?;
    pictures::learning_rates(&svg, &curve)?;
    let mut out = super::stdout();
    match curve.suggestion() {
        Some(rate) => writeln!(out, "suggested learning rate {rate:.1e}")?,
        None => writeln!(out, "the loss never falls: no learning rate to suggest")?,
    }
    writeln!(out, "curve {}", csv.display())?;
    writeln!(out, "picture {}", svg.display())?;
    out.flush()?;
    Ok(match interrupt.was_asked() {
        true => Done::Interrupted,
        false => Done::Completed,
    })
}
