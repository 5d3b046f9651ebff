//! Data sets with labels in a CSV file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::classes::{Classes, composed, same_but_composition, unusable};
use crate::csv_table::{Row, Table};
use crate::error::{Result, first_few};
use crate::folder::ImageFolder;
use crate::sample::Sample;

impl ImageFolder {
    /// The images that a CSV file lists, with a header and the columns `path`, `label` and optionally `weight`; any
    /// other column is an error. Labels are class names. White space around a value is ignored, even inside quotes.
    ///
    /// Paths are relative to `root`, or without it to the CSV file's folder. Absolute paths and paths with `..` are
    /// allowed. A sample's id is its path as written, with `/` between the parts. The classes are `classes`, or without
    /// it the sorted labels of the file. Members of `classes` without an image get a warning. Samples are ordered by
    /// class, then by id, as from a folder.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); [`Error::Table`](crate::Error::Table), with the line, for a wrong header or
    /// row, a label outside `classes`, a weight that is negative or not a number, a duplicate path (in any spelling), a
    /// table without rows, and missing files, the first of which it names.
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
    /// assert_eq!((training.samples[0].id(), training.samples[0].weight), ("2.png", 0.5));
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
        let root: Arc<Path> = root.into();
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
            let mut sample = Sample::below(&root, &row.id(), label);
            sample.weight = row.weight;
            samples.push(sample);
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
        samples.sort_by(|a, b| (a.label, a.id()).cmp(&(b.label, b.id())));
        let folder = Self {
            classes,
            samples: samples.into(),
        };
        if given {
            folder.warn_of_empty_classes(file);
        }
        Ok(folder)
    }
}

/// The distinct labels of a table, sorted.
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

/// Finds rows that name the same file, in any spelling of its path.
#[derive(Default)]
struct Listed<'a> {
    /// The rows so far, by the folder's real path and the file name. A link to a file counts as another image, as in a
    /// class folder.
    rows: HashMap<(Arc<Path>, &'a OsStr), &'a Row>,
    /// The real paths of folders by their spelling, so that each is resolved once.
    folders: HashMap<PathBuf, Arc<Path>>,
}

impl<'a> Listed<'a> {
    /// The earlier row that named this file, if any. If the folder cannot be resolved, the file counts as new.
    fn before(&mut self, path: &Path, row: &'a Row) -> Option<&'a Row> {
        let (folder, name) = (path.parent()?, Path::new(&row.path).file_name()?);
        let folder = match self.folders.get(folder) {
            Some(real) => Arc::clone(real),
            None => {
                // A bare file name has an empty folder path, which means the current folder.
                let real = fs::canonicalize(Path::new(".").join(folder)).ok()?;
                let real: Arc<Path> = real.into();
                self.folders.insert(folder.into(), Arc::clone(&real));
                real
            }
        };
        self.rows.insert((folder, name), row)
    }
}
