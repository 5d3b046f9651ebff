use std::io::Write;

use trainer::{CrossValidation, Splits, Spread};

use crate::Done;
use crate::args::CrossValidateArgs;
use crate::interrupt::Interrupt;
use crate::terminal::{Run, Terminal};
use crate::{layers, prepare};

pub(crate) fn cross_validate(
    args: &CrossValidateArgs,
    terminal: &Terminal,
) -> anyhow::Result<Done> {
    let mut config = layers::load(args.run.config.as_deref(), &args.run.set)?;
    super::use_threads(config.train.threads())?;
    let interrupt = Interrupt::listen(terminal)?;
    prepare::images(&mut config, terminal)?;
    let splits = Splits::open(&config)?;
    let run = super::run_dir(&args.run, "folds")?;
    let mut sink = Run::new(terminal);
    let result = interrupt.during(|asked| {
        let (folds, seed) = (args.folds.into(), args.seed);
        trainer::cross_validate(&config, &splits, folds, seed, &run, &mut sink, asked)
    })?;
    let Some(result) = result else {
        return Ok(Done::Interrupted);
    };
    let path = run.path().join("cross-validation.json");
    let json = serde_json::to_vec_pretty(&result)?;
    mnist_data::write_atomically(&path, |file| file.write_all(&json))?;
    let mut out = super::stdout();
    table(&mut out, &result)?;
    writeln!(out, "report {}", path.display())?;
    out.flush()?;
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
