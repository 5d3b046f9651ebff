//! Writes CSV and JSON files.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use files::Unfinished;
use mnist_data::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// A CSV file, written row by row. All rows have as many columns as the header. The file appears only when it is
/// complete.
pub(crate) struct Rows {
    path: PathBuf,
    csv: csv::Writer<Unfinished>,
}

impl Rows {
    /// Creates a temporary file beside the final path, and writes the header.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file, if it cannot be created there.
    pub(crate) fn create<'a>(
        path: &Path,
        header: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self> {
        let file = Unfinished::create(path).map_err(Error::io(path))?;
        let mut rows = Self {
            path: path.to_owned(),
            csv: csv::Writer::from_writer(file),
        };
        rows.row(header)?;
        Ok(rows)
    }

    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub(crate) fn row<'a>(&mut self, row: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let written = self.csv.write_record(row);
        written.map_err(|e| Error::io(&self.path)(e.into()))
    }

    /// Renames the file to its final name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub(crate) fn finish(self) -> Result<()> {
        let file = self.csv.into_inner().map_err(|e| e.into_error());
        file.and_then(Unfinished::finish)
            .map_err(Error::io(self.path))
    }
}

/// [`Rows`] of `N` columns.
pub(crate) struct Table<const N: usize>(Rows);

impl<const N: usize> Table<N> {
    /// # Errors
    ///
    /// As [`Rows::create`].
    pub(crate) fn create(path: &Path, header: [&str; N]) -> Result<Self> {
        Rows::create(path, header).map(Self)
    }

    /// # Errors
    ///
    /// As [`Rows::row`].
    pub(crate) fn row(&mut self, row: [&str; N]) -> Result<()> {
        self.0.row(row)
    }

    /// # Errors
    ///
    /// As [`Rows::finish`].
    pub(crate) fn finish(self) -> Result<()> {
        self.0.finish()
    }
}

/// Writes a value as indented JSON. The file appears only when it is complete.
///
/// # Errors
///
/// [`Error::Data`] naming the file.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_vec_pretty(value).map_err(|e| Error::io(path)(e.into()))?;
    Ok(write_atomically(path, |file| file.write_all(&json))?)
}

/// Writes a value as JSON on one line. The file appears only when it is complete.
///
/// # Errors
///
/// [`Error::Data`] naming the file.
pub(crate) fn write_compact_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut json = serde_json::to_vec(value).map_err(|e| Error::io(path)(e.into()))?;
    json.push(b'\n');
    Ok(write_atomically(path, |file| file.write_all(&json))?)
}

/// Reads a value from JSON. `expected` describes the contents of such a file in messages.
///
/// # Errors
///
/// [`Error::Io`] if the file cannot be read, and [`Error::BadFile`] if it has other contents.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, expected: &'static str) -> Result<T> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::BadFile {
        path: path.to_owned(),
        problem: error.to_string(),
        expected,
    })
}
