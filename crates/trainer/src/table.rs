//! CSV files.

use std::io::Write as _;
use std::path::Path;

use crate::{Error, Result};

/// Writes a header and rows; the file appears whole or not at all.
///
/// # Errors
///
/// [`Error::Io`] or [`Error::Data`], naming the file; the first error of `rows`.
pub(crate) fn write<const N: usize>(
    path: &Path,
    header: [&str; N],
    rows: impl Iterator<Item = Result<[String; N]>>,
) -> Result<()> {
    let io = |e: csv::Error| Error::io(path)(e.into());
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(header).map_err(io)?;
    for row in rows {
        csv.write_record(row?).map_err(io)?;
    }
    let bytes = csv
        .into_inner()
        .map_err(|e| Error::io(path)(e.into_error()))?;
    Ok(mnist_data::write_atomically(path, |file| {
        file.write_all(&bytes)
    })?)
}
