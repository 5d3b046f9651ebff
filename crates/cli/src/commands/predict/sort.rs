//! Sorts images into a folder per predicted class.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mnist_data::MAX_IMAGE_BYTES;

use super::inputs::{Found, Inputs};
use crate::args::SortBy;

/// The longest name of a folder, in bytes. File systems allow 255.
const MAX_NAME: usize = 200;

/// A folder that gets a folder per class.
pub(super) struct Sorted {
    root: PathBuf,
    by: SortBy,
    /// The folder's name of each class.
    folders: Vec<String>,
    /// The folders that exist and hold no leftovers.
    ready: HashSet<PathBuf>,
    /// The number of images that were added.
    added: usize,
    /// The number of images that were there before.
    left: usize,
}

impl Sorted {
    /// Creates the folder `root`.
    ///
    /// # Errors
    /// If it is inside an input or contains one: a second run would classify the images again that the first has put
    /// there. If it cannot be created.
    pub(super) fn create(
        root: &Path,
        by: SortBy,
        class_names: &[String],
        inputs: &Inputs,
    ) -> anyhow::Result<Self> {
        check_apart(root, inputs)?;
        fs::create_dir_all(root)
            .with_context(|| format!("cannot create the folder {}", root.display()))?;
        let folders = class_names.iter().enumerate();
        Ok(Self {
            root: root.to_owned(),
            by,
            folders: folders
                .map(|(label, name)| folder_name(name, label))
                .collect(),
            ready: HashSet::new(),
            added: 0,
            left: 0,
        })
    }

    /// Puts an image into the folder of a class.
    ///
    /// # Errors
    /// If another file is in its place, or if it cannot be written; both name the file.
    pub(super) fn add(&mut self, label: usize, found: &Found) -> anyhow::Result<()> {
        let folder = self.folders.get(label).context("a class without a name")?;
        let target = self.root.join(folder).join(found.place());
        let source = found.sample.path();
        self.prepare(files::parent(&target))?;
        match self.make(&source, &target) {
            Ok(()) => self.added += 1,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !is_same(&source, &target)? {
                    bail!(
                        "{} exists and is not the image {}; nothing was overwritten: choose another folder for \
                         --sort-into, or move that file away",
                        target.display(),
                        source.display()
                    );
                }
                self.left += 1;
            }
            Err(error) => return Err(self.explained(error, &source, &target)),
        }
        Ok(())
    }

    /// The number of images, in words.
    pub(super) fn summary(&self) -> String {
        let Self {
            root, added, left, ..
        } = self;
        let before = match left {
            0 => String::new(),
            left => format!(", {left} were there already"),
        };
        format!("{}\t{added} images{before}", root.display())
    }

    /// Creates a folder, and removes leftovers of killed processes from it.
    fn prepare(&mut self, folder: &Path) -> anyhow::Result<()> {
        if self.ready.contains(folder) {
            return Ok(());
        }
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        files::sweep(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        self.ready.insert(folder.to_owned());
        Ok(())
    }

    fn make(&self, source: &Path, target: &Path) -> io::Result<()> {
        match self.by {
            SortBy::Copy => {
                let bytes = mnist_data::read_regular(source, MAX_IMAGE_BYTES);
                files::write_new_unsynced(target, &bytes.map_err(io::Error::other)?)
            }
            // A link to a link would break with it.
            SortBy::Hardlink => fs::hard_link(fs::canonicalize(source)?, target),
            SortBy::Symlink => symlink(&fs::canonicalize(source)?, target),
        }
    }

    fn explained(&self, error: io::Error, source: &Path, target: &Path) -> anyhow::Error {
        let (verb, hint) = match (self.by, error.kind()) {
            (SortBy::Copy, _) => ("copy", ""),
            (_, ErrorKind::CrossesDevices) => (
                "link",
                ": it is on another file system; use --sort-by copy or symlink",
            ),
            (_, ErrorKind::Unsupported | ErrorKind::PermissionDenied) => (
                "link",
                ": the file system may have no such links; --sort-by copy needs none",
            ),
            _ => ("link", ""),
        };
        let (source, target) = (source.display(), target.display());
        anyhow::Error::from(error).context(format!("cannot {verb} {source} to {target}{hint}"))
    }
}

#[cfg(unix)]
fn symlink(original: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}

#[cfg(windows)]
fn symlink(original: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(original, link)
}

/// Whether `target` has the contents of `source`. A link that leads nowhere has none.
fn is_same(source: &Path, target: &Path) -> anyhow::Result<bool> {
    let found = match fs::metadata(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        found => found.with_context(|| format!("cannot read {}", target.display()))?,
    };
    let expected =
        fs::metadata(source).with_context(|| format!("cannot read {}", source.display()))?;
    if !found.is_file() || found.len() != expected.len() {
        return Ok(false);
    }
    let [one, other] = [source, target].map(|path| mnist_data::read_regular(path, MAX_IMAGE_BYTES));
    Ok(one? == other?)
}

/// Fails if `root` is within a folder of the inputs, or any image is within `root`.
fn check_apart(root: &Path, inputs: &Inputs) -> anyhow::Result<()> {
    let real = real(root).with_context(|| format!("cannot find {}", root.display()))?;
    for input in inputs.folders() {
        let folder =
            fs::canonicalize(input).with_context(|| format!("cannot find {}", input.display()))?;
        if real.starts_with(&folder) {
            bail!(
                "--sort-into {} is within the input {}, so its images would be classified again; choose a folder apart",
                root.display(),
                input.display()
            );
        }
    }
    let mut known = HashSet::new();
    for found in inputs.iter() {
        let path = found.sample.path();
        let folder = files::parent(&path);
        if known.contains(folder) {
            continue;
        }
        let is_within = fs::canonicalize(folder).is_ok_and(|folder| folder.starts_with(&real));
        if is_within {
            bail!(
                "the image {} is within --sort-into {}; choose a folder apart from the images",
                path.display(),
                root.display()
            );
        }
        known.insert(folder.to_owned());
    }
    Ok(())
}

/// The real path of a folder that may not exist yet.
fn real(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    for folder in absolute.ancestors() {
        if let Ok(real) = fs::canonicalize(folder) {
            let rest = absolute.strip_prefix(folder).unwrap_or(Path::new(""));
            return Ok(real.join(rest));
        }
    }
    Ok(absolute)
}

/// A class's name as a folder's name: different for different classes, and one folder on every system. Characters that
/// some system does not allow are written as `%XX`; so are `%` itself, a dot or space at an end, and the first letter of
/// a name that Windows reserves. An empty name becomes `%`, and a long one is cut, with its label.
fn folder_name(class: &str, label: usize) -> String {
    let last = class.chars().count().saturating_sub(1);
    let stem = class.split('.').next().unwrap_or_default().trim_end();
    let mut name = String::with_capacity(class.len());
    for (place, character) in class.chars().enumerate() {
        let is_end = place == 0 || place == last;
        let is_plain = match character {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '%' => false,
            // A hidden folder's images are not listed, and Windows drops a dot or space at the end.
            '.' | ' ' if is_end => false,
            _ if place == 0 && is_reserved(stem) => false,
            character => !character.is_control(),
        };
        match is_plain {
            true => name.push(character),
            false => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(name, "%{byte:02X}");
                }
            }
        }
    }
    if name.len() > MAX_NAME {
        let end = (0..=MAX_NAME).rfind(|&end| name.is_char_boundary(end));
        name.truncate(end.unwrap_or(0));
        let _ = write!(name, "%-{label}");
    }
    match name.is_empty() {
        true => "%".to_owned(),
        false => name,
    }
}

/// Whether Windows reserves a name, in any letter case.
fn is_reserved(stem: &str) -> bool {
    let upper = stem.to_ascii_uppercase();
    let numbered = |device: &str| {
        let number = upper.strip_prefix(device);
        number.is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']))
    };
    matches!(&upper[..], "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_becomes_one_folder_within() {
        for (class, folder) in [
            ("cat", "cat"),
            ("wild cat.2", "wild cat.2"),
            ("猫 é", "猫 é"),
            ("../x", "%2E.%2Fx"),
            ("..", "%2E%2E"),
            (".", "%2E"),
            (".hidden", "%2Ehidden"),
            ("a/b", "a%2Fb"),
            ("a\\b", "a%5Cb"),
            ("a%2Fb", "a%252Fb"),
            ("", "%"),
            (" ", "%20"),
            ("a.", "a%2E"),
            ("a\nb", "a%0Ab"),
            ("con", "%63on"),
            ("NUL.txt", "%4EUL.txt"),
            ("COM1", "%43OM1"),
            ("common", "common"),
            ("C:", "C%3A"),
        ] {
            let name = folder_name(class, 7);
            assert_eq!(name, folder, "{class:?}");
            assert_eq!(Path::new(&name).components().count(), 1, "{class:?}");
        }
        let long = ["猫".repeat(100), "猫".repeat(101)];
        let names = [folder_name(&long[0], 3), folder_name(&long[1], 4)];
        assert!(names.iter().all(|name| name.len() < 255), "{names:?}");
        assert!(names[0].ends_with("猫%-3") && names[1].ends_with("猫%-4"));
    }

    #[test]
    fn the_real_path_of_a_missing_folder_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        assert_eq!(real(&dir.path().join("a/b")).unwrap(), base.join("a/b"));
        assert_eq!(real(dir.path()).unwrap(), base);
    }
}
