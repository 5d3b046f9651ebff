//! Predictions, as rows of a CSV file and as JSON objects.

use std::path::{Path, PathBuf};

use classifier::ranked;
use mnist_data::begins_as_formula;
use serde::{Deserialize, Serialize, Serializer};

use crate::table::Rows;
use crate::{Error, Result};

/// A network's prediction for one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The image's path relative to its input.
    pub id: String,
    /// The most probable class.
    pub label: usize,
    /// Probability of each class, in label order; they sum to 1.
    pub probabilities: Vec<f32>,
}

impl Prediction {
    /// The probability of the most probable class.
    pub fn probability(&self) -> f32 {
        self.of(self.label)
    }

    /// The `k` most probable classes with their probabilities, the most probable first; all classes if there are fewer.
    /// Of equal probabilities, the first class counts more.
    pub fn top(&self, k: usize) -> Vec<(usize, f32)> {
        let best = ranked(&self.probabilities).into_iter().take(k);
        best.map(|class| (class, self.of(class))).collect()
    }

    /// The prediction as an object for JSON, with `image_id`, `label` and `probability`, and further members by
    /// `columns`. `class_names` are in label order.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the numbers of names and probabilities differ.
    pub fn object<'a>(
        &'a self,
        class_names: &'a [String],
        columns: PredictionColumns,
    ) -> Result<PredictionObject<'a>> {
        self.check(class_names)?;
        let choice = |(class, probability): (usize, f32)| Choice {
            label: &class_names[class],
            probability,
        };
        let top = columns.top_k.map(|k| self.top(k));
        Ok(PredictionObject {
            image_id: &self.id,
            label: &class_names[self.label],
            probability: self.probability(),
            top_k: top.map(|top| top.into_iter().map(choice).collect()),
            probabilities: columns.probabilities.then_some(ByClass {
                names: class_names,
                probabilities: &self.probabilities,
            }),
        })
    }

    fn of(&self, class: usize) -> f32 {
        self.probabilities.get(class).copied().unwrap_or(0.0)
    }

    fn check(&self, class_names: &[String]) -> Result<()> {
        let (names, found) = (class_names.len(), self.probabilities.len());
        match names == found && self.label < names {
            true => Ok(()),
            false => Err(Error::Shape(format!(
                "class {} and {found} probabilities for {names} class names",
                self.label
            ))),
        }
    }
}

/// The parts of a prediction beyond the most probable class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PredictionColumns {
    /// The number of most probable classes, if they are wanted; all classes if there are fewer.
    pub top_k: Option<usize>,
    /// Whether the probability of every class is wanted.
    pub probabilities: bool,
}

impl PredictionColumns {
    /// The names of the columns of a table. `label_2` and `probability_2` belong to the second most probable class. The
    /// column `p_NAME` has the probability of the class `NAME`, so no class has the name of another column.
    fn header(self, class_names: &[String]) -> Vec<String> {
        let mut header = ["image_id", "label", "probability"]
            .map(str::to_owned)
            .to_vec();
        for place in 2..=self.top_k.unwrap_or(1).min(class_names.len()) {
            header.push(format!("label_{place}"));
            header.push(format!("probability_{place}"));
        }
        if self.probabilities {
            header.extend(class_names.iter().map(|name| format!("p_{name}")));
        }
        header
    }
}

/// A prediction for JSON; see [`Prediction::object`].
#[derive(Clone, Debug, Serialize)]
pub struct PredictionObject<'a> {
    image_id: &'a str,
    label: &'a str,
    probability: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<Vec<Choice<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<ByClass<'a>>,
}

#[derive(Clone, Debug, Serialize)]
struct Choice<'a> {
    label: &'a str,
    probability: f32,
}

/// An object with one member per class, in label order.
#[derive(Clone, Debug)]
struct ByClass<'a> {
    names: &'a [String],
    probabilities: &'a [f32],
}

impl Serialize for ByClass<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.names.iter().zip(self.probabilities))
    }
}

/// A CSV file with one row per prediction, in order: `image_id,label,probability`, and further columns by
/// [`PredictionColumns`]. Probabilities have six decimals. The file appears only when it is complete.
///
/// Ids and class names are written unchanged, for other programs. A warning names the first one that a spreadsheet
/// would run as a formula.
pub struct PredictionsFile {
    path: PathBuf,
    rows: Rows,
    class_names: Vec<String>,
    columns: PredictionColumns,
    /// Whether a warning about an id was given.
    warned: bool,
}

impl PredictionsFile {
    /// Creates the file before any work, so that an unwritable path fails early. `class_names` are in label order.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub fn create(path: &Path, class_names: &[String], columns: PredictionColumns) -> Result<Self> {
        let header = columns.header(class_names);
        let rows = Rows::create(path, header.iter().map(String::as_str))?;
        if let Some(name) = class_names.iter().find(|name| begins_as_formula(name)) {
            warn(path, "class", name);
        }
        Ok(Self {
            path: path.to_owned(),
            rows,
            class_names: class_names.to_vec(),
            columns,
            warned: false,
        })
    }

    /// Appends a row.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file; [`Error::Shape`] if the numbers of names and probabilities differ.
    pub fn write(&mut self, prediction: &Prediction) -> Result<()> {
        prediction.check(&self.class_names)?;
        if !self.warned && begins_as_formula(&prediction.id) {
            self.warned = true;
            warn(&self.path, "image", &prediction.id);
        }
        let name = |class: usize| self.class_names[class].as_str();
        let digits = |probability: f32| format!("{probability:.6}");
        let mut numbers = vec![(
            Some(name(prediction.label)),
            digits(prediction.probability()),
        )];
        if let Some(k @ 2..) = self.columns.top_k {
            let others = prediction.top(k).into_iter().skip(1);
            numbers.extend(others.map(|(class, value)| (Some(name(class)), digits(value))));
        }
        if self.columns.probabilities {
            let all = prediction.probabilities.iter();
            numbers.extend(all.map(|&value| (None, digits(value))));
        }
        let cells = numbers
            .iter()
            .flat_map(|(name, digits)| name.iter().copied().chain([digits.as_str()]));
        self.rows
            .row([prediction.id.as_str()].into_iter().chain(cells))
    }

    /// Renames the file to its final name, replacing the old one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] naming the file.
    pub fn finish(self) -> Result<()> {
        self.rows.finish()
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
        let mut file =
            PredictionsFile::create(&path, &names, PredictionColumns::default()).unwrap();
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
            let mut file =
                PredictionsFile::create(&path, &names, PredictionColumns::default()).unwrap();
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

    const ALL: PredictionColumns = PredictionColumns {
        top_k: Some(2),
        probabilities: true,
    };

    #[test]
    fn further_columns_have_names_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("predictions.csv");
        // Classes named like other columns.
        let names = ["label", "robability_2", "label_2"].map(str::to_owned);
        let predictions = [
            row("1", 2, vec![0.25, 0.25, 0.5]),
            row("2", 0, vec![0.7, 0.1, 0.2]),
        ];
        let written = |columns| {
            let mut file = PredictionsFile::create(&path, &names, columns).unwrap();
            predictions.iter().for_each(|row| file.write(row).unwrap());
            file.finish().unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        assert_eq!(
            written(ALL),
            "image_id,label,probability,label_2,probability_2,p_label,p_robability_2,p_label_2\n\
             1,label_2,0.500000,label,0.250000,0.250000,0.250000,0.500000\n\
             2,label,0.700000,label_2,0.200000,0.700000,0.100000,0.200000\n"
        );
        // More classes than there are.
        let columns = PredictionColumns {
            top_k: Some(9),
            probabilities: false,
        };
        assert_eq!(
            written(columns).lines().next().unwrap(),
            "image_id,label,probability,label_2,probability_2,label_3,probability_3"
        );
    }

    #[test]
    fn an_object_has_the_same_contents_with_all_digits() {
        let names = ["label", "b\"", "c"].map(str::to_owned);
        let prediction = row("x/1", 2, vec![0.2, 0.1, 0.7]);
        let json = |columns| {
            let object = prediction.object(&names, columns).unwrap();
            serde_json::to_string(&object).unwrap()
        };
        assert_eq!(
            json(PredictionColumns::default()),
            r#"{"image_id":"x/1","label":"c","probability":0.7}"#
        );
        assert_eq!(
            json(ALL),
            r#"{"image_id":"x/1","label":"c","probability":0.7,"top_k":[{"label":"c","probability":0.7},{"label":"label","probability":0.2}],"probabilities":{"label":0.2,"b\"":0.1,"c":0.7}}"#
        );
        let nameless = prediction.object(&names[..2], ALL);
        assert!(matches!(nameless, Err(Error::Shape(_))), "{nameless:?}");
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
