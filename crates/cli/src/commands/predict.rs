use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use mnist_data::{BadImage, Listing};
use trainer::PredictionsFile;

use super::{Opened, on_bad_image};
use crate::args::PredictArgs;
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
    let progress = Work::new(terminal);
    let mut rows = 0;
    for prediction in trainer::predict(&classifier, images, options, &progress)? {
        file.write(&prediction?)?;
        rows += 1;
    }
    file.finish()?;
    let mut out = super::stdout();
    writeln!(out, "{}\t{rows} rows", path.display())?;
    out.flush()?;
    Ok(())
}

/// Lists the images of all inputs. With several inputs, ids begin with the input's path, so that equal names stay
/// distinct.
fn images(inputs: &[PathBuf], on_bad_name: BadImage) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut images = Vec::new();
    for input in inputs {
        let found = Listing { on_bad_name }.images(input)?;
        images.extend(found.into_iter().map(|(id, path)| match inputs {
            [_] => (id, path),
            _ => (prefixed(input, &path, id), path),
        }));
    }
    Ok(images)
}

fn prefixed(input: &Path, path: &Path, id: String) -> String {
    // The id of a single file is its name, which the path already contains.
    if input == path {
        return input.display().to_string();
    }
    format!("{}/{id}", input.display().to_string().trim_end_matches('/'))
}
