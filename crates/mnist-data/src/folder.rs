//! One folder per class with images inside: the layout of torchvision's `ImageFolder`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bad_image::BadImage;
use crate::classes::{Classes, composed, same_but_composition, unusable};
use crate::error::{Error, Result, first_few};
use crate::regular::special;
use crate::sample::Sample;
use crate::unread::{Kind, Unread};
use crate::walk::{Entity, IMAGE_EXTENSIONS, Walk, is_image, text, visible};

/// The images of one split, ordered by class, then by name.
///
/// Images may be in sub-folders of their class's folder. Hidden files and folders are ignored. Other files are
/// ignored with a warning that counts them by kind. An image beside the class folders belongs to no class; it is
/// ignored with a warning. Links are followed, but each folder is searched only once per class.
///
/// A link to a folder above itself is an error, and so is a folder that links put into two classes. Both would give
/// images a wrong label.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageFolder {
    /// The classes that the labels index.
    pub classes: Classes,
    /// The images. Clones share them.
    pub samples: Arc<[Sample]>,
}

/// Options for searching folders for images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listing {
    /// What to do with files whose names are not UTF-8, which tables cannot contain. With [`BadImage::Skip`] such a
    /// file is listed under a similar id, and a [`Loader`](crate::Loader) treats it as a bad image.
    pub on_bad_name: BadImage,
}

impl Listing {
    /// Lists the training split. Its sorted sub-folders are the classes.
    ///
    /// # Errors
    /// [`Error::MissingSplit`], [`Error::NoImages`] if there is no sub-folder, [`Error::EmptyClass`] if one has no
    /// image, [`Error::ClassFolder`] if one does not match its name.
    pub fn training(self, dir: &Path) -> Result<ImageFolder> {
        let ClassFolders {
            names, mut unread, ..
        } = ClassFolders::warned(dir)?;
        let classes = Classes::among(names, dir, &unread)?;
        classes.warn_of_formulas();
        let mut walk = Walk::of_classes(dir, self.on_bad_name)?;
        for (label, name) in classes.names().iter().enumerate() {
            let found = add_class(&mut walk, dir, name, label)?;
            if found == 0 {
                return Err(Error::EmptyClass {
                    path: dir.join(name),
                    class: name.clone(),
                    holds: holds(&walk.unread),
                });
            }
            unread.extend(std::mem::take(&mut walk.unread));
        }
        unread.warn(dir);
        let samples = walk.images.into();
        Ok(ImageFolder { classes, samples })
    }

    /// Lists a split with given classes, for example a validation split with the classes of training. A class without a
    /// folder has no images, and a warning names it.
    ///
    /// # Errors
    /// [`Error::MissingSplit`], [`Error::UnknownClass`] for a sub-folder outside `classes`,
    /// [`Error::NoImages`] if there is no image, [`Error::ClassFolder`].
    pub fn with_classes(self, dir: &Path, classes: &Classes) -> Result<ImageFolder> {
        let ClassFolders {
            names, mut unread, ..
        } = ClassFolders::warned(dir)?;
        let mut labelled = Vec::with_capacity(names.len());
        for name in names {
            match classes.index_of(&name) {
                Some(label) => labelled.push((label, name)),
                None => {
                    return Err(Error::UnknownClass {
                        path: dir.join(&name),
                        class: name,
                        known: classes.listed(),
                    });
                }
            }
        }
        labelled.sort();
        let mut walk = Walk::of_classes(dir, self.on_bad_name)?;
        for (label, name) in &labelled {
            add_class(&mut walk, dir, name, *label)?;
        }
        unread.extend(walk.unread);
        if walk.images.is_empty() {
            return Err(no_images(
                dir,
                "expected images in one sub-folder per class, found none",
                &unread,
            ));
        }
        unread.warn(dir);
        let folder = ImageFolder {
            classes: classes.clone(),
            samples: walk.images.into(),
        };
        folder.warn_of_empty_classes(dir);
        Ok(folder)
    }

    /// The images at `input`, with label 0. A file is listed with any extension, and its id is its name. A folder lists
    /// all images below it, sorted by relative path; that path is the id.
    ///
    /// # Errors
    /// [`Error::NoImages`] for a folder without images; [`Error::NotRegular`] for an input that is neither a folder
    /// nor a regular file; [`Error::Io`].
    pub fn images(self, input: &Path) -> Result<Vec<Sample>> {
        let kind = fs::metadata(input).map_err(Error::io("find", input))?;
        if !kind.is_dir() {
            if let Some(kind) = special(kind.file_type()) {
                let path = input.into();
                return Err(Error::NotRegular { path, kind });
            }
            let name = input.file_name().unwrap_or(input.as_os_str());
            let id = text(name.to_os_string(), input)?;
            return Ok(vec![Sample::new(id, input.into(), 0)]);
        }
        let mut walk = Walk::new(input, self.on_bad_name);
        walk.search(input, "")?;
        if walk.images.is_empty() {
            return Err(no_images(
                input,
                "expected images in this folder or below, found none",
                &walk.unread,
            ));
        }
        walk.unread.warn(input);
        sort_by_id(&mut walk.images);
        Ok(walk.images)
    }
}

impl ImageFolder {
    /// [`Listing::training`] with an error for a file name that is not UTF-8.
    ///
    /// # Errors
    /// Those of `Listing::training`.
    pub fn training(dir: &Path) -> Result<Self> {
        Listing::default().training(dir)
    }

    /// [`Listing::with_classes`] with an error for a file name that is not UTF-8.
    ///
    /// # Errors
    /// Those of `Listing::with_classes`.
    pub fn with_classes(dir: &Path, classes: &Classes) -> Result<Self> {
        Listing::default().with_classes(dir, classes)
    }

    /// The number of images of each class.
    #[must_use]
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for sample in self.samples.iter() {
            counts[sample.label] += 1;
        }
        counts
    }

    /// Warns of classes without images: training never learns them, and scores ignore them.
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

/// [`Listing::images`] with an error for a file name that is not UTF-8.
///
/// # Errors
/// Those of `Listing::images`.
pub fn list_images(input: &Path) -> Result<Vec<Sample>> {
    Listing::default().images(input)
}

impl Classes {
    /// The names of a split's sub-folders, sorted as text: the same ones as torchvision's
    /// `ImageFolder`, in the same order.
    ///
    /// # Errors
    /// [`Error::MissingSplit`]; [`Error::NoImages`] if there is no sub-folder;
    /// [`Error::ClassFolder`].
    pub fn of_folders(dir: &Path) -> Result<Self> {
        let ClassFolders { names, unread, .. } = ClassFolders::list(dir)?;
        Self::among(names, dir, &unread)
    }

    /// The classes with these names of sub-folders of `dir`; an error if there are none.
    fn among(names: Vec<String>, dir: &Path, unread: &Unread) -> Result<Self> {
        if names.is_empty() {
            let expected = "expected one sub-folder per class with images inside, found none";
            return Err(no_images(dir, expected, unread));
        }
        Self::new(names)
    }
}

/// The class folders of a split, and the number of files beside them.
struct ClassFolders {
    /// The names of the class folders, sorted.
    names: Vec<String>,
    unread: Unread,
    /// The number of images beside the class folders.
    astray: usize,
}

/// Whether a folder has the name and the contents of training runs. Runs are written to the working folder, which may
/// also contain the class folders.
fn holds_runs(dir: &Path) -> bool {
    let is_run =
        |dir: PathBuf| dir.join("config.toml").is_file() && dir.join("metrics.jsonl").is_file();
    let mut entries = fs::read_dir(dir).into_iter().flatten().flatten();
    dir.ends_with("runs") && entries.any(|entry| is_run(entry.path()))
}

impl ClassFolders {
    fn list(dir: &Path) -> Result<Self> {
        if !dir.is_dir() {
            return Err(Error::MissingSplit { path: dir.into() });
        }
        let mut folders = Self {
            names: Vec::new(),
            unread: Unread::default(),
            astray: 0,
        };
        let mut known: HashMap<String, usize> = HashMap::new();
        for (name, entity) in visible(dir)? {
            let path = dir.join(&name);
            let shown = || name.to_string_lossy().into_owned();
            match entity {
                Entity::Other(kind) => folders.unread.add(kind, shown),
                Entity::File if is_image(&path) => folders.astray += 1,
                Entity::File => folders.unread.add(Kind::of_name(&path), shown),
                Entity::Folder if holds_runs(&path) => {
                    tracing::info!("{}: folder of training runs, not a class", path.display());
                }
                Entity::Folder => {
                    let wrong = |problem| Error::ClassFolder { path, problem };
                    let Some(name) = name.to_str() else {
                        return Err(wrong("the name is not UTF-8; rename it".into()));
                    };
                    if let Some(problem) = unusable(name) {
                        return Err(wrong(problem));
                    }
                    let place = folders.names.len();
                    if let Some(first) = known.insert(composed(name).into_owned(), place) {
                        return Err(wrong(same_but_composition(&folders.names[first], name)));
                    }
                    folders.names.push(name.to_owned());
                }
            }
        }
        Ok(folders)
    }

    /// Lists the class folders. Images beside them get a warning.
    fn warned(dir: &Path) -> Result<Self> {
        let folders = Self::list(dir)?;
        if folders.astray > 0 {
            tracing::warn!(
                "{}: {} images beside the class folders belong to no class; ignored",
                dir.display(),
                folders.astray
            );
        }
        Ok(folders)
    }
}

/// Adds the images of a class to those of `walk`, sorted by id; returns their number.
fn add_class(walk: &mut Walk, dir: &Path, name: &str, label: usize) -> Result<usize> {
    let before = walk.images.len();
    walk.search(&dir.join(name), &format!("{name}/"))?;
    let found = &mut walk.images[before..];
    sort_by_id(found);
    found.iter_mut().for_each(|sample| sample.label = label);
    Ok(found.len())
}

/// Sorts samples by id; names that are not UTF-8 may have the same id.
fn sort_by_id(samples: &mut [Sample]) {
    samples.sort_unstable_by(|a, b| {
        let by_id = a.id().cmp(b.id());
        by_id.then_with(|| a.path().cmp(&b.path()))
    });
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

fn no_images(path: &Path, problem: &str, unread: &Unread) -> Error {
    Error::NoImages {
        path: path.into(),
        problem: format!("{problem}{}", holds(unread)),
        extensions: IMAGE_EXTENSIONS.join(", "),
    }
}

/// The contents of a folder without images, for messages.
fn holds(unread: &Unread) -> String {
    match unread.is_empty() {
        true => String::new(),
        false => format!(" (found: {unread})"),
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
