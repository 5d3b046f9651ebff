//! Predictions as a CSV file.

use std::path::{Path, PathBuf};

use mnist_data::begins_as_formula;

use crate::table::Table;
use crate::{Error, Prediction, Result};

/// A CSV file with the columns `image_id,label,probability`, one row per prediction, in order. The file appears only
/// when it is complete.
///
/// Ids and class names are written unchanged, for other programs. A warning names the first one that a spreadsheet
/// would run as a formula.
pub struct PredictionsFile {
    path: PathBuf,
    table: Table<3>,
    class_names: Vec<String>,
    /// Whether a warning about an id was given.
    warned: bool,
}

impl PredictionsFile {
    /// Creates the file before any work, so that an unwritable path fails early. `class_names` are in label order.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub fn create(path: &Path, class_names: &[String]) -> Result<Self> {
        let table = Table::create(path, ["image_id", "label", "probability"])?;
        if let Some(name) = class_names.iter().find(|name| begins_as_formula(name)) {
            warn(path, "class", name);
        }
        Ok(Self {
            path: path.to_owned(),
            table,
            class_names: class_names.to_vec(),
            warned: false,
        })
    }

    /// Appends a row.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file; [`Error::Shape`] for a class without a name.
    pub fn write(&mut self, prediction: &Prediction) -> Result<()> {
        let Some(name) = self.class_names.get(prediction.label) else {
            return Err(Error::Shape(format!(
                "class {} of {} class names",
                prediction.label,
                self.class_names.len()
            )));
        };
        if !self.warned && begins_as_formula(&prediction.id) {
            self.warned = true;
            warn(&self.path, "image", &prediction.id);
        }
        let probability = format!("{:.6}", prediction.probability());
        self.table.row([&prediction.id, name, &probability])
    }

    /// Renames the file to its final name, replacing the old one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub fn finish(self) -> Result<()> {
        self.table.finish()
    }
}

fn warn(path: &Path, kind: &str, name: &str) {
    let path = path.display();
    tracing::warn!(
        "{path}: {kind} {name:?} begins like a formula; import the columns into a spreadsheet as text"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, label: usize, probabilities: Vec<f32>) -> Prediction {
        Prediction {
            id: id.to_owned(),
            label,
            probabilities,
        }
    }

    #[test]
    fn rows_keep_their_order_and_quote_if_necessary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("predictions.csv");
        let names = ["=cat".to_owned(), "dog".to_owned()];
        let mut file = PredictionsFile::create(&path, &names).unwrap();
        file.write(&row("b/1.png", 1, vec![0.25, 0.75])).unwrap();
        file.write(&row("a, b/1.png", 0, vec![1.0, 0.0])).unwrap();
        file.write(&row("=1+2.png", 1, vec![0.0, 1.0])).unwrap();
        let nameless = file.write(&row("c.png", 2, vec![0.0, 0.0, 1.0]));
        assert!(matches!(nameless, Err(Error::Shape(_))), "{nameless:?}");
        assert!(!path.exists());
        file.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "image_id,label,probability\nb/1.png,dog,0.750000\n\"a, b/1.png\",=cat,1.000000\n\
             =1+2.png,dog,1.000000\n"
        );
    }

    #[test]
    fn rows_go_to_the_disk_at_once_and_the_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("predictions.csv");
        std::fs::write(&path, "old").unwrap();
        let lengths = || -> Vec<u64> {
            let others = std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
            let others = others.filter(|entry| entry.path() != path);
            others
                .map(|entry| entry.metadata().unwrap().len())
                .collect()
        };
        let names = ["cat".to_owned()];
        let mut expected = "image_id,label,probability\n".to_owned();
        for is_finished in [false, true] {
            let mut file = PredictionsFile::create(&path, &names).unwrap();
            for number in 0..10_000 {
                let id = format!("{number}.png");
                file.write(&row(&id, 0, vec![1.0])).unwrap();
                if is_finished {
                    expected += &format!("{id},cat,1.000000\n");
                }
            }
            // All rows but the last few kilobytes are in the temporary file.
            let written = lengths();
            assert!(
                matches!(written[..], [bytes] if bytes > 200_000),
                "{written:?}"
            );
            assert_eq!(std::fs::read(&path).unwrap(), b"old");
            match is_finished {
                true => file.finish().unwrap(),
                false => drop(file),
            }
            assert_eq!(lengths(), [0; 0]);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn a_formula_is_told_by_its_beginning() {
        for text in ["=1", "+1", "-1", "@a", "\ta", "\ra"] {
            assert!(begins_as_formula(text), "{text:?}");
        }
        for text in ["", "a=1", "1-2", " =1", "'=1"] {
            assert!(!begins_as_formula(text), "{text:?}");
        }
    }
}
