//! The file `metrics.jsonl` of a run.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{EpochReport, Event, EventSink};
use crate::{Error, Result};

/// Appends one JSON object per epoch to a file, one per line. Only whole lines are written.
///
/// A failed write does not end the run: a warning reports it, and the line is written with the next
/// one or on drop.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    /// The open file. It is closed while it is replaced, as Windows requires.
    pub(super) file: Option<File>,
    /// Bytes of complete lines in the file.
    length: u64,
    /// Lines not in the file yet.
    waiting: Vec<u8>,
    /// Whether a failed write may have left a part of `waiting` in the file.
    torn: bool,
}

impl MetricsFile {
    /// Opens `path` for appending, creating it if necessary.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub fn append(path: &Path) -> Result<Self> {
        let open = || {
            let file = File::options().create(true).append(true).open(path)?;
            Ok((file.metadata()?.len(), file))
        };
        let (length, file) = open().map_err(Error::io(path))?;
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
            length,
            waiting: Vec::new(),
            torn: false,
        })
    }

    fn write(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        match self.try_to_write() {
            Ok(()) => {
                self.length += self.waiting.len() as u64;
                self.waiting.clear();
                self.torn = false;
            }
            Err(error) => {
                self.torn = true;
                let lines = self.waiting.iter().filter(|byte| **byte == b'\n').count();
                tracing::warn!(
                    "{}: {error}; the last {lines} epochs are missing in it",
                    self.path.display()
                );
            }
        }
    }

    fn try_to_write(&mut self) -> std::io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(ErrorKind::NotFound.into());
        };
        if self.torn {
            file.set_len(self.length)?;
        }
        file.write_all(&self.waiting)
    }
}

impl MetricsFile {
    /// Replaces the lines by those of these epochs: an earlier process may have written more, or a part of a line.
    fn restore(&mut self, reports: &[EpochReport]) -> Result<()> {
        let mut lines = Vec::new();
        for report in reports {
            lines.extend(self.line(report)?);
        }
        self.file = None;
        files::write(&self.path, |file| file.write_all(&lines)).map_err(Error::io(&self.path))?;
        *self = Self::append(&self.path)?;
        Ok(())
    }

    fn line(&self, report: &EpochReport) -> Result<Vec<u8>> {
        let mut line = serde_json::to_vec(report).map_err(|e| Error::io(&self.path)(e.into()))?;
        line.push(b'\n');
        Ok(line)
    }
}

impl EventSink for MetricsFile {
    fn handle(&mut self, event: &Event) -> Result<()> {
        if let (Event::Finished { .. }, Some(file)) = (event, &self.file) {
            // The last lines must survive a power cut as the weights do.
            let _ = file.sync_data();
        }
        if let Event::Resumed { reports, .. } = event {
            self.restore(reports)?;
        }
        if let Event::EpochFinished(report) = event {
            let line = self.line(report)?;
            self.waiting.extend(line);
            self.write();
        }
        Ok(())
    }
}

impl Drop for MetricsFile {
    fn drop(&mut self) {
        self.write();
    }
}
