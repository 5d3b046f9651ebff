//! The reports of runs and of evaluations.

use std::io::Write;
use std::path::{Path, PathBuf};

use mnist_data::{DecodeOptions, ImageFolder, Listing};
use mobilenet::weights::WeightsMetadata;
use report::{Images, Material, View};
use trainer::{Evaluation, Listed, Measured, Splits};

use crate::args::ReportArgs;
use crate::terminal::Terminal;

/// Makes the report of a run anew.
pub(crate) fn report(args: &ReportArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let material = Material::of_run(&args.run)?;
    let listed = listed(&material, terminal);
    let measured = material.scores.as_ref().map(|(_, measured)| *measured);
    let images = Images {
        training: listed.as_ref().map(Listed::training),
        measured: listed
            .as_ref()
            .zip(measured)
            .map(|(listed, measured)| listed.measured(measured)),
        view: material.view(),
    };
    let path = report::write_run(&args.run, &material, &images)?;
    let mut out = super::stdout();
    writeln!(out, "report {}", path.display())?;
    Ok(out.flush()?)
}

/// The images of a run, if they are still at their place.
fn listed(material: &Material, terminal: &Terminal) -> Option<Listed> {
    let (config, _) = material.config.as_ref()?;
    let listed = Listed::open(config);
    if let Err(error) = &listed {
        let error = mnist_data::with_causes(error);
        terminal.line(&format!(
            "the images of the run are not found, so the report does not show them: {error}"
        ));
    }
    listed.ok()
}

/// Writes the report of a run at its end, and says where it is. A failure is only a warning: the run is complete.
pub(super) fn of_training(run: &Path, splits: &Splits, terminal: &Terminal) {
    let write = || -> report::Result<PathBuf> {
        let material = Material::of_run(run)?;
        let scores = material.scores.as_ref();
        let measured = scores.map_or(Measured::Validation, |(_, measured)| *measured);
        let images = Images {
            training: Some(&splits.train),
            measured: Some(splits.measured(measured).0),
            view: material.view(),
        };
        report::write_run(run, &material, &images)
    };
    terminal.line(&match write() {
        Ok(path) => format!("Report, to open in a browser: {}", path.display()),
        Err(error) => format!(
            "warning: the report could not be written: {}; to try again: classify report {}",
            mnist_data::with_causes(&error),
            report::quoted(run)
        ),
    });
}

/// The file of answers beside the report of an evaluation.
pub(super) fn answers_beside(report: &Path) -> PathBuf {
    report.with_extension("csv")
}

/// Writes the report of an evaluation.
pub(super) fn of_evaluation(
    path: &Path,
    scores: &Evaluation,
    (data, metadata): (&Path, &WeightsMetadata),
    (weights, decode): (&[PathBuf], DecodeOptions),
) -> anyhow::Result<()> {
    let names = weights.iter().map(|weights| {
        let name = weights.file_name().unwrap_or(weights.as_os_str());
        name.to_string_lossy().into_owned()
    });
    let material = Material {
        name: names.collect::<Vec<_>>().join(" and "),
        scores: Some((scores.clone(), Measured::Test)),
        answers: Some(answers_beside(path)),
        ..Material::default()
    };
    let measured = labelled(data);
    let images = Images {
        training: None,
        measured: measured.as_ref(),
        view: Some(View {
            size: metadata.image_size,
            framing: metadata.framing,
            decode: DecodeOptions {
                orientation: metadata.orientation,
                ..decode
            },
        }),
    };
    Ok(report::write_page(path, &material, &images)?)
}

/// The evaluated images. They could be listed a moment ago; otherwise the report has placeholders.
fn labelled(data: &Path) -> Option<ImageFolder> {
    match data.is_file() {
        true => ImageFolder::from_csv(data, None, None).ok(),
        false => Listing::default().training(data).ok(),
    }
}
