//! A folder per class, images inside: the layout torchvision calls
//! `ImageFolder`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What an image file's name ends in, in any letter case.
pub const IMAGE_EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "bmp", "webp", "tif", "tiff"];

/// So many names a message holds at most.
const NAMED: usize = 5;

/// Class names; a class's index is its label. They come from the training
/// split (sorted) or from a weights file, and are never derived from another
/// split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes(Vec<String>);

impl Classes {
    /// Class names in the order of their labels.
    ///
    /// # Errors
    /// [`Error::Setting`] for no name at all, or one that comes twice.
    pub fn new(names: Vec<String>) -> Result<Self> {
        let refuse = |problem| {
            Err(Error::Setting {
                setting: "class names",
                problem,
            })
        };
        if names.is_empty() {
            return refuse("at least one is needed".into());
        }
        let mut seen = HashSet::new();
        if let Some(name) = names.iter().find(|&name| !seen.insert(name)) {
            return refuse(format!("`{name}` comes twice"));
        }
        Ok(Self(names))
    }

    /// The names of a split's sub-folders, sorted as text: those that torchvision's `ImageFolder`
    /// finds, in its order.
    ///
    /// # Errors
    /// [`Error::MissingSplit`]; [`Error::NoImages`] where there is no sub-folder.
    pub fn of_folders(dir: &Path) -> Result<Self> {
        Self::among(class_folders(dir)?.0, dir)
    }

    /// The sub-folders of `dir` by these names.
    fn among(folders: Vec<String>, dir: &Path) -> Result<Self> {
        if folders.is_empty() {
            let expected = "expected one sub-folder per class with images inside, found none";
            return Err(no_images(dir, expected));
        }
        Self::new(folders)
    }

    /// The names in the order of their labels.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The label of a class.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|known| known == name)
    }

    /// The number of classes, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it never is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// One image of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its path relative to the split's folder, `/` between the parts: unique,
    /// and the same on every machine.
    pub id: String,
    /// Where the file is.
    pub path: PathBuf,
    /// Its class's index in [`Classes`].
    pub label: usize,
    /// How much it counts in the loss, at least 0: twice as much as another has as much say as two of them.
    pub weight: f32,
}

impl Sample {
    /// A sample of weight 1.
    #[must_use]
    pub fn new(id: String, path: PathBuf, label: usize) -> Self {
        Self {
            id,
            path,
            label,
            weight: 1.0,
        }
    }
}

/// The images of one split, ordered by class, then by name.
///
/// Images may lie in folders inside their class's folder. Hidden files and
/// folders are passed over, and so are files of other kinds. An image that lies
/// beside the class folders belongs to no class: it is passed over with a
/// warning. Links are followed, but a class enters no folder
/// twice.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageFolder {
    /// The classes that the labels index.
    pub classes: Classes,
    /// The images.
    pub samples: Vec<Sample>,
}

impl ImageFolder {
    /// Lists the training split, whose sub-folders, sorted, are the classes.
    ///
    /// # Errors
    /// [`Error::MissingSplit`], [`Error::NoImages`] where there is no
    /// sub-folder, [`Error::EmptyClass`] where one holds no image.
    pub fn training(dir: &Path) -> Result<Self> {
        let classes = Classes::among(warned_class_folders(dir)?, dir)?;
        let samples = samples_of(dir, &classes, classes.names())?;
        let folder = Self { classes, samples };
        let counts = folder.class_counts();
        if let Some(empty) = counts.iter().position(|&count| count == 0) {
            let class = folder.classes.names()[empty].clone();
            return Err(Error::EmptyClass {
                path: dir.join(&class),
                class,
            });
        }
        Ok(folder)
    }

    /// Lists a split with given classes: another one than training with those of
    /// training, or training itself. A class that has no folder here simply has no
    /// images, of which a warning tells.
    ///
    /// # Errors
    /// [`Error::MissingSplit`], [`Error::UnknownClass`] for a sub-folder that
    /// is none of `classes`, [`Error::NoImages`] where there is no image.
    pub fn with_classes(dir: &Path, classes: &Classes) -> Result<Self> {
        let names = warned_class_folders(dir)?;
        if let Some(class) = names.iter().find(|name| classes.index_of(name).is_none()) {
            return Err(Error::UnknownClass {
                path: dir.join(class),
                class: class.clone(),
                known: classes.names().join(", "),
            });
        }
        let samples = samples_of(dir, classes, &names)?;
        if samples.is_empty() {
            return Err(no_images(
                dir,
                "expected images in one sub-folder per class, found none",
            ));
        }
        let folder = Self {
            classes: classes.clone(),
            samples,
        };
        folder.warn_of_empty_classes(dir);
        Ok(folder)
    }

    /// The number of images of each class.
    #[must_use]
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for sample in &self.samples {
            counts[sample.label] += 1;
        }
        counts
    }

    /// Tells of classes without an image: one that training lacks is never learned, and a score of another split
    /// does not speak of it.
    pub(crate) fn warn_of_empty_classes(&self, path: &Path) {
        if let Some(classes) = self.empty_classes() {
            tracing::warn!("{}: no image of {classes}", path.display());
        }
    }

    fn empty_classes(&self) -> Option<String> {
        let counts = self.class_counts();
        let counted = self.classes.names().iter().zip(&counts);
        let empty: Vec<&String> = counted
            .filter(|&(_, &count)| count == 0)
            .map(|(name, _)| name)
            .collect();
        let named = first_few(empty.iter().map(|name| format!("`{name}`")));
        let of = counts.len();
        (!empty.is_empty()).then(|| format!("{} of {of} classes: {named}", empty.len()))
    }
}

/// The first few of what a message names, and whether there are more.
pub(crate) fn first_few(mut names: impl Iterator<Item = String>) -> String {
    let mut named: Vec<String> = names.by_ref().take(NAMED).collect();
    named.extend(names.next().map(|_| "…".to_owned()));
    named.join(", ")
}

/// The images at `input`, each with its id: a file stands for itself, whatever
/// its name ends in, and its id is its name; a folder stands for all images
/// below it, sorted by their paths relative to it, which are their ids.
///
/// # Errors
/// [`Error::NoImages`] for a folder without any; [`Error::Io`].
pub fn list_images(input: &Path) -> Result<Vec<(String, PathBuf)>> {
    let metadata = fs::metadata(input).map_err(Error::io("find", input))?;
    if !metadata.is_dir() {
        let name = input.file_name().unwrap_or(input.as_os_str());
        return Ok(vec![(text(name.to_os_string(), input)?, input.into())]);
    }
    let mut found = Vec::new();
    walk(input, "", &mut HashSet::new(), &mut found)?;
    if found.is_empty() {
        return Err(no_images(
            input,
            "expected images in this folder or below, found none",
        ));
    }
    found.sort();
    Ok(found)
}

/// The sorted names of the sub-folders of a split, with a warning of images beside them.
fn warned_class_folders(dir: &Path) -> Result<Vec<String>> {
    let (classes, astray) = class_folders(dir)?;
    if astray > 0 {
        tracing::warn!(
            "{}: {astray} images beside the class folders belong to no class; ignored",
            dir.display()
        );
    }
    Ok(classes)
}

/// The sorted names of the sub-folders of a split, and how many images lie beside them.
fn class_folders(dir: &Path) -> Result<(Vec<String>, usize)> {
    if !dir.is_dir() {
        return Err(Error::MissingSplit { path: dir.into() });
    }
    let mut classes = Vec::new();
    let mut astray = 0;
    for (name, is_dir) in visible(dir)? {
        let path = dir.join(&name);
        if is_dir {
            classes.push(text(name, &path)?);
        } else if is_image(&path) {
            astray += 1;
        }
    }
    Ok((classes, astray))
}

/// The images of the classes `names`, which `classes` all knows, ordered by
/// label, then by id.
fn samples_of(dir: &Path, classes: &Classes, names: &[String]) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (label, name) in classes
        .names()
        .iter()
        .enumerate()
        .filter(|(_, name)| names.contains(name))
    {
        let mut found = Vec::new();
        walk(
            &dir.join(name),
            &format!("{name}/"),
            &mut HashSet::new(),
            &mut found,
        )?;
        found.sort();
        samples.extend(
            found
                .into_iter()
                .map(|(id, path)| Sample::new(id, path, label)),
        );
    }
    Ok(samples)
}

/// Adds the images in `dir` and below to `found`, ids beginning with `prefix`.
/// `visited` holds the real paths of the folders seen so far: a link that leads
/// back to one of them is not followed again.
fn walk(
    dir: &Path,
    prefix: &str,
    visited: &mut HashSet<PathBuf>,
    found: &mut Vec<(String, PathBuf)>,
) -> Result<()> {
    if !visited.insert(fs::canonicalize(dir).map_err(Error::io("find", dir))?) {
        return Ok(());
    }
    for (name, is_dir) in visible(dir)? {
        let path = dir.join(&name);
        if is_dir {
            let prefix = format!("{prefix}{}/", text(name, &path)?);
            walk(&path, &prefix, visited, found)?;
        } else if is_image(&path) {
            found.push((format!("{prefix}{}", text(name, &path)?), path));
        }
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|found| {
        IMAGE_EXTENSIONS
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known))
    })
}

/// The names in a folder, sorted, without the hidden ones, each with whether it
/// is a folder or a link to one.
fn visible(dir: &Path) -> Result<Vec<(OsString, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // The listing itself tells of most, which spares asking for each file.
        let is_dir = match entry.file_type() {
            Ok(kind) if !kind.is_symlink() => kind.is_dir(),
            _ => entry.path().is_dir(),
        };
        found.push((name, is_dir));
    }
    found.sort();
    Ok(found)
}

/// The names in a folder, sorted.
pub(crate) fn names(dir: &Path) -> Result<Vec<OsString>> {
    let entries = fs::read_dir(dir).map_err(Error::io("list", dir))?;
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(Error::io("list", dir))?;
    names.sort();
    Ok(names)
}

/// A name as text: ids and class names go into files that are UTF-8.
fn text(name: OsString, path: &Path) -> Result<String> {
    name.into_string().map_err(|_| Error::BadImage {
        path: path.into(),
        problem: "the name is not UTF-8; rename it".into(),
    })
}

fn no_images(path: &Path, problem: &str) -> Error {
    Error::NoImages {
        path: path.into(),
        problem: problem.into(),
        extensions: IMAGE_EXTENSIONS.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_without_an_image_are_told_of() {
        let folder = |names: &str, labels: &[usize]| ImageFolder {
            classes: Classes::new(names.chars().map(String::from).collect()).unwrap(),
            samples: labels
                .iter()
                .map(|&label| Sample::new("a.png".into(), "a.png".into(), label))
                .collect(),
        };
        assert_eq!(folder("ab", &[1, 0, 1]).empty_classes(), None);
        let told = folder("abc", &[1]).empty_classes().unwrap();
        assert_eq!(told, "2 of 3 classes: `a`, `c`");
        let told = folder("abcdef", &[5]).empty_classes().unwrap();
        assert_eq!(told, "5 of 6 classes: `a`, `b`, `c`, `d`, `e`");
        let told = folder("abcdefg", &[6]).empty_classes().unwrap();
        assert_eq!(told, "6 of 7 classes: `a`, `b`, `c`, `d`, `e`, …");
    }
}
