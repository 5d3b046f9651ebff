//! Event files for TensorBoard.

mod record;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use mnist_data::{HostBatch, Image, Loader};

use super::{EpochReport, Event, EventSink};
use crate::{Error, Result, RunConfig, Splits, unix_time};
use record::{Content, Value, record};

/// The most images in the picture of training images, in each direction.
const GRID: usize = 4;

/// Writes an event file `events.out.tfevents.*` for TensorBoard into the folder of a run: the scores and the learning
/// rate of each epoch, with the epoch as step, and a picture of training images as the network sees them.
///
/// A resumed run writes a further file, and TensorBoard forgets later epochs of the files before. If the file cannot be
/// written, a warning reports it, and the run goes on without it.
#[derive(Debug)]
pub struct TensorBoard {
    path: PathBuf,
    /// `None` after a failed write.
    file: Option<File>,
    /// Loads the training images, until some of them are written.
    images: Option<Loader>,
}

impl TensorBoard {
    /// Creates an event file in the folder `run`, if `train.tensorboard` is set.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file; a configuration that does not fit the training images.
    pub fn create(run: &Path, config: &RunConfig, splits: &Splits) -> Result<Option<Self>> {
        if !config.train.tensorboard {
            return Ok(None);
        }
        let images = Some(splits.train_loader(config)?);
        let path = Self::free_path(run);
        let file = File::create_new(&path).map_err(Error::io(&path))?;
        let mut board = Self {
            path,
            file: Some(file),
            images,
        };
        board.write(0, &Content::FileVersion);
        Ok(Some(board))
    }

    /// TensorBoard reads the files of a folder in the order of their names, which contain the time.
    fn free_path(run: &Path) -> PathBuf {
        let seconds = unix_time() as u64;
        let process = std::process::id();
        let path = |number: u32| {
            run.join(format!(
                "events.out.tfevents.{seconds:010}.classify.{process}.{number}"
            ))
        };
        let free = (0..).map(path).find(|path| !path.exists());
        free.unwrap_or_else(|| path(0))
    }

    fn write(&mut self, step: usize, content: &Content<'_>) {
        let Some(file) = &mut self.file else {
            return;
        };
        if let Err(error) = file.write_all(&record(unix_time(), step, content)) {
            let path = self.path.display();
            tracing::warn!("{path}: {error}; TensorBoard misses the rest of the run");
            self.file = None;
        }
    }

    fn write_images(&mut self) -> Result<()> {
        let Some(loader) = self.images.take() else {
            return Ok(());
        };
        let Some(batch) = loader.epoch(1).next().transpose()? else {
            return Ok(());
        };
        let image = grid(&batch)?;
        let (height, width) = (image.height(), image.width());
        let bytes = &image.to_png().map_err(Error::io(&self.path))?;
        let image = Value::Png {
            height,
            width,
            bytes,
        };
        self.write(0, &Content::Summary(&[("images/train", image)]));
        Ok(())
    }

    fn write_epoch(&mut self, report: &EpochReport) {
        let scalars = scalars(report);
        let scalars = scalars.iter();
        let values: Vec<_> = scalars
            .map(|&(tag, scalar)| (tag, Value::Scalar(scalar as f32)))
            .collect();
        self.write(report.epoch, &Content::Summary(&values));
    }
}

/// The tags of an epoch with their values.
fn scalars(report: &EpochReport) -> Vec<(&'static str, f64)> {
    let mut scalars = vec![
        ("loss/train", report.train_loss),
        ("loss/validation", report.val_loss),
        ("accuracy/train", report.train_accuracy),
        ("accuracy/validation", report.val_accuracy),
        ("macro_f1/validation", report.val_macro_f1),
        ("learning_rate", report.learning_rate),
        ("images_per_second", report.images_per_second),
    ];
    if let Some(average) = &report.ema {
        scalars.extend([
            ("loss/validation_average", average.loss),
            ("accuracy/validation_average", average.accuracy),
            ("macro_f1/validation_average", average.macro_f1),
        ]);
    }
    if let Some(scale) = report.loss_scale {
        scalars.push(("loss_scale", scale.into()));
    }
    scalars
}

/// The first images of a batch side by side.
fn grid(batch: &HostBatch) -> Result<Image> {
    let columns = batch.count.min(GRID);
    let rows = (batch.count / columns).min(GRID);
    let line = batch.width * 3;
    let mut pixels = Vec::with_capacity(rows * columns * batch.height * line);
    for row in 0..rows {
        for y in 0..batch.height {
            for column in 0..columns {
                let image = row * columns + column;
                let start = (image * batch.height + y) * line;
                pixels.extend(&batch.pixels[start..start + line]);
            }
        }
    }
    let [width, height] = [columns * batch.width, rows * batch.height].map(|side| side as u32);
    Ok(Image::from_rgb(width, height, pixels)?)
}

impl EventSink for TensorBoard {
    fn handle(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Resumed { reports, .. } => {
                let last = reports.last().map(|report| report.epoch);
                self.write(last.map_or(0, |epoch| epoch + 1), &Content::Restart);
                // The picture is in the first file.
                if last.is_some() {
                    self.images = None;
                }
            }
            Event::EpochStarted { .. } => self.write_images()?,
            Event::EpochFinished(report) => self.write_epoch(report),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_stand_side_by_side() {
        let batch = HostBatch {
            number: 0,
            count: 9,
            height: 1,
            width: 2,
            pixels: (0..54).collect(),
            labels: vec![0; 9],
            weights: vec![1.0; 9],
            ids: vec![String::new(); 9],
            mix: None,
        };
        let image = grid(&batch).unwrap();
        assert_eq!((image.width(), image.height()), (8, 2));
        let read = Image::decode(&image.to_png().unwrap(), "grid.png".as_ref()).unwrap();
        assert_eq!(read.to_rgb(), (0..48).collect::<Vec<u8>>());
    }
}
