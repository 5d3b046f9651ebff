//! `classify predict`: one pass over the images, and the outputs that are requested of it.

mod inputs;
mod sheet;
mod sort;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use mnist_data::{Classes, NoProgress, Progress};
use trainer::{Prediction, PredictionColumns, PredictionsFile};

use self::inputs::{Found, Inputs};
use self::sheet::Sheet;
use self::sort::Sorted;
use super::{Opened, on_bad_image};
use crate::args::PredictArgs;
use crate::explain::Explainer;
use crate::terminal::{Terminal, Work};

pub(crate) fn predict(args: &PredictArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let inputs = Inputs::list(&args.inputs, on_bad_image(&args.inference))?;
    let Opened {
        classifier,
        options,
    } = super::open(&args.weights, &args.inference, terminal)?;
    let metadata = classifier.metadata();
    let is_named = metadata.class_order.is_named();
    if !is_named {
        terminal.line(super::NUMBERED);
    }
    let names = &metadata.class_names;
    let classes = Classes::new(names.clone())?;
    if args.sheet.wrong {
        inputs::check_known(&inputs, &classes)?;
    }
    let explaining = classifier.clone().with_decoding(options.decode);
    let explainer = match &args.explain {
        Some(_) if args.weights.len() > 1 => return Err(classifier::Error::ExplainEnsemble.into()),
        Some(folder) => Some(Explainer::create(
            folder,
            &explaining,
            options.batch_size,
            true,
        )?),
        None => None,
    };
    let mut outputs = Outputs {
        columns: PredictionColumns {
            top_k: args.top_k.map(usize::from),
            probabilities: args.probabilities,
        },
        classes: &classes,
        is_json: args.json,
        table: None,
        sorted: None,
        sheet: Sheet::new(&args.sheet, options.decode)?,
        explainer,
        rows: 0,
    };
    if let Some(folder) = &args.out {
        outputs.table = Some(table(folder, names, outputs.columns)?);
    }
    if let Some(folder) = &args.sort.sort_into {
        outputs.sorted = Some(Sorted::create(folder, args.sort.sort_by, names, &inputs)?);
    }
    let work = Work::new(terminal);
    // A bar would mix with the lines.
    let progress: &dyn Progress = match args.json && io::stdout().is_terminal() {
        true => &NoProgress,
        false => &work,
    };
    let mut images = inputs.iter();
    for prediction in trainer::predict(&classifier, inputs.samples.clone(), options, progress)? {
        let prediction = prediction?;
        let found = inputs::next(&mut images, &prediction.id)?;
        outputs.add(&prediction, &found)?;
    }
    outputs.finish(terminal)
}

/// Creates `predictions.csv` in a folder, and the folder if it is missing.
fn table(
    folder: &Path,
    names: &[String],
    columns: PredictionColumns,
) -> anyhow::Result<(PathBuf, PredictionsFile)> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    files::sweep(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let path = folder.join("predictions.csv");
    let file = PredictionsFile::create(&path, names, columns)?;
    Ok((path, file))
}

/// The outputs that are requested. Each receives every prediction as it comes.
struct Outputs<'a> {
    columns: PredictionColumns,
    classes: &'a Classes,
    is_json: bool,
    table: Option<(PathBuf, PredictionsFile)>,
    sorted: Option<Sorted>,
    sheet: Option<Sheet<'a>>,
    explainer: Option<Explainer<'a>>,
    rows: usize,
}

impl Outputs<'_> {
    fn add(&mut self, prediction: &Prediction, found: &Found) -> anyhow::Result<()> {
        self.rows += 1;
        if let Some((_, file)) = &mut self.table {
            file.write(prediction)?;
        }
        if let Some(sorted) = &mut self.sorted {
            sorted.add(prediction.label, found)?;
        }
        if let Some(sheet) = &mut self.sheet {
            sheet.offer(prediction, found, self.classes);
        }
        if let Some(explainer) = &mut self.explainer {
            explainer.add(found.sample, prediction.label, prediction.probability())?;
        }
        if self.is_json {
            let object = prediction.object(self.classes.names(), self.columns)?;
            let mut line = serde_json::to_vec(&object).map_err(io::Error::from)?;
            line.push(b'\n');
            // Each line is written at once, for a reader that waits for it.
            io::stdout().lock().write_all(&line)?;
        }
        Ok(())
    }

    fn finish(self, terminal: &Terminal) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        if let Some((path, file)) = self.table {
            file.finish()?;
            lines.push(format!("{}\t{} rows", path.display(), self.rows));
        }
        if let Some(sorted) = &self.sorted {
            lines.push(sorted.summary());
        }
        if let Some(sheet) = self.sheet {
            lines.push(sheet.finish(self.classes)?);
        }
        if let Some(explainer) = self.explainer {
            lines.push(explainer.finish()?);
        }
        if self.is_json {
            for line in lines {
                terminal.line(&line.replace('\t', ": "));
            }
            return Ok(());
        }
        let mut out = super::stdout();
        for line in lines {
            writeln!(out, "{line}")?;
        }
        out.flush()?;
        Ok(())
    }
}
