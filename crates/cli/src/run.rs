//! The terminal output of a training run.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use indicatif::ProgressBar;
use mnist_data::Unit;
use trainer::{EpochReport, EpochTimes, Event, EventSink, Unreadable};

use crate::pace::{Pace, about};
use crate::terminal::Terminal;

/// Shows a run: a line per epoch, and on a terminal a bar for the epoch and one for the run.
pub(crate) struct Run<'a> {
    terminal: &'a Terminal,
    /// The bar of the epoch.
    bar: Option<ProgressBar>,
    /// The bar of the run.
    whole: Option<ProgressBar>,
    /// Whether the events are those of a run of epochs, and not of a search for a learning rate.
    is_run: bool,
    epochs: usize,
    pace: Pace,
    start: Instant,
    /// The sums of the epochs' times so far.
    times: EpochTimes,
    /// The numbers of unreadable images left out so far.
    unreadable: Unreadable,
    /// Whether to estimate the remaining time after this epoch.
    estimates: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn new(terminal: &'a Terminal) -> Self {
        Self {
            terminal,
            bar: None,
            whole: None,
            is_run: true,
            epochs: 0,
            pace: Pace::default(),
            start: Instant::now(),
            times: EpochTimes::default(),
            unreadable: Unreadable::default(),
            estimates: true,
        }
    }

    /// Shows a search for a learning rate, which has steps but no epochs.
    pub(crate) fn of_steps(terminal: &'a Terminal) -> Self {
        Self {
            is_run: false,
            ..Self::new(terminal)
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn clear_all(&mut self) {
        self.clear();
        if let Some(bar) = self.whole.take() {
            bar.finish_and_clear();
        }
    }

    /// Seconds since the start.
    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Begins the bars of an epoch.
    fn begin(&mut self, epoch: usize, batches: usize, done: usize) {
        let bar = self.terminal.bar(Some(batches as u64), Unit::Items);
        bar.set_position(done as u64);
        self.bar = Some(bar.with_message(format!("epoch {epoch}/{}", self.epochs)));
        if self.is_run && self.whole.is_none() {
            self.whole = Some(self.terminal.run_bar());
        }
        self.draw_whole();
    }

    fn draw_whole(&self) {
        if let Some(bar) = &self.whole {
            bar.set_position((self.pace.share() * Terminal::RUN_BAR as f64) as u64);
            let speed = self.pace.images_per_second();
            let speed = speed.map(|speed| format!("{speed:.0} images/s"));
            let left = self.pace.left(self.now());
            let left = left.map(|left| format!("{} to go", about(left)));
            let parts: Vec<String> = speed.into_iter().chain(left).collect();
            bar.set_message(parts.join(", "));
        }
    }

    fn epoch_line(&self, report: &EpochReport) -> String {
        let ema = match &report.ema {
            Some(ema) => format!(
                "; averaged weights: loss {:.4}, accuracy {:.4}",
                ema.loss, ema.accuracy
            ),
            None => String::new(),
        };
        format!(
            "epoch {}/{}: train loss {:.4}, accuracy {:.4}; validation loss {:.4}, accuracy {:.4}, macro F1 {:.4}{ema}; {:.0} images/s, {:.1} s",
            report.epoch,
            self.epochs,
            report.train_loss,
            report.train_accuracy,
            report.val_loss,
            report.val_accuracy,
            report.val_macro_f1,
            report.images_per_second,
            report.seconds,
        )
    }
}

impl EventSink for Run<'_> {
    fn handle(&mut self, event: &Event) -> trainer::Result<()> {
        self.pace.handle(event, self.now());
        match event {
            Event::RunStarted {
                run_dir,
                model,
                classes,
                parameters,
                train_images,
                val_images,
                epochs,
                device,
                threads,
                executor,
                ..
            } => {
                self.epochs = *epochs;
                self.terminal.line(&format!(
                    "training {model} ({parameters} parameters, {} classes) on {train_images} images, validating on {val_images}; {device}, {threads} threads, {executor} executor; run {}",
                    classes.len(),
                    run_dir.display()
                ));
            }
            Event::Resumed {
                epoch,
                batch,
                reports,
                differences,
            } => {
                self.times = EpochTimes::default();
                if let Some(last) = reports.last() {
                    self.unreadable.clone_from(&last.unreadable);
                }
                let is_again = (*epoch, *batch) == (1, 0);
                if *epoch <= self.epochs && !is_again {
                    let done = match batch {
                        0 => String::new(),
                        batch => format!(" after {batch} of its batches"),
                    };
                    self.terminal
                        .line(&format!("going on with epoch {epoch}/{}{done}", self.epochs));
                }
                if !differences.is_empty() {
                    self.terminal.line(&format!(
                        "warning: {}: the results may differ in their last digits from those of a run that was never \
                         interrupted",
                        differences.join(", ")
                    ));
                }
            }
            Event::PrecisionChosen(chosen) => self.terminal.line(&chosen.to_string()),
            Event::PrecisionSlow {
                precision,
                images_per_second,
                f32_images_per_second,
            } => self.terminal.line(&format!(
                "warning: train.precision = \"{precision}\" is slower than f32 on this processor ({images_per_second:.0} \
                 images/s instead of {f32_images_per_second:.0}); \"auto\" takes the faster one"
            )),
            Event::StateSaved { epoch, batch } => {
                tracing::debug!("saved the state of epoch {epoch}, batch {batch}");
            }
            Event::StateDelayed { path, problem } => self.terminal.line(&format!(
                "warning: {}: the state could not be saved: {problem}; the next save point tries again",
                path.display()
            )),
            Event::PretrainedLoaded(report) => {
                self.terminal.line(&format!("pretrained weights: {report}"));
            }
            Event::Frozen { .. } => self.terminal.line("only the head learns for now"),
            Event::Unfrozen { .. } => {
                self.estimates = true;
                self.terminal.line("the whole network learns from here on");
            }
            Event::EpochStarted {
                epoch,
                batches,
                done,
            } if self.terminal.has_bars() => {
                self.begin(*epoch, *batches, *done);
            }
            Event::FeaturesComputed { done, images } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("features of {done} of {images} images"));
                }
            }
            Event::FeaturesReady { images, computed } => self.terminal.line(&format!(
                "features of {images} images: {computed} computed, {} found on disk",
                images - computed
            )),
            Event::BatchDone {
                epoch,
                batch,
                running_loss,
                running_accuracy,
                ..
            } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!(
                        "epoch {epoch}/{}, loss {running_loss:.4}, accuracy {running_accuracy:.4}",
                        self.epochs
                    ));
                    bar.set_position(*batch as u64);
                }
                self.draw_whole();
            }
            Event::ValidationStarted { epoch, images } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!(
                        "epoch {epoch}/{}, validating on {images} images",
                        self.epochs
                    ));
                }
                self.draw_whole();
            }
            Event::EpochFinished(report) => {
                self.clear();
                self.times += report.times;
                self.unreadable.clone_from(&report.unreadable);
                self.terminal.line(&self.epoch_line(report));
                self.draw_whole();
                if std::mem::take(&mut self.estimates)
                    && report.epoch < self.epochs
                    && let Some(left) = self.pace.left(self.now())
                {
                    self.terminal.line(&format!("{} to go", about(left)));
                }
            }
            Event::StatisticsUnsettled {
                epoch,
                training,
                inference,
            } => self.terminal.line(&format!(
                "warning: in epoch {epoch} the network classified {:.0} % of its training images correctly in training, but {:.0} % in inference: the running statistics of batch normalisation have not settled, so the validation scores mean little yet. Train for more epochs, with more steps per epoch (a smaller data.batch_size), with a smaller train.learning_rate or a larger model.batch_norm_momentum",
                100.0 * training,
                100.0 * inference
            )),
            Event::CheckpointWritten { path, .. } => {
                self.terminal.line(&format!("wrote {}", path.display()));
            }
            Event::CheckpointDelayed { path, problem, .. } => self.terminal.line(&format!(
                "warning: {}: {problem}; its weights stay in memory; writing is retried after the next epoch and at the end",
                path.display()
            )),
            Event::StoppedEarly { epoch, best_epoch } => self.terminal.line(&format!(
                "stopped after epoch {epoch}: no further gain; the best epoch is {best_epoch}"
            )),
            Event::Interrupted { epoch } => {
                self.clear_all();
                self.terminal.line(&format!("interrupted in epoch {epoch}"));
            }
            Event::ImagesSkipped { count } => {
                let s = if *count == 1 { "" } else { "s" };
                self.terminal
                    .line(&format!("left out {count} image{s} that could not be read"));
            }
            Event::Finished { .. } => {
                self.clear_all();
                if self.times.total() > 0.0 {
                    self.terminal.line(&time_line(&self.times));
                }
                for line in unreadable_lines(&self.unreadable) {
                    self.terminal.line(&line);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The output line with the parts of the epochs' time.
fn time_line(times: &EpochTimes) -> String {
    let parts = times.parts().map(|(_, seconds)| seconds);
    let named = times.parts().into_iter().zip(percents(parts));
    let named: Vec<String> = named
        .map(|((name, _), percent)| format!("{name} {percent} %"))
        .collect();
    format!("time: {}", named.join(", "))
}

/// The most classes in an output line.
const NAMED: usize = 10;

/// One output line per split with unreadable images: their number in each class.
fn unreadable_lines(unreadable: &Unreadable) -> Vec<String> {
    let splits = [
        ("training", &unreadable.train),
        ("validation", &unreadable.val),
    ];
    let line = |(split, classes): (&str, &BTreeMap<String, usize>)| {
        let total: usize = classes.values().sum();
        let mut counts: Vec<_> = classes.iter().collect();
        counts.sort_by_key(|&(_, count)| Reverse(count));
        let named = counts.iter().take(NAMED);
        let mut named: Vec<String> = named
            .map(|(class, count)| format!("{class} {count}"))
            .collect();
        if counts.len() > NAMED {
            named.push("…".to_owned());
        }
        (total > 0).then(|| {
            format!(
                "{split} images left out because they could not be read: {total} ({})",
                named.join(", ")
            )
        })
    };
    splits.into_iter().filter_map(line).collect()
}

/// Rounds shares to whole percents that add up to 100. The shares with the largest fractions are rounded up.
fn percents<const N: usize>(parts: [f64; N]) -> [usize; N] {
    let total: f64 = parts.iter().sum();
    let exact = parts.map(|part| 100.0 * part / total);
    let mut percents = exact.map(|share| share as usize);
    let lost = |index: &usize| exact[*index].fract();
    let mut order: [usize; N] = std::array::from_fn(|index| index);
    order.sort_by(|one, other| lost(other).total_cmp(&lost(one)));
    let missing = 100_usize.saturating_sub(percents.iter().sum());
    for index in order.into_iter().take(missing) {
        percents[index] += 1;
    }
    percents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_could_not_be_read_are_told_by_class() {
        let mut unreadable = Unreadable::default();
        assert!(unreadable_lines(&unreadable).is_empty());
        unreadable.val.insert("cat".to_owned(), 1);
        unreadable.val.insert("dog".to_owned(), 3);
        assert_eq!(
            unreadable_lines(&unreadable),
            ["validation images left out because they could not be read: 4 (dog 3, cat 1)"]
        );
        unreadable.train = (0..11).map(|n| (format!("{n:02}"), 2)).collect();
        let lines = unreadable_lines(&unreadable);
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0]
                .ends_with("22 (00 2, 01 2, 02 2, 03 2, 04 2, 05 2, 06 2, 07 2, 08 2, 09 2, …)"),
            "{lines:?}"
        );
    }

    #[test]
    fn the_percents_of_the_time_add_up() {
        let times = EpochTimes {
            data: 2.6,
            forward: 40.3,
            backward: 50.8,
            optimizer: 5.7,
            validation: 0.4,
            other: 0.2,
        };
        assert_eq!(
            time_line(&times),
            "time: data 3 %, forward 40 %, backward 51 %, optimizer 6 %, validation 0 %, other 0 %"
        );
        assert_eq!(percents([2.0, 0.0, 2.0, 2.0]), [34, 0, 33, 33]);
        assert_eq!(percents([0.5, 0.5]), [50, 50]);
        assert_eq!(percents([0.0, 3.0]), [0, 100]);
    }
}
