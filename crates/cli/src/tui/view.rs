//! The data of the full-screen view.

use std::collections::VecDeque;
use std::path::Path;

use trainer::{EpochReport, Event};

use crate::escape::escaped;
use crate::pace::Pace;

/// The most lines that are kept.
const LINES: usize = 500;
/// The weight of the newest batch in the smoothed loss.
const NEWEST: f64 = 0.1;

/// The points of the curves: x is the number of epochs, with a fraction within an epoch.
#[derive(Default)]
pub(super) struct Curves {
    pub(super) train: Vec<(f64, f64)>,
    pub(super) validation: Vec<(f64, f64)>,
    /// The epoch in progress, a point per batch.
    pub(super) batches: Vec<(f64, f64)>,
}

pub(super) struct View {
    pub(super) title: String,
    pub(super) pace: Pace,
    pub(super) loss: Curves,
    pub(super) accuracy: Curves,
    pub(super) learning_rate: Option<f64>,
    /// The resident memory in bytes, where the system tells it.
    pub(super) memory: Option<u64>,
    pub(super) lines: VecDeque<String>,
    pub(super) shows_help: bool,
    pub(super) is_stopping: bool,
    /// Whether colours are used.
    pub(super) is_coloured: bool,
    batches: usize,
    smoothed: Option<f64>,
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            title: "classify train".to_owned(),
            pace: Pace::default(),
            loss: Curves::default(),
            accuracy: Curves::default(),
            learning_rate: None,
            memory: None,
            lines: VecDeque::new(),
            shows_help: false,
            is_stopping: false,
            is_coloured: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            batches: 0,
            smoothed: None,
        }
    }

    pub(super) fn handle(&mut self, event: &Event, now: f64) {
        self.pace.handle(event, now);
        match event {
            Event::RunStarted { run_dir, model, .. } => {
                let title = format!("{model} · {}", run_dir.display());
                self.title = escaped(&title).into_owned();
            }
            Event::Resumed { reports, .. } => reports.iter().for_each(|report| self.epoch(report)),
            Event::EpochStarted { batches, .. } => {
                self.batches = (*batches).max(1);
                self.smoothed = None;
                self.loss.batches.clear();
                self.accuracy.batches.clear();
            }
            Event::BatchDone {
                epoch,
                batch,
                loss,
                running_accuracy,
                learning_rate,
                ..
            } => {
                self.learning_rate = Some(*learning_rate);
                let before = self.smoothed.unwrap_or(*loss);
                let smoothed = before + NEWEST * (loss - before);
                self.smoothed = Some(smoothed);
                let x = *epoch as f64 - 1.0 + *batch as f64 / self.batches.max(1) as f64;
                self.loss.batches.push((x, smoothed));
                self.accuracy.batches.push((x, *running_accuracy));
            }
            Event::EpochFinished(report) => self.epoch(report),
            Event::StateSaved { epoch, batch } => {
                self.line(format!("saved the state of epoch {epoch}, batch {batch}"));
            }
            _ => {}
        }
    }

    fn epoch(&mut self, report: &EpochReport) {
        let x = report.epoch as f64;
        self.loss.train.push((x, report.train_loss));
        self.loss.validation.push((x, report.val_loss));
        self.accuracy.train.push((x, report.train_accuracy));
        self.accuracy.validation.push((x, report.val_accuracy));
        self.learning_rate = Some(report.learning_rate);
    }

    pub(super) fn line(&mut self, text: String) {
        for line in text.lines() {
            self.lines.push_back(line.to_owned());
        }
        while self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }

    /// Reads the process's resident memory; Linux alone tells it in a file.
    pub(super) fn measure_memory(&mut self) {
        let status = std::fs::read_to_string(Path::new("/proc/self/status"));
        self.memory = status.ok().and_then(|status| resident(&status));
    }
}

/// The resident bytes in the text of `/proc/self/status`.
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(1024 * kib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_systems_text() {
        let text = "Name:\tclassify\nVmRSS:\t  123456 kB\nThreads:\t3\n";
        assert_eq!(resident(text), Some(123_456 * 1024));
        assert_eq!(resident("Name:\tclassify\n"), None);
    }
}
