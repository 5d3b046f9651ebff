//! Draws some of the images with their predictions.

use std::path::PathBuf;

use anyhow::Context;
use mnist_data::{Classes, DecodeOptions, Image, Orientation, Reservoir};
use report::SheetItem;
use trainer::Prediction;

use super::inputs::Found;
use crate::args::{PictureFile, SheetArgs};
use crate::drawing;

/// The most pixels of a side that are kept of an image.
const SIDE: u32 = 256;

/// Images drawn at random, with their predictions.
pub(super) struct Sheet<'a> {
    file: &'a PictureFile,
    drawn: Reservoir<Chosen>,
    is_wrong_only: bool,
    decode: DecodeOptions,
}

struct Chosen {
    path: PathBuf,
    label: usize,
    probability: f32,
    truth: Option<String>,
}

impl<'a> Sheet<'a> {
    /// An empty sheet, if one is requested.
    ///
    /// # Errors
    /// If the picture could not be written there, so that it shows before the images are classified.
    pub(super) fn new(args: &'a SheetArgs, decode: DecodeOptions) -> anyhow::Result<Option<Self>> {
        let Some(file) = &args.sheet else {
            return Ok(None);
        };
        let trial = files::Unfinished::create(&file.path);
        trial.with_context(|| format!("cannot write {}", file.path.display()))?;
        Ok(Some(Self {
            file,
            drawn: Reservoir::new(args.count.get(), args.seed),
            is_wrong_only: args.wrong,
            // People look at the sheet, so the images are upright even if the network sees them otherwise.
            decode: DecodeOptions {
                orientation: Orientation::Apply,
                ..decode
            },
        }))
    }

    pub(super) fn offer(&mut self, prediction: &Prediction, found: &Found, classes: &Classes) {
        let truth = found.truth(classes);
        let predicted = &classes.names()[prediction.label];
        let is_wrong = truth.as_ref().is_some_and(|truth| truth != predicted);
        if self.is_wrong_only && !is_wrong {
            return;
        }
        self.drawn.offer(|| Chosen {
            path: found.sample.path(),
            label: prediction.label,
            probability: prediction.probability(),
            truth,
        });
    }

    /// Writes the picture. Returns a line about it.
    ///
    /// # Errors
    /// If an image can no longer be read, or if the picture cannot be written; both name the file.
    pub(super) fn finish(self, classes: &Classes) -> anyhow::Result<String> {
        let of = self.drawn.offered();
        let chosen = self.drawn.into_items();
        let items = chosen.into_iter().map(|chosen| {
            anyhow::Ok(SheetItem {
                image: report::within(Image::read_with(&chosen.path, self.decode)?, SIDE)?,
                predicted: classes.names()[chosen.label].clone(),
                probability: chosen.probability,
                truth: chosen.truth,
            })
        });
        let items: Vec<SheetItem> = items.collect::<anyhow::Result<_>>()?;
        // As wide as high.
        let columns = (items.len() as f64).sqrt().ceil() as usize;
        drawing::write(self.file, &report::sheet(&items, columns)?)?;
        let kind = match self.is_wrong_only {
            true => "wrong answers",
            false => "images",
        };
        let path = self.file.path.display();
        Ok(format!("{path}\t{} of {of} {kind}", items.len()))
    }
}
