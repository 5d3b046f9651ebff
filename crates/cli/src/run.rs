//! The terminal output of a training run.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use indicatif::ProgressBar;
use mnist_data::Unit;
use trainer::{EpochReport, EpochTimes, Event, EventSink, Unreadable};

use crate::terminal::Terminal;

/// Shows a run: a line per epoch, and a progress bar within it.
pub(crate) struct Run<'a> {
    terminal: &'a Terminal,
    bar: Option<ProgressBar>,
    epochs: usize,
    /// The sums of the epochs' times so far.
    times: EpochTimes,
    /// The numbers of unreadable images left out so far.
    unreadable: Unreadable,
    /// Whether only the head learns at present.
    is_frozen: bool,
    /// Whether to estimate the remaining time after this epoch.
    estimates: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn new(terminal: &'a Terminal) -> Self {
        Self {
            terminal,
            bar: None,
            epochs: 0,
            times: EpochTimes::default(),
            unreadable: Unreadable::default(),
            is_frozen: false,
            estimates: true,
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
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
            } => {
                self.epochs = *epochs;
                self.terminal.line(&format!(
                    "training {model} ({parameters} parameters, {} classes) on {train_images} images, validating on {val_images}; {device}, {threads} threads; run {}",
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
            Event::Frozen { .. } => {
                self.is_frozen = true;
                self.terminal.line("only the head learns for now");
            }
            Event::Unfrozen { .. } => {
                (self.is_frozen, self.estimates) = (false, true);
                self.terminal.line("the whole network learns from here on");
            }
            Event::EpochStarted {
                epoch,
                batches,
                done,
            } if self.terminal.is_terminal => {
                let bar = self.terminal.bar(Some(*batches as u64), Unit::Items);
                bar.set_position(*done as u64);
                self.bar = Some(bar.with_message(format!("epoch {epoch}/{}", self.epochs)));
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
            Event::BatchDone { epoch, loss, .. } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("epoch {epoch}/{}, loss {loss:.4}", self.epochs));
                    bar.inc(1);
                }
            }
            Event::EpochFinished(report) => {
                self.clear();
                self.times += report.times;
                self.unreadable.clone_from(&report.unreadable);
                self.terminal.line(&self.epoch_line(report));
                let left = self.epochs.saturating_sub(report.epoch);
                if std::mem::take(&mut self.estimates) && left > 0 {
                    // The backward pass through a backbone takes about twice as long as the forward pass, so unfrozen
                    // epochs take longer.
                    let factor = if self.is_frozen { 3.0 } else { 1.0 };
                    let seconds = report.seconds * factor * left as f64;
                    self.terminal.line(&format!("{} to go", about(seconds)));
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
                self.clear();
                self.terminal.line(&format!("interrupted in epoch {epoch}"));
            }
            Event::ImagesSkipped { count } => {
                let s = if *count == 1 { "" } else { "s" };
                self.terminal
                    .line(&format!("left out {count} image{s} that could not be read"));
            }
            Event::Finished { .. } => {
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

/// An estimated time in words, rounded coarsely.
fn about(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("about {:.0} s", (seconds / 5.0).ceil() * 5.0),
        ..5400.0 => format!("about {:.0} min", seconds / 60.0),
        _ => format!("about {:.1} h", seconds / 3600.0),
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
