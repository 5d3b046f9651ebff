//! Search for the folders or CSV files of the splits.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mnist_data::{TEST, TRAIN, VALIDATION, is_image};

use crate::config::{ConfigError, DataConfig, DataSource};
use crate::{Error, Result};

/// The usual names of each split, in any letter case. [`mnist_data::unpack`] uses the first.
const NAMES: [&[&str]; 3] = [
    &[TRAIN, "training"],
    &[VALIDATION, "valid", "validation", "dev", "eval"],
    &[TEST, "testing"],
];

/// The paths of the splits.
#[derive(Debug, PartialEq)]
pub(super) struct Places {
    /// The training split. The path may not exist yet.
    pub(super) train: PathBuf,
    pub(super) val: Option<PathBuf>,
    pub(super) test: Option<PathBuf>,
    /// Whether `train` is the whole set and must be divided: class folders without split folders above them, or one
    /// CSV file.
    pub(super) is_whole: bool,
    /// Unused names beside the splits that may contain images or labels.
    unused: Vec<String>,
}

/// An entry of the folder of the splits.
struct Entry {
    name: String,
    path: PathBuf,
    /// Its name in lower case; for a CSV file without the extension.
    stem: String,
    is_csv: bool,
}

impl Places {
    /// Finds the splits: `data.train`, `data.val` and `data.test` if set, the others in `data.root` as folders or CSV
    /// files with the usual names. Splits unpacked from IDX files have fixed names.
    ///
    /// # Errors
    ///
    /// If two entries may be the same split.
    pub(super) fn find(data: &DataConfig) -> Result<Self> {
        let root = data.root();
        if !matches!(data.source, DataSource::Folder | DataSource::Csv) {
            let there = |split| Some(root.join(split)).filter(|path| path.exists());
            return Ok(Self {
                train: root.join(TRAIN),
                val: there(VALIDATION),
                test: there(TEST),
                is_whole: false,
                unused: Vec::new(),
            });
        }
        if root.is_file() && data.train.is_none() {
            return Ok(Self {
                train: root,
                val: data.val.clone(),
                test: data.test.clone(),
                is_whole: data.val.is_none() && data.test.is_none(),
                unused: Vec::new(),
            });
        }
        let csv = data.source == DataSource::Csv;
        let entries = entries(&root)?;
        let candidates: Vec<&Entry> = entries.iter().filter(|entry| entry.is_csv == csv).collect();
        let [train, val, test] = NAMES.map(|names| one(&root, &candidates, names));
        let set = |path: &Option<PathBuf>, found: Result<Option<PathBuf>>| match path {
            Some(path) => Ok(Some(path.clone())),
            None => found,
        };
        let train = set(&data.train, train)?;
        let (val, test) = (set(&data.val, val)?, set(&data.test, test)?);
        if !csv
            && [&train, &val, &test].iter().all(|split| split.is_none())
            && holds_folders(&entries)
        {
            return Ok(Self {
                train: root,
                val: None,
                test: None,
                is_whole: true,
                unused: Vec::new(),
            });
        }
        let train = train.map_or_else(|| nothing_found(data, &entries), Ok)?;
        let used = |entry: &&Entry| {
            let path = Some(&entry.path);
            [Some(&train), val.as_ref(), test.as_ref()].contains(&path)
                || configured(data, &entry.path)
        };
        // The folders beside CSV files hold their images.
        let unused = entries
            .iter()
            .filter(|entry| entry.is_csv || (!csv && entry.path.is_dir()))
            .filter(|entry| !used(entry));
        Ok(Self {
            unused: unused.map(|entry| entry.name.clone()).collect(),
            train,
            val,
            test,
            is_whole: false,
        })
    }

    /// Reports splits with unusual names, and unused entries.
    pub(super) fn tell(&self, data: &DataConfig) {
        for (path, split) in [(&self.val, VALIDATION), (&self.test, TEST)] {
            if let Some(path) = path
                .as_ref()
                .filter(|path| **path != canonical(data, split))
            {
                tracing::info!("{} is the {split} split", path.display());
            }
        }
        if !self.unused.is_empty() {
            let first = &self.unused[..self.unused.len().min(5)];
            let more = if self.unused.len() > 5 { ", …" } else { "" };
            tracing::warn!(
                "{}: not used: {}{more}; split names are {}",
                data.root().display(),
                first.join(", "),
                NAMES.map(|names| names.join(" or ")).join("; ")
            );
        }
    }
}

impl super::Splits {
    /// The kind of source at `path`. It is CSV for a file, and for a folder with a training split as a CSV file but
    /// none as a folder. Otherwise it is class folders.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be listed.
    pub fn source_of(path: &Path) -> Result<DataSource> {
        if path.is_file() {
            return Ok(DataSource::Csv);
        }
        let entries = entries(path)?;
        let has_training = |csv: bool| {
            let mut named = entries
                .iter()
                .filter(|entry| NAMES[0].contains(&entry.stem.as_str()));
            named.any(|entry| entry.is_csv == csv && (csv || entry.path.is_dir()))
        };
        Ok(match has_training(true) && !has_training(false) {
            true => DataSource::Csv,
            false => DataSource::Folder,
        })
    }

    /// The split to evaluate if `folder` contains splits instead of classes: test, or else val or
    /// train. A folder with a split's name counts as a split if it contains folders and is not one of
    /// `classes`.
    #[must_use]
    pub fn within(folder: &Path, classes: &[String]) -> Option<PathBuf> {
        let entries = entries(folder).ok()?;
        let holds_folders = |entry: &&Entry| {
            let inner = fs::read_dir(&entry.path).into_iter().flatten().flatten();
            inner.into_iter().any(|inner| inner.path().is_dir())
        };
        let [train, val, test] = NAMES.map(|names| {
            let mut named = entries.iter().filter(|entry| {
                !entry.is_csv && names.contains(&&entry.stem[..]) && !classes.contains(&entry.name)
            });
            named.find(holds_folders).map(|entry| entry.path.clone())
        });
        test.or(val).or(train)
    }
}

/// The default path of a split: a folder of class folders, or a CSV file.
pub(super) fn canonical(data: &DataConfig, split: &str) -> PathBuf {
    data.root().join(match data.source {
        DataSource::Csv => format!("{split}.csv"),
        _ => split.to_owned(),
    })
}

/// The entry with one of a split's names, if any.
fn one(root: &Path, entries: &[&Entry], names: &[&str]) -> Result<Option<PathBuf>> {
    let found: Vec<&&Entry> = entries
        .iter()
        .filter(|entry| names.contains(&entry.stem.as_str()))
        .collect();
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.path.clone())),
        [first, second, ..] => Err(ConfigError::Invalid {
            key: "data.root",
            found: format!(
                "{}, where {} and {} may both be the {} split",
                root.display(),
                first.name,
                second.name,
                names[0]
            ),
            expected: "one of them; rename or move the other".to_owned(),
        }
        .into()),
    }
}

/// The default path of the training split, whose absence is reported later; or the error for a folder with images
/// and without folders.
fn nothing_found(data: &DataConfig, entries: &[Entry]) -> Result<PathBuf> {
    let root = data.root();
    let images = entries.iter().filter(|entry| is_image(&entry.path)).count();
    if data.source != DataSource::Folder || images == 0 || holds_folders(entries) {
        return Ok(canonical(data, TRAIN));
    }
    let above = root.parent().filter(|above| !above.as_os_str().is_empty());
    let hint = above.map_or(String::new(), |above| {
        format!(
            "; if it is itself the folder of a class, give the folder above it, {}",
            above.display()
        )
    });
    Err(ConfigError::Invalid {
        key: "data.root",
        found: format!("{}, with {images} images and no folder", root.display()),
        expected: format!(
            "one folder per class, such as {}/<class>: sort the images into such folders{hint}",
            root.display()
        ),
    }
    .into())
}

/// Whether there is any folder; it may be a class folder.
fn holds_folders(entries: &[Entry]) -> bool {
    entries
        .iter()
        .any(|entry| !entry.is_csv && entry.path.is_dir())
}

/// Whether the configuration uses this file or folder for anything except a split.
fn configured(data: &DataConfig, path: &Path) -> bool {
    let idx = data.idx_dir();
    let named = [
        Some(&idx),
        data.class_names.as_ref(),
        data.sample_weights.file.as_ref(),
    ];
    let real = fs::canonicalize(path).ok();
    let is_it = |named: &PathBuf| fs::canonicalize(named).is_ok_and(|named| Some(named) == real);
    named.into_iter().flatten().any(is_it)
}

/// The visible entries of a folder, sorted; empty if there is no folder.
fn entries(root: &Path) -> Result<Vec<Entry>> {
    let listed = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(Error::io(root))?,
    };
    let mut entries = Vec::new();
    for entry in listed {
        let entry = entry.map_err(Error::io(root))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let lower = name.to_lowercase();
        if lower.starts_with('.') || lower == "__macosx" {
            continue;
        }
        let csv = lower.strip_suffix(".csv");
        entries.push(Entry {
            stem: csv.unwrap_or(&lower).to_owned(),
            is_csv: csv.is_some(),
            path: entry.path(),
            name,
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration of a folder with these folders and files in it.
    fn scene(source: DataSource, names: &[&str]) -> (tempfile::TempDir, DataConfig) {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            match name.contains('.') {
                true => fs::write(path, "").unwrap(),
                false => fs::create_dir(path).unwrap(),
            }
        }
        let data = DataConfig {
            source,
            root: Some(dir.path().to_owned()),
            ..DataConfig::default()
        };
        (dir, data)
    }

    #[test]
    fn splits_are_found_by_any_of_their_usual_names() {
        for [train, val, test] in [
            ["train", "val", "test"],
            ["Train", "VAL", "Test"],
            ["training", "valid", "testing"],
            ["train", "Validation", "test"],
            ["train", "dev", "test"],
            ["train", "eval", "test"],
        ] {
            let (dir, data) = scene(DataSource::Folder, &[train, val, test]);
            let expected = Places {
                train: dir.path().join(train),
                val: Some(dir.path().join(val)),
                test: Some(dir.path().join(test)),
                is_whole: false,
                unused: Vec::new(),
            };
            assert_eq!(Places::find(&data).unwrap(), expected);
            let files = [train, val, test].map(|name| format!("{name}.Csv"));
            let (dir, data) = scene(DataSource::Csv, &[&files[0], &files[1], &files[2], val]);
            let places = Places::find(&data).unwrap();
            assert_eq!(places.train, dir.path().join(&files[0]));
            assert_eq!(places.val, Some(dir.path().join(&files[1])));
            assert_eq!(places.test, Some(dir.path().join(&files[2])));
            assert!(places.unused.is_empty(), "{places:?}");
        }
    }

    #[test]
    fn two_folders_that_may_be_one_split_are_refused_by_name() {
        for (names, split) in [
            (["train", "val", "valid"], "val"),
            (["train", "dev", "eval"], "val"),
            (["train", "training", "val"], "train"),
            (["train", "Testing", "test"], "test"),
        ] {
            let (_dir, data) = scene(DataSource::Folder, &names);
            let text = Places::find(&data).unwrap_err().to_string();
            let both = names.iter().filter(|name| text.contains(*name)).count();
            assert!(
                both >= 2 && text.contains(&format!("the {split} split")),
                "{text}"
            );
        }
    }

    #[test]
    fn a_folder_of_splits_is_told_from_one_of_classes() {
        let (dir, _) = scene(DataSource::Folder, &["Train", "valid", "test"]);
        let within = |classes: &[&str]| {
            let classes: Vec<String> = classes.iter().map(|&class| class.into()).collect();
            crate::Splits::within(dir.path(), &classes)
        };
        let [train, val, test] = ["Train", "valid", "test"].map(|name| dir.path().join(name));
        // Folders without folders in them may be classes.
        assert_eq!(within(&[]), None);
        for (split, class) in [(&train, "cat"), (&val, "cat"), (&test, "cat")] {
            fs::create_dir(split.join(class)).unwrap();
            assert_eq!(within(&["cat"]), Some(split.clone()));
        }
        assert_eq!(within(&["test", "cat"]), Some(val));
        let nowhere = dir.path().join("nowhere");
        assert_eq!(crate::Splits::within(&nowhere, &[]), None);
    }

    #[test]
    fn unused_entries_are_named() {
        let names = [
            "train",
            "vall",
            "extra.csv",
            "weights.csv",
            ".cache",
            "notes.txt",
            "idx",
        ];
        let (dir, mut data) = scene(DataSource::Folder, &names);
        data.sample_weights.file = Some(dir.path().join("weights.csv"));
        let places = Places::find(&data).unwrap();
        assert_eq!(places.unused, ["extra.csv", "vall"]);
        assert_eq!((&places.val, &places.test), (&None, &None));
        data.source = DataSource::Csv;
        let places = Places::find(&data).unwrap();
        assert_eq!(places.unused, ["extra.csv"]);
        assert_eq!(places.train, dir.path().join("train.csv"));
        // `unpack` chose the names of the splits.
        data.source = DataSource::Idx;
        assert!(Places::find(&data).unwrap().unused.is_empty());
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_splits() {
        let (dir, mut data) = scene(DataSource::Folder, &[]);
        data.root = Some(dir.path().join("nowhere"));
        let places = Places::find(&data).unwrap();
        assert_eq!((places.val, places.test), (None, None));
        assert_eq!(places.train, dir.path().join("nowhere/train"));
    }
}
