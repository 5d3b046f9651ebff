//! The answers of an evaluation as a CSV file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::mistakes::two_largest;
use crate::table::Table;
use crate::{Error, Result};

const COLUMNS: [&str; 7] = [
    "image_id",
    "label",
    "predicted",
    "probability",
    "label_probability",
    "second",
    "second_probability",
];

/// A CSV file with one row per evaluated image, in order: `image_id,label,predicted,probability,label_probability,second,
/// second_probability`. Rows are written at once; the file appears only when it is complete.
///
/// Classes are names. A probability has the shortest digits that read back the same `f32`.
pub struct AnswersFile {
    table: Table<7>,
    class_names: Vec<String>,
}

/// A row of an [`AnswersFile`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The image's id: its path relative to the evaluated folder.
    pub image_id: String,
    /// The true class.
    pub label: String,
    /// The most probable class.
    pub predicted: String,
    /// The probability of the most probable class.
    pub probability: f32,
    /// The probability of the true class.
    pub label_probability: f32,
    /// The second most probable class; empty if there is only one class.
    pub second: String,
    /// The probability of the second most probable class; `None` if there is only one class.
    pub second_probability: Option<f32>,
}

impl AnswersFile {
    /// Creates the file before any work, so that an unwritable path fails early. `class_names` are in label order.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub fn create(path: &Path, class_names: &[String]) -> Result<Self> {
        Ok(Self {
            table: Table::create(path, COLUMNS)?,
            class_names: class_names.to_vec(),
        })
    }

    /// Appends the row of an image with this true class and these probabilities, in label order.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file; [`Error::Shape`] if label and probabilities do not fit the classes.
    pub fn write(&mut self, id: &str, label: usize, probabilities: &[f32]) -> Result<()> {
        let names = &self.class_names;
        let (Some(name), true) = (names.get(label), names.len() == probabilities.len()) else {
            return Err(Error::Shape(format!(
                "class {label} and {} probabilities for {} class names",
                probabilities.len(),
                names.len()
            )));
        };
        let [first, second] = two_largest(probabilities);
        let (first, probability) = first.unwrap_or_default();
        let second_name = second.map_or("", |(class, _)| &names[class]);
        let second_probability = second.map(|(_, value)| value.to_string());
        self.table.row([
            id,
            name,
            &names[first],
            &probability.to_string(),
            &probabilities[label].to_string(),
            second_name,
            second_probability.as_deref().unwrap_or(""),
        ])
    }

    /// Renames the file to its final name, replacing the old one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub fn finish(self) -> Result<()> {
        self.table.finish()
    }

    /// Reads the rows of a file one by one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be opened. The iterator yields [`Error::BadFile`] with the line of a row that
    /// cannot be understood.
    pub fn read(path: &Path) -> Result<impl Iterator<Item = Result<Answer>> + use<>> {
        let reader = csv::Reader::from_path(path).map_err(|e| Error::io(path)(e.into()))?;
        let path = path.to_owned();
        Ok(reader
            .into_deserialize()
            .map(move |row| row.map_err(|error| bad_row(&path, error))))
    }
}

fn bad_row(path: &PathBuf, error: csv::Error) -> Error {
    match error.is_io_error() {
        true => Error::io(path)(error.into()),
        false => Error::BadFile {
            path: path.to_owned(),
            problem: error.to_string(),
            expected: "the answers of an evaluation, as `classify train` writes them",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("predictions-test.csv");
        let names = ["a,b", "dog", "\"emu\""].map(str::to_owned);
        let mut file = AnswersFile::create(&path, &names).unwrap();
        let rows = [
            ("0/1, 2.png", 2, [0.1, 0.7, 0.2]),
            ("\"0\"/ü.png", 0, [1.0, f32::MIN_POSITIVE, 1e-40]),
            ("tie", 1, [1.0 / 3.0; 3]),
        ];
        for (id, label, row) in &rows {
            file.write(id, *label, row).unwrap();
        }
        let wrong = file.write("x", 3, &[0.0; 3]);
        assert!(matches!(wrong, Err(Error::Shape(_))), "{wrong:?}");
        assert!(!path.exists());
        file.finish().unwrap();
        let read: Vec<Answer> = (AnswersFile::read(&path).unwrap())
            .map(Result::unwrap)
            .collect();
        let of = |row: usize| &read[row];
        assert_eq!(read.len(), 3);
        assert_eq!(
            (of(0).image_id.as_str(), of(0).label.as_str()),
            (rows[0].0, "\"emu\"")
        );
        assert_eq!((of(0).predicted.as_str(), of(0).probability), ("dog", 0.7));
        assert_eq!(of(0).label_probability, 0.2);
        assert_eq!(
            (of(1).second.as_str(), of(1).second_probability),
            ("dog", Some(f32::MIN_POSITIVE))
        );
        // Of equal probabilities, the first class counts.
        assert_eq!(
            (of(2).predicted.as_str(), of(2).second.as_str()),
            ("a,b", "dog")
        );
    }

    #[test]
    fn a_single_class_has_no_second_choice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.csv");
        let mut file = AnswersFile::create(&path, &["only".to_owned()]).unwrap();
        file.write("x", 0, &[1.0]).unwrap();
        file.finish().unwrap();
        let answer = AnswersFile::read(&path).unwrap().next().unwrap().unwrap();
        assert_eq!(
            (answer.second.as_str(), answer.second_probability),
            ("", None)
        );
    }

    #[test]
    fn a_damaged_file_is_an_error_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answers.csv");
        for text in [
            "image_id,label\nx,y\n",
            "image_id,label,predicted,probability,label_probability,second,second_probability\na,b,c,no,0.5,d,0.1\n",
            "image_id,label,predicted,probability,label_probability,second,second_probability\na,b\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let error = AnswersFile::read(&path)
                .unwrap()
                .next()
                .unwrap()
                .unwrap_err();
            assert!(
                matches!(&error, Error::BadFile { problem, .. } if problem.contains("line: 2")),
                "{error}"
            );
        }
        let missing = AnswersFile::read(&dir.path().join("none")).err();
        assert!(matches!(missing, Some(Error::Io { .. })), "{missing:?}");
    }
}
