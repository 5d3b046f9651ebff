//! The events of a run as JSON lines (`--json-log`). docs/events.md lists them.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use trainer::{Event, EventSink, unix_time};

/// Writes a line per event to stdout, and flushes it.
///
/// If stdout is closed, the log ends with a warning, and the run goes on.
pub(crate) struct JsonLog<W = io::Stdout> {
    out: W,
    is_closed: bool,
}

/// The scores at the end of a run.
#[derive(Serialize)]
pub(crate) struct RunResult<'a> {
    /// `test` or `validation`; absent without scores.
    pub(crate) split: Option<&'static str>,
    pub(crate) images: Option<u64>,
    pub(crate) skipped: Option<u64>,
    pub(crate) accuracy: Option<f64>,
    pub(crate) macro_f1: Option<f64>,
    pub(crate) loss: Option<f64>,
    pub(crate) best_epoch: Option<usize>,
    #[serde(serialize_with = "shown")]
    pub(crate) weights: Option<&'a Path>,
}

fn shown<S: serde::Serializer>(path: &Option<&Path>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.collect_str(&path.display()),
        None => serializer.serialize_none(),
    }
}

/// A line that is not an event of the trainer.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Ending<'a> {
    /// The scores after training.
    Result(RunResult<'a>),
    /// The mean scores of a cross-validation.
    CrossValidation {
        folds: usize,
        accuracy: f64,
        accuracy_std: f64,
        macro_f1: f64,
        macro_f1_std: f64,
        loss: f64,
        loss_std: f64,
        report: String,
    },
    /// The run ended with an error.
    Failed { error: String },
}

#[derive(Serialize)]
struct Line<'a, T> {
    /// Unix seconds.
    time: f64,
    #[serde(flatten)]
    event: &'a T,
}

impl JsonLog {
    /// A log on stdout, if it is wanted.
    pub(crate) fn on_stdout(is_wanted: bool) -> Option<Self> {
        is_wanted.then(|| Self::new(io::stdout()))
    }
}

impl<W: Write> JsonLog<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            is_closed: false,
        }
    }

    /// Writes the line of an event.
    pub(crate) fn write<T: Serialize>(&mut self, event: &T) {
        if self.is_closed {
            return;
        }
        let time = unix_time();
        let line = serde_json::to_vec(&Line { time, event });
        let written = line.map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.out.write_all(&line)?;
            self.out.flush()
        });
        if let Err(error) = written {
            self.is_closed = true;
            tracing::warn!("the log of events on stdout ends here: {error}");
        }
    }
}

impl<W: Write> EventSink for JsonLog<W> {
    fn handle(&mut self, event: &Event) -> trainer::Result<()> {
        self.write(event);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mobilenet::Precision;
    use serde_json::Value;
    use trainer::{ChosenPrecision, TrainingSpeed};

    use super::*;
    use crate::pace::tests::{batch, epoch_started, finished, started};

    fn lines(events: &[Event]) -> Vec<Value> {
        let mut log = JsonLog::new(Vec::new());
        for event in events {
            log.handle(event).unwrap();
        }
        let text = String::from_utf8(log.out).unwrap();
        assert!(text.ends_with('\n'));
        let parsed = text.lines().map(|line| serde_json::from_str(line).unwrap());
        parsed.collect()
    }

    #[test]
    fn every_event_is_a_line_with_its_name_and_fields() {
        let path = || "runs/a/b.safetensors".into();
        let problem = || "No space left on device".to_owned();
        let events = [
            started(2, 1),
            Event::Resumed {
                epoch: 1,
                batch: 2,
                reports: Vec::new(),
                differences: Vec::new(),
            },
            Event::PrecisionChosen(ChosenPrecision {
                precision: Precision::F32,
                speeds: vec![TrainingSpeed {
                    precision: Precision::F32,
                    images_per_second: 212.5,
                }],
                reason: None,
            }),
            Event::PrecisionSlow {
                precision: Precision::Bf16,
                images_per_second: 100.0,
                f32_images_per_second: 212.5,
            },
            Event::StateSaved { epoch: 1, batch: 2 },
            Event::StateDelayed {
                path: path(),
                problem: problem(),
            },
            Event::PretrainedLoaded(Default::default()),
            Event::Frozen { epoch: 1 },
            Event::Unfrozen { epoch: 2 },
            Event::FeaturesComputed { done: 1, images: 2 },
            Event::FeaturesReady {
                images: 2,
                computed: 1,
            },
            epoch_started(1),
            batch(1, 3),
            Event::ValidationStarted {
                epoch: 1,
                images: 20,
            },
            finished(1),
            Event::StatisticsUnsettled {
                epoch: 1,
                training: 0.9,
                inference: 0.1,
            },
            Event::CheckpointWritten {
                path: path(),
                epoch: 1,
                score: 0.5,
            },
            Event::CheckpointDelayed {
                path: path(),
                epoch: 1,
                problem: problem(),
            },
            Event::StoppedEarly {
                epoch: 2,
                best_epoch: 1,
            },
            Event::Interrupted { epoch: 2 },
            Event::ImagesSkipped { count: 3 },
            Event::Finished {
                best_epoch: Some(1),
                weights: Some(path()),
            },
        ];
        let lines = lines(&events);
        let names: Vec<&str> = lines.iter().map(|l| l["event"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "run_started",
                "resumed",
                "precision_chosen",
                "precision_slow",
                "state_saved",
                "state_delayed",
                "pretrained_loaded",
                "frozen",
                "unfrozen",
                "features_computed",
                "features_ready",
                "epoch_started",
                "batch_done",
                "validation_started",
                "epoch_finished",
                "statistics_unsettled",
                "checkpoint_written",
                "checkpoint_delayed",
                "stopped_early",
                "interrupted",
                "images_skipped",
                "finished",
            ]
        );
        // The page for users names every event and every field.
        let page = include_str!("../../../docs/events.md");
        for line in &lines {
            assert!(line["time"].as_f64().unwrap() > 0.0);
            for (key, value) in line.as_object().unwrap() {
                let named = if key == "event" {
                    value.as_str().unwrap()
                } else {
                    key
                };
                assert!(page.contains(&format!("`{named}`")), "{named}");
            }
        }
        assert_eq!(lines[12]["running_accuracy"], 0.75);
        assert_eq!(lines[14]["val_accuracy"], 0.8);
        assert_eq!(lines[2]["speeds"][0]["images_per_second"], 212.5);
        assert_eq!(lines[21]["weights"], "runs/a/b.safetensors");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf8_is_written_too() {
        use std::os::unix::ffi::OsStrExt as _;
        let path = std::ffi::OsStr::from_bytes(b"a\xff.safetensors").into();
        let event = Event::CheckpointWritten {
            path,
            epoch: 1,
            score: 0.5,
        };
        assert_eq!(lines(&[event])[0]["path"], "a\u{fffd}.safetensors");
    }

    /// A pipe that nobody reads.
    struct Closed(usize);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_ends_the_log_and_not_the_run() {
        let mut log = JsonLog::new(Closed(0));
        log.handle(&batch(1, 1)).unwrap();
        log.handle(&batch(1, 2)).unwrap();
        assert_eq!(log.out.0, 1);
    }
}
