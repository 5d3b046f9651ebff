//! The speed of a run, and an estimate of the time to its end.

use trainer::Event;

/// The backward pass through a backbone takes about twice as long as the forward pass. So while only the head learns, a
/// step takes about a third of the time.
const BACKBONE: f64 = 3.0;

/// Learns from events how long a run takes. Times are in seconds since any fixed moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    pub(crate) epochs: usize,
    pub(crate) epoch: usize,
    train_images: f64,
    val_images: f64,
    frozen_epochs: usize,
    /// The images of the current epoch that were trained on.
    done: f64,
    /// The time of the first batch of this process in the current epoch, and the images before it. It includes neither
    /// start-up nor the computation of features.
    first: Option<(f64, f64)>,
    /// Seconds per training image in the current phase.
    per_image: Option<f64>,
    /// Seconds of a validation.
    validation: Option<f64>,
    /// The time at which a validation began.
    validating: Option<f64>,
    is_over: bool,
}

impl Pace {
    /// Takes an event into account that happened at `now`.
    pub(crate) fn handle(&mut self, event: &Event, now: f64) {
        match event {
            Event::RunStarted {
                epochs,
                train_images,
                val_images,
                frozen_epochs,
                ..
            } => {
                *self = Self {
                    epochs: *epochs,
                    train_images: *train_images as f64,
                    val_images: *val_images as f64,
                    frozen_epochs: *frozen_epochs,
                    ..Self::default()
                };
            }
            Event::Unfrozen { .. } => {
                self.per_image = self.per_image.map(|seconds| seconds * BACKBONE);
            }
            Event::EpochStarted { epoch, .. } => {
                (self.epoch, self.done) = (*epoch, 0.0);
                (self.first, self.validating) = (None, None);
            }
            Event::BatchDone { images_done, .. } => {
                self.done = *images_done as f64;
                let (start, before) = *self.first.get_or_insert((now, self.done));
                if self.done > before && now > start {
                    self.per_image = Some((now - start) / (self.done - before));
                }
            }
            Event::ValidationStarted { .. } => {
                self.done = self.train_images;
                self.validating = Some(now);
            }
            Event::EpochFinished(report) => {
                if let Some(start) = self.validating.take() {
                    self.validation = Some(now - start);
                }
                if self.per_image.is_none() && report.images_per_second > 0.0 {
                    self.per_image = Some(1.0 / report.images_per_second);
                }
                self.done = 0.0;
                self.epoch = report.epoch + 1;
            }
            Event::Finished { .. } | Event::StoppedEarly { .. } | Event::Interrupted { .. } => {
                self.is_over = true;
            }
            _ => {}
        }
    }

    /// Training images per second in the current epoch.
    pub(crate) fn images_per_second(&self) -> Option<f64> {
        self.per_image
            .filter(|seconds| *seconds > 0.0)
            .map(|seconds| 1.0 / seconds)
    }

    /// The share of the run's training images that are done, from 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        let all = self.train_images * self.epochs as f64;
        let before = self.train_images * self.epoch.saturating_sub(1) as f64;
        match all > 0.0 {
            true => ((before + self.done) / all).clamp(0.0, 1.0),
            false => 0.0,
        }
    }

    /// The share of the current epoch's training images that are done, from 0 to 1.
    pub(crate) fn epoch_share(&self) -> f64 {
        (self.done / self.train_images.max(1.0)).clamp(0.0, 1.0)
    }

    /// Whether the validation images are being classified.
    pub(crate) fn is_validating(&self) -> bool {
        self.validating.is_some()
    }

    /// The estimated seconds to the end of the last epoch at `now`, with all validations. `None` before the first
    /// batches.
    pub(crate) fn left(&self, now: f64) -> Option<f64> {
        if self.is_over || self.epoch > self.epochs {
            return Some(0.0);
        }
        let per_image = self.per_image?;
        let is_frozen = self.epoch <= self.frozen_epochs;
        let (frozen, thawed) = match is_frozen {
            true => (per_image, per_image * BACKBONE),
            false => (per_image / BACKBONE, per_image),
        };
        // A validation is a forward pass, which costs about as much as a step of the head.
        let validation = self.validation.unwrap_or(self.val_images * frozen);
        let current = match self.validating {
            Some(start) => (validation - (now - start)).max(0.0),
            None => (self.train_images - self.done).max(0.0) * per_image + validation,
        };
        let later = self.epochs - self.epoch;
        let frozen_later = self.frozen_epochs.saturating_sub(self.epoch).min(later) as f64;
        let images = self.train_images;
        Some(
            current
                + frozen_later * images * frozen
                + (later as f64 - frozen_later) * images * thawed
                + later as f64 * validation,
        )
    }
}

/// An estimated time in words, rounded coarsely.
pub(crate) fn about(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("about {:.0} s", (seconds / 5.0).ceil() * 5.0),
        ..5400.0 => format!("about {:.0} min", seconds / 60.0),
        _ => format!("about {:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn started(epochs: usize, frozen_epochs: usize) -> Event {
        Event::RunStarted {
            run_dir: "runs/a-001".into(),
            model: "mobilenet_v3_small".to_owned(),
            classes: vec!["cat".to_owned(), "dog".to_owned()],
            parameters: 1000,
            train_images: 100,
            val_images: 20,
            epochs,
            frozen_epochs,
            device: "cpu".to_owned(),
            threads: 2,
            executor: "fused",
        }
    }

    pub(crate) fn epoch_started(epoch: usize) -> Event {
        Event::EpochStarted {
            epoch,
            batches: 10,
            done: 0,
        }
    }

    pub(crate) fn batch(epoch: usize, batch: usize) -> Event {
        Event::BatchDone {
            epoch,
            batch,
            images: 10,
            loss: 0.5,
            images_done: 10 * batch as u64,
            running_loss: 0.6,
            running_accuracy: 0.75,
            learning_rate: 1e-3,
        }
    }

    pub(crate) fn finished(epoch: usize) -> Event {
        Event::EpochFinished(trainer::EpochReport {
            epoch,
            train_loss: 0.6,
            train_accuracy: 0.75,
            val_loss: 0.7,
            val_accuracy: 0.8,
            val_macro_f1: 0.5,
            learning_rate: 1e-3,
            images_per_second: 10.0,
            seconds: 12.0,
            times: Default::default(),
            ema: None,
            loss_scale: None,
            unreadable: Default::default(),
        })
    }

    #[test]
    fn the_time_left_counts_training_and_validation() {
        let mut pace = Pace::default();
        pace.handle(&started(3, 0), 0.0);
        pace.handle(&epoch_started(1), 0.0);
        assert_eq!(pace.left(0.0), None);
        pace.handle(&batch(1, 1), 5.0);
        assert_eq!(pace.left(5.0), None, "one moment is no speed");
        // Ten images a second from here on; the first batch took longer.
        pace.handle(&batch(1, 2), 6.0);
        assert_eq!(pace.images_per_second(), Some(10.0));
        assert!((pace.share() - 20.0 / 300.0).abs() < 1e-12);
        // 280 images, and three validations of 20 images at a third of the cost of a training step.
        let left = pace.left(6.0).unwrap();
        assert!((left - (28.0 + 2.0)).abs() < 1e-9, "{left}");
        pace.handle(
            &Event::ValidationStarted {
                epoch: 1,
                images: 20,
            },
            14.0,
        );
        assert!(pace.is_validating());
        pace.handle(&finished(1), 19.0);
        // From now on a validation takes its measured 5 seconds.
        let left = pace.left(19.0).unwrap();
        assert!((left - 2.0 * (10.0 + 5.0)).abs() < 1e-9, "{left}");
        pace.handle(&finished(3), 50.0);
        assert_eq!(pace.left(50.0), Some(0.0));
    }

    #[test]
    fn epochs_of_the_whole_network_take_longer_than_those_of_the_head() {
        let mut pace = Pace::default();
        pace.handle(&started(4, 2), 0.0);
        pace.handle(&epoch_started(1), 0.0);
        pace.handle(&batch(1, 1), 0.0);
        pace.handle(&batch(1, 10), 9.0);
        // Four validations of 2 s, one frozen epoch of 10 s, two of the whole network of 30 s.
        let left = pace.left(9.0).unwrap();
        assert!((left - (8.0 + 10.0 + 60.0)).abs() < 1e-9, "{left}");
        pace.handle(&Event::Unfrozen { epoch: 3 }, 40.0);
        pace.handle(&epoch_started(3), 40.0);
        let left = pace.left(40.0).unwrap();
        assert!((left - (4.0 + 60.0)).abs() < 1e-9, "{left}");
    }

    #[test]
    fn estimates_are_rounded() {
        let times = [3.0, 61.0, 100.0, 5000.0, 9000.0].map(about);
        assert_eq!(
            times,
            [
                "about 5 s",
                "about 65 s",
                "about 2 min",
                "about 83 min",
                "about 2.5 h"
            ]
        );
    }
}
