use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use mnist_data::{BadImage, Listing, Sample};
use trainer::PredictionsFile;

use super::{Opened, on_bad_image};
use crate::args::PredictArgs;
use crate::explain::Explainer;
use crate::terminal::{Terminal, Work};

pub(crate) fn predict(args: &PredictArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let images = images(&args.inputs, on_bad_image(&args.inference))?;
    let Opened {
        classifier,
        options,
    } = super::open(&args.weights, &args.inference, terminal)?;
    if !classifier.metadata().class_order.is_named() {
        terminal.line(super::NUMBERED);
    }
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create the folder {}", args.out.display()))?;
    files::sweep(&args.out).with_context(|| format!("cannot list {}", args.out.display()))?;
    let path = args.out.join("predictions.csv");
    let mut file = PredictionsFile::create(&path, &classifier.metadata().class_names)?;
    let explaining = classifier.clone().with_decoding(options.decode);
    let mut explainer = match &args.explain {
        Some(_) if args.weights.len() > 1 => return Err(classifier::Error::ExplainEnsemble.into()),
        Some(folder) => Some(Explainer::create(folder, &explaining, options.batch_size, true)?),
        None => None,
    };
    let progress = Work::new(terminal);
    let mut rows = 0;
    let listed = images.clone();
    let mut listed = listed.iter();
    for prediction in trainer::predict(&classifier, images, options, &progress)? {
        let prediction = prediction?;
        file.write(&prediction)?;
        rows += 1;
        if let Some(explainer) = &mut explainer {
            // Predictions come in the order of the images; unreadable images have none.
            let sample = listed.find(|sample| sample.id() == prediction.id);
            let sample = sample.context("a prediction belongs to no image")?;
            explainer.add(sample, prediction.label, prediction.probability())?;
        }
    }
    file.finish()?;
    let mut out = super::stdout();
    writeln!(out, "{}\t{rows} rows", path.display())?;
    if let Some(explainer) = explainer {
        writeln!(out, "{}", explainer.finish()?)?;
    }
    out.flush()?;
    Ok(())
}

/// Lists the images of all inputs. With several inputs, ids begin with the input's path, so that equal names stay
/// distinct.
fn images(inputs: &[PathBuf], on_bad_name: BadImage) -> anyhow::Result<Vec<Sample>> {
    let list = |input: &PathBuf| Listing { on_bad_name }.images(input);
    if let [input] = inputs {
        return Ok(list(input)?);
    }
    let mut images = Vec::new();
    for input in inputs {
        let name = input.display().to_string();
        if input.is_dir() {
            let prefix = format!("{}/", name.trim_end_matches('/'));
            images.extend(
                list(input)?
                    .into_iter()
                    .map(|sample| sample.prefixed(&prefix)),
            );
        } else {
            // The id of a single file is its name, which the path already contains.
            let found = list(input)?.into_iter();
            images.extend(found.map(|sample| Sample::new(name.clone(), sample.path(), 0)));
        }
    }
    Ok(images)
}
