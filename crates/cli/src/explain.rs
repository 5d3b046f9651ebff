//! Explanations of predictions as pictures.

use std::path::{Path, PathBuf};

use anyhow::Context;
use classifier::{Classifier, Explanation, Image, Input};
use mnist_data::{ImageFolder, MAX_IMAGE_BYTES, Progress, Sample, Unit, read_regular};
use rayon::prelude::*;
use report::{Explained, Explanations, IndexRow, explanation_file};
use trainer::{Evaluation, Mistake};

use crate::terminal::{Terminal, Work};

/// The folder of explanations in the folder of a run.
const FOLDER: &str = "explanations";
/// The most mistakes of a run that are explained.
const MOST_MISTAKES: usize = 12;

/// An image to explain.
struct Wanted {
    id: String,
    path: PathBuf,
    file: String,
    class: usize,
    probability: f32,
}

/// Writes explanations into a folder, batch by batch.
pub(crate) struct Explainer<'a> {
    classifier: &'a Classifier,
    explanations: Explanations,
    /// Whether pictures have captions.
    is_captioned: bool,
    batch_size: usize,
    waiting: Vec<Wanted>,
    rows: usize,
    blank: usize,
}

impl<'a> Explainer<'a> {
    /// Creates the folder. `classifier` has the options for decoding.
    pub(crate) fn create(
        folder: &Path,
        classifier: &'a Classifier,
        batch_size: usize,
        is_captioned: bool,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            classifier,
            explanations: Explanations::create(folder)?,
            is_captioned,
            batch_size,
            waiting: Vec::new(),
            rows: 0,
            blank: 0,
        })
    }

    /// Adds an image, whose prediction is `class`.
    pub(crate) fn add(
        &mut self,
        sample: &Sample,
        class: usize,
        probability: f32,
    ) -> anyhow::Result<()> {
        let file = explanation_file(sample.id());
        self.add_as(file, sample, class, probability)
    }

    fn add_as(
        &mut self,
        file: String,
        sample: &Sample,
        class: usize,
        probability: f32,
    ) -> anyhow::Result<()> {
        self.waiting.push(Wanted {
            id: sample.id().to_owned(),
            path: sample.path(),
            file,
            class,
            probability,
        });
        match self.waiting.len() < self.batch_size {
            true => Ok(()),
            false => self.explain(),
        }
    }

    /// Explains the images that wait.
    fn explain(&mut self) -> anyhow::Result<()> {
        let wanted = std::mem::take(&mut self.waiting);
        if wanted.is_empty() {
            return Ok(());
        }
        let images: Vec<Image> = wanted
            .par_iter()
            .map(|wanted| self.image(&wanted.path))
            .collect::<anyhow::Result<_>>()?;
        let classes: Vec<usize> = wanted.iter().map(|wanted| wanted.class).collect();
        let found = self.classifier.explain_fitted(&images, Some(&classes))?;
        let names = self.classifier.class_names();
        let explained = |index: usize| {
            let Explanation {
                layer,
                height,
                width,
                map,
                ..
            } = &found[index];
            Explained {
                image: &images[index],
                places: [*height, *width],
                map,
                class: &names[wanted[index].class],
                probability: wanted[index].probability,
                layer,
            }
        };
        let draw = |index: usize| match self.is_captioned {
            true => self
                .explanations
                .draw(&wanted[index].file, &explained(index)),
            false => self
                .explanations
                .draw_bare(&wanted[index].file, &explained(index)),
        };
        (0..wanted.len()).into_par_iter().try_for_each(draw)?;
        for (index, wanted) in wanted.iter().enumerate() {
            let row = IndexRow {
                id: &wanted.id,
                file: &wanted.file,
                peak: found[index].peak(),
            };
            self.blank += usize::from(row.peak.is_none());
            self.explanations.add(row, &explained(index))?;
        }
        self.rows += wanted.len();
        Ok(())
    }

    /// The image as the network sees it.
    fn image(&self, path: &Path) -> anyhow::Result<Image> {
        let cannot = || format!("cannot explain {}", path.display());
        let bytes = read_regular(path, MAX_IMAGE_BYTES).with_context(cannot)?;
        let mut images = self
            .classifier
            .fitted(&[Input::Bytes(&bytes)])
            .with_context(cannot)?;
        Ok(images.remove(0))
    }

    /// Explains the rest, and completes the index. Returns a line for the user.
    pub(crate) fn finish(mut self) -> anyhow::Result<String> {
        self.explain()?;
        let path = self.explanations.finish()?;
        let blank = match self.blank {
            0 => String::new(),
            blank => format!(", {blank} of them without a place that speaks for the class"),
        };
        Ok(format!("{}\t{} rows{blank}", path.display(), self.rows))
    }
}

/// Explains the most confident mistakes of a run in its folder, for the report. A failure is only a warning.
pub(crate) fn mistakes(
    run: &Path,
    classifier: trainer::Result<Classifier>,
    images: &ImageFolder,
    scores: &Evaluation,
    terminal: &Terminal,
) {
    let outcome = classifier
        .map_err(anyhow::Error::from)
        .and_then(|classifier| write_mistakes(run, &classifier, images, scores, terminal));
    match outcome {
        Ok(()) => {}
        // Such a backbone is no fault of the run.
        Err(error) if is_without_maps(&error) => {}
        Err(error) => terminal.line(&format!(
            "warning: the mistakes are not explained: {error:#}"
        )),
    }
}

fn is_without_maps(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<classifier::Error>();
    matches!(
        error,
        Some(classifier::Error::Network(mobilenet::Error::NoMap(_)))
    )
}

fn write_mistakes(
    run: &Path,
    classifier: &Classifier,
    images: &ImageFolder,
    scores: &Evaluation,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let mut worst = Mistake::by_confidence(&scores.mistakes);
    worst.truncate(MOST_MISTAKES);
    let progress = Work::new(terminal);
    progress.start("explain", Some(worst.len() as u64), Unit::Items);
    let mut explainer = Explainer::create(&run.join(FOLDER), classifier, MOST_MISTAKES, false)?;
    for (number, mistake) in worst.into_iter().enumerate() {
        let sample = images
            .samples
            .iter()
            .find(|sample| sample.id() == mistake.id);
        let Some(sample) = sample else { continue };
        let file = format!("{:03}.png", number + 1);
        explainer.add_as(file, sample, mistake.first.0, mistake.first.1)?;
    }
    explainer.finish()?;
    progress.finish();
    Ok(())
}
