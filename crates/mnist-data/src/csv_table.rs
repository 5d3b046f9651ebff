//! Reads CSV files with a path column. Each row keeps its line number.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};

use crate::error::{Error, Result};
use crate::regular::{MAX_TABLE, read_regular};

/// The allowed columns.
const COLUMNS: [&str; 3] = ["path", "label", "weight"];

/// A parsed table: every row has every column of the header.
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    /// The row's first line, from 1.
    pub(crate) line: u64,
    /// The path as written, without surrounding white space.
    pub(crate) path: String,
    /// The label; empty without a label column.
    pub(crate) label: String,
    /// The sample weight; 1 without a weight column.
    pub(crate) weight: f32,
}

impl Row {
    /// The sample's id: its path, with `/` between the parts on every system.
    pub(crate) fn id(&self) -> String {
        match cfg!(windows) {
            true => self.path.replace('\\', "/"),
            false => self.path.clone(),
        }
    }
}

impl Table {
    /// Reads a CSV file with a header. `required` columns must exist; only [`COLUMNS`] may. White space around a value
    /// is ignored, even inside quotes.
    pub(crate) fn read(path: &Path, required: &[&str]) -> Result<Self> {
        let text = read_regular(path, MAX_TABLE)?;
        let mut lines = Lines::new(&text);
        let mut reader = ReaderBuilder::new()
            .trim(Trim::All)
            .from_reader(text.as_slice());
        let header = reader
            .headers()
            .map_err(|error| of_csv(path, error, &mut lines))?
            .clone();
        let names: Vec<&str> = header.iter().collect();
        let line = lines.of(header.position());
        let wrong_header = |problem: String| {
            Err(at(
                path,
                line,
                format!("{problem}; expected a header such as `path,label,weight`"),
            ))
        };
        if header.is_empty() {
            return wrong_header("the file is empty".into());
        }
        for (place, name) in names.iter().enumerate() {
            if name.contains([';', '\t']) {
                return wrong_header(format!(
                    "one column `{name}`; separate the columns with commas"
                ));
            }
            if !COLUMNS.contains(name) {
                return wrong_header(format!("unknown column `{name}`"));
            }
            if names[..place].contains(name) {
                return wrong_header(format!("column `{name}` comes twice"));
            }
        }
        if let Some(missing) = required.iter().find(|name| !names.contains(name)) {
            return wrong_header(format!("no column `{missing}` among {names:?}"));
        }
        let column = |name| names.iter().position(|known| *known == name);
        let [paths, labels, weights] = COLUMNS.map(column);
        let mut table = Self {
            path: path.into(),
            rows: Vec::new(),
        };
        for record in reader.records() {
            let record = record.map_err(|error| of_csv(path, error, &mut lines))?;
            let line = lines.of(record.position());
            let row = table.row(&record, line, [paths, labels, weights])?;
            table.rows.push(row);
        }
        if table.rows.is_empty() {
            return Err(at(path, line + 1, "no row after the header".into()));
        }
        table.refuse_duplicates()?;
        Ok(table)
    }

    fn row(&self, record: &StringRecord, line: u64, columns: [Option<usize>; 3]) -> Result<Row> {
        let [path, label, weight] =
            columns.map(|column| column.and_then(|column| record.get(column)));
        let required = |value: Option<&str>, name| match value {
            Some("") => Err(self.at(line, format!("the {name} is empty"))),
            value => Ok(value.unwrap_or_default().to_owned()),
        };
        let weight = weight.map_or(Ok(1.0), |text| {
            let weight = text.parse().ok().filter(|weight| is_weight(*weight));
            weight.ok_or_else(|| {
                self.at(
                    line,
                    format!("weight {text:?}, expected a finite number of at least 0"),
                )
            })
        })?;
        Ok(Row {
            line,
            path: required(path, "path")?,
            label: required(label, "label")?,
            weight,
        })
    }

    fn refuse_duplicates(&self) -> Result<()> {
        let mut lines = HashMap::new();
        for row in &self.rows {
            // The path is split into components, so that `./a` equals `a`.
            let parts: PathBuf = Path::new(&row.path).components().collect();
            let parts = parts.strip_prefix(".").unwrap_or(&parts).to_path_buf();
            if let Some(first) = lines.insert(parts, row.line) {
                let problem = format!("{:?} comes twice, first on line {first}", row.path);
                return Err(self.at(row.line, problem));
            }
        }
        Ok(())
    }

    /// An error about a line of this table.
    pub(crate) fn at(&self, line: u64, problem: String) -> Error {
        at(&self.path, line, problem)
    }
}

/// Whether a number is a valid sample weight.
pub(crate) fn is_weight(weight: f32) -> bool {
    weight.is_finite() && weight >= 0.0
}

/// Finds the line on which a record begins. The reader's own line count is not usable: it stays on the previous
/// record's line if lines end in `\r\n`, and does not count empty lines before the record.
struct Lines<'a> {
    text: &'a [u8],
    /// The number of bytes searched so far; they contain `line` - 1 line ends.
    counted: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            counted: 0,
            line: 1,
        }
    }

    /// The line number, from 1, of the record at the reader's position. Call it for records in file order.
    fn of(&mut self, position: Option<&csv::Position>) -> u64 {
        let end = self.text.len();
        let before = position.map_or(0, |position| {
            usize::try_from(position.byte()).map_or(end, |byte| byte.min(end))
        });
        let breaks = self.text[before..].iter();
        let breaks = breaks.take_while(|&&byte| byte == b'\r' || byte == b'\n');
        let start = before + breaks.count();
        let counted = self.text.get(self.counted..start).unwrap_or_default();
        self.line += counted.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.counted = self.counted.max(start);
        self.line
    }
}

fn at(path: &Path, line: u64, problem: String) -> Error {
    Error::Table {
        path: path.into(),
        line,
        problem,
    }
}

fn of_csv(path: &Path, error: csv::Error, lines: &mut Lines) -> Error {
    let line = lines.of(error.position());
    match error.into_kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => at(
            path,
            line,
            format!("{len} values, expected {expected_len} as in the header"),
        ),
        csv::ErrorKind::Utf8 { .. } => at(path, line, "is not UTF-8".into()),
        other => at(path, line, format!("is not valid CSV: {other:?}")),
    }
}
