//! The list of a run's images, by which a resumed run notices that they have changed.

use std::path::Path;

use files::Checksum;
use mnist_data::{Loader, Sample, TRAIN, VALIDATION};

use crate::Result;
use crate::table::Table;

const COLUMNS: [&str; 4] = ["split", "class", "image", "weight"];

/// The images that a run trains and validates on, in order.
pub(crate) struct ImageList<'a> {
    pub(crate) train: &'a Loader,
    pub(crate) val: &'a Loader,
    pub(crate) class_names: &'a [String],
}

impl ImageList<'_> {
    /// A checksum of the classes and of the ids, labels and weights of all images.
    pub(crate) fn checksum(&self) -> String {
        let mut checksum = Checksum::default();
        // The rows do not show the order of the classes, which is that of the labels.
        self.class_names.iter().for_each(|name| checksum.text(name));
        for text in self.rows().flatten() {
            checksum.text(&text);
        }
        checksum.finish()
    }

    /// Writes the list as CSV.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) naming the file.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut table = Table::create(path, COLUMNS)?;
        for row in self.rows() {
            table.row(row.each_ref().map(String::as_str))?;
        }
        table.finish()
    }

    /// The first difference from a list that was written, in words.
    pub(crate) fn difference(&self, path: &Path) -> String {
        let unknown = || "their list at the start of the run cannot be read".to_owned();
        let Ok(mut before) = csv::Reader::from_path(path) else {
            return unknown();
        };
        let mut before = before.records();
        let mut now = self.rows();
        loop {
            match (before.next(), now.next()) {
                (Some(Err(_)), _) => return unknown(),
                (Some(Ok(before)), Some(now)) if before.iter().eq(now.iter()) => {}
                (Some(Ok(before)), Some(now)) => {
                    let before: Vec<&str> = before.iter().collect();
                    let now = now.each_ref().map(String::as_str);
                    return format!(
                        "the first difference: it was {}, and now is {}",
                        words(&before),
                        words(&now)
                    );
                }
                (Some(Ok(before)), None) => {
                    let before: Vec<&str> = before.iter().collect();
                    return format!("{} is missing", words(&before));
                }
                (None, Some(now)) => {
                    return format!("{} is new", words(&now.each_ref().map(String::as_str)));
                }
                (None, None) => return "the order of the classes is another one".to_owned(),
            }
        }
    }

    fn rows(&self) -> impl Iterator<Item = [String; 4]> {
        let splits = [(TRAIN, self.train), (VALIDATION, self.val)];
        let names = self.class_names;
        splits.into_iter().flat_map(move |(split, loader)| {
            let row = move |sample: &Sample| {
                let class = names.get(sample.label);
                let class = class.map_or_else(|| sample.label.to_string(), Clone::clone);
                [
                    split.to_owned(),
                    class,
                    sample.id().to_owned(),
                    sample.weight.to_string(),
                ]
            };
            loader.samples().iter().map(row)
        })
    }
}

fn words(row: &[&str]) -> String {
    match row {
        [split, class, image, weight] => {
            format!("`{image}` of class `{class}` in {split} with weight {weight}")
        }
        other => other.join(", "),
    }
}
