//! Copies a state in memory, and writes it to a file.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use files::Checksum;
use mobilenet::{Parameters, Segment, Snapshot};

use super::file::{self, Entry};
use super::{Place, Record};
use crate::{Error, Result};

/// The bytes that are written at a time.
const PIECE: usize = 1 << 20;

/// Collects the tensors of a state.
pub(crate) struct Builder {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    later: Vec<Arc<Snapshot>>,
}

impl Builder {
    /// An empty state. Its numbers are copied into the memory of `spare`.
    pub(crate) fn new(mut spare: Vec<u8>) -> Self {
        spare.clear();
        Self {
            entries: Vec::new(),
            bytes: spare,
            later: Vec::new(),
        }
    }

    /// Copies a flat buffer. Its parts are named `<prefix>/<segment>`.
    pub(crate) fn copy(&mut self, prefix: &str, segments: &[Segment], values: &[f32]) {
        self.name(prefix, segments);
        self.bytes.extend_from_slice(&little_endian(values));
    }

    /// Adds a snapshot, which never changes, so it is not copied. No buffer can be copied after it.
    pub(crate) fn share(&mut self, prefix: &str, of: &Parameters, snapshot: &Arc<Snapshot>) {
        self.name(prefix, of.segments());
        self.name(prefix, of.statistics_segments());
        self.later.push(Arc::clone(snapshot));
    }

    fn name(&mut self, prefix: &str, segments: &[Segment]) {
        let named = segments.iter().map(|segment| Entry {
            name: format!("{prefix}/{}", segment.name),
            shape: segment.shape.clone(),
        });
        self.entries.extend(named);
    }

    /// The complete state.
    ///
    /// # Errors
    ///
    /// If the record cannot be written as JSON.
    pub(crate) fn finish(self, record: &Record) -> Result<Unwritten> {
        let failed = |error: serde_json::Error| Error::Shape(format!("the state: {error}"));
        let json = serde_json::to_string(record).map_err(failed)?;
        let header = file::header(&self.entries, &json);
        Ok(Unwritten {
            header: header.map_err(|error| Error::Shape(format!("the state: {error}")))?,
            bytes: self.bytes,
            later: self.later,
            place: record.place,
        })
    }
}

/// A complete state that is not on disk yet.
pub(crate) struct Unwritten {
    header: Vec<u8>,
    bytes: Vec<u8>,
    later: Vec<Arc<Snapshot>>,
    pub(crate) place: Place,
}

impl Unwritten {
    /// Writes the file atomically and reads it back. Returns the time without waiting for the disk.
    pub(crate) fn write(&mut self, path: &Path) -> io::Result<Duration> {
        let start = Instant::now();
        let mut checksum = Checksum::default();
        self.each(|piece| {
            checksum.update(piece);
            Ok(())
        })?;
        file::seal(&mut self.header, checksum);
        let mut busy = start.elapsed();
        files::write(path, |file| {
            let start = Instant::now();
            let written = self.each(|piece| file.write_all(piece));
            busy += start.elapsed();
            written
        })?;
        let start = Instant::now();
        file::verify(path).map_err(|problem| {
            // A file that cannot be read back must not look like the newest state.
            let _ = std::fs::remove_file(path);
            io::Error::other(format!(
                "it was written, and read back with other contents: {problem}"
            ))
        })?;
        Ok(busy + start.elapsed())
    }

    /// The memory of the numbers, for the next state.
    pub(crate) fn into_spare(self) -> Vec<u8> {
        self.bytes
    }

    /// The contents of the file, piece by piece.
    fn each(&self, mut f: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        f(&self.header)?;
        self.bytes.chunks(PIECE).try_for_each(&mut f)?;
        for snapshot in &self.later {
            let each = |values: &[f32]| little_endian(values).chunks(PIECE).try_for_each(&mut f);
            let read = snapshot
                .read(|arena, statistics| [arena, statistics].into_iter().try_for_each(each));
            read.map_err(io::Error::other)??;
        }
        Ok(())
    }
}

#[cfg(target_endian = "little")]
fn little_endian(values: &[f32]) -> std::borrow::Cow<'_, [u8]> {
    bytemuck::cast_slice(values).into()
}

#[cfg(target_endian = "big")]
fn little_endian(values: &[f32]) -> std::borrow::Cow<'_, [u8]> {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    bytes.collect::<Vec<u8>>().into()
}
