//! Data sets whose labels are listed in a CSV file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::classes::{Classes, composed, same_but_composition, unusable};
use crate::csv_table::{Row, Table};
use crate::error::{Result, first_few};
use crate::folder::{ImageFolder, Sample};

impl ImageFolder {
    /// The images that a CSV file lists, with a header and the columns `path`, `label` and, if wanted,
    /// `weight`; any other column is an error. Labels are class names. White space around a value does not
    /// count, not even inside quotes.
    ///
    /// Paths are relative to `root`, or to the file's folder without one; absolute paths and such that lead out
    /// of it are taken as they are. A sample's id is its path as written, with `/` between the parts. The classes
    /// are `classes`, or, for a training split, the labels that occur, sorted; of `classes`, those without an image
    /// are named in a warning. As from a folder, samples are ordered by class, then by id.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); [`Error::Table`](crate::Error::Table), with the line, for a wrong header or row, a label that is none of
    /// `classes`, a weight that is negative or no number, a path that comes twice, if spelled in another way, no
    /// row, and files that are not there, the first of which are named.
    ///
    /// ```
    /// use mnist_data::ImageFolder;
    ///
    /// # let dir = std::env::temp_dir().join(format!("mnist-data-from-csv-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir)?;
    /// # for name in ["1.png", "2.png"] { std::fs::write(dir.join(name), "")?; }
    /// let file = dir.join("train.csv");
    /// std::fs::write(&file, "path,label,weight\n1.png,dog,1\n2.png,cat,0.5\n")?;
    /// let training = ImageFolder::from_csv(&file, None, None)?;
    /// assert_eq!(training.classes.names(), ["cat", "dog"]);
    /// assert_eq!((training.samples[0].id.as_str(), training.samples[0].weight), ("2.png", 0.5));
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_csv(file: &Path, root: Option<&Path>, classes: Option<&Classes>) -> Result<Self> {
        let table = Table::read(file, &["path", "label"])?;
        let given = classes.is_some();
        let classes = match classes {
            Some(classes) => classes.clone(),
            None => classes_of(&table)?,
        };
        let root = root.or_else(|| file.parent()).unwrap_or(Path::new(""));
        let mut samples = Vec::with_capacity(table.rows.len());
        let mut missing = Vec::new();
        let mut listed = Listed::default();
        for row in &table.rows {
            let label = classes.index_of(&row.label).ok_or_else(|| {
                let known = classes.listed();
                table.at(
                    row.line,
                    format!("label `{}` is none of the classes ({known})", row.label),
                )
            })?;
            let path = root.join(&row.path);
            if !path.is_file() {
                missing.push((row.line, path.clone()));
            } else if let Some(first) = listed.before(&path, row) {
                let problem = format!(
                    "{:?} is the file of line {} ({:?}) again",
                    row.path, first.line, first.path
                );
                return Err(table.at(row.line, problem));
            }
            samples.push(Sample {
                weight: row.weight,
                ..Sample::new(row.id(), path, label)
            });
        }
        if let Some(&(line, _)) = missing.first() {
            let names = missing
                .iter()
                .map(|(line, path)| format!("{} (line {line})", path.display()));
            let problem = format!(
                "{} of {} files are not there, or are no regular files: {}; correct the paths or the folder they are relative to",
                missing.len(),
                table.rows.len(),
                first_few(names)
            );
            return Err(table.at(line, problem));
        }
        samples.sort_by(|a, b| (a.label, &a.id).cmp(&(b.label, &b.id)));
        let folder = Self { classes, samples };
        if given {
            folder.warn_of_empty_classes(file);
        }
        Ok(folder)
    }
}

/// The labels that occur in a table, sorted.
fn classes_of(table: &Table) -> Result<Classes> {
    let mut first: HashMap<Cow<'_, str>, &Row> = HashMap::new();
    for row in &table.rows {
        match first.entry(composed(&row.label)) {
            Entry::Vacant(new) => {
                if let Some(problem) = unusable(&row.label) {
                    return Err(table.at(row.line, problem));
                }
                new.insert(row);
            }
            Entry::Occupied(known) if known.get().label != row.label => {
                let Row { line, label, .. } = known.get();
                let problem = same_but_composition(label, &row.label);
                return Err(table.at(row.line, format!("{problem}, as on line {line}")));
            }
            Entry::Occupied(_) => {}
        }
    }
    let mut names: Vec<String> = first.values().map(|row| row.label.clone()).collect();
    names.sort();
    let classes = Classes::new(names)?;
    classes.warn_of_formulas();
    Ok(classes)
}

/// The files that rows have named so far, however they spelled them.
#[derive(Default)]
struct Listed<'a> {
    /// The rows by the real path of the folder and the name in it. A link to a file is an image of its own, as it
    /// is in a class folder.
    rows: HashMap<(PathBuf, OsString), &'a Row>,
    /// The real paths of folders as they were spelled, so that each is asked for once.
    folders: HashMap<PathBuf, PathBuf>,
}

impl<'a> Listed<'a> {
    /// The row that named this file before, if one did. A file whose folder cannot be told is taken for a new one.
    fn before(&mut self, path: &Path, row: &'a Row) -> Option<&'a Row> {
        let (folder, name) = (path.parent()?, path.file_name()?);
        let folder = match self.folders.get(folder) {
            Some(real) => real.clone(),
            None => {
                // A name alone has the empty path for a folder, which stands for the current one.
                let real = fs::canonicalize(Path::new(".").join(folder)).ok()?;
                self.folders.insert(folder.into(), real.clone());
                real
            }
        };
        self.rows.insert((folder, name.into()), row)
    }
}
