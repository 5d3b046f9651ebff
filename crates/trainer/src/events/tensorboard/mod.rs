//! Event files for TensorBoard.

mod record;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use mnist_data::HostBatch;

use super::{EpochReport, Event, EventSink};
use crate::{Error, Result, RunConfig, Splits};
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
    /// The images of the first batch, until they are written.
    images: Option<HostBatch>,
}

impl TensorBoard {
    /// Creates an event file in the folder `run`, if `train.tensorboard` is set.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file; the errors of a training split that cannot be read.
    pub fn create(run: &Path, config: &RunConfig, splits: &Splits) -> Result<Option<Self>> {
        if !config.train.tensorboard {
            return Ok(None);
        }
        let mut first = splits.train_loader(config)?.epoch(1);
        let images = first.next().transpose()?;
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
        let seconds = now() as u64;
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
        if let Err(error) = file.write_all(&record(now(), step, content)) {
            let path = self.path.display();
            tracing::warn!("{path}: {error}; TensorBoard misses the rest of the run");
            self.file = None;
        }
    }

    fn write_images(&mut self) {
        let Some(batch) = self.images.take() else {
            return;
        };
        match grid(&batch) {
            Ok((width, height, png)) => {
                let bytes = &png;
                let image = Value::Png {
                    height,
                    width,
                    bytes,
                };
                self.write(0, &Content::Summary(&[("images/train", image)]));
            }
            Err(error) => tracing::warn!("TensorBoard misses the training images: {error}"),
        }
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

/// The first images of a batch side by side as a PNG, with its width and height.
fn grid(batch: &HostBatch) -> std::result::Result<(u32, u32, Vec<u8>), image::ImageError> {
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
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&pixels, width, height, ExtendedColorType::Rgb8)?;
    Ok((width, height, png))
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
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
            Event::EpochStarted { .. } => self.write_images(),
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
        let (width, height, png) = grid(&batch).unwrap();
        assert_eq!((width, height), (8, 2));
        let read = image::load_from_memory(&png).unwrap();
        assert_eq!(read.into_rgb8().into_raw(), (0..48).collect::<Vec<u8>>());
    }
}
