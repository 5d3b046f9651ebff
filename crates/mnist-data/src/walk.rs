//! Searches folders for images, recursively.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bad_image::BadImage;
use crate::error::{Error, Result};
use crate::regular::special;
use crate::sample::Sample;
use crate::unread::{Kind, Unread};

/// The extensions of image files, in any letter case.
pub const IMAGE_EXTENSIONS: [&str; 14] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm", "pbm",
    "pnm",
];

/// Names of files that operating systems create in the user's folders.
const OF_SYSTEMS: [&str; 3] = ["thumbs.db", "desktop.ini", "__macosx"];

/// The kind of an entry in a folder, after following links.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entity {
    Folder,
    File,
    /// An unreadable entry.
    Other(Kind),
}

/// The names in a folder, sorted, without hidden files and files of the operating system.
pub(crate) fn visible(dir: &Path) -> Result<Vec<(OsString, Entity)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if hidden
            || OF_SYSTEMS
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
        {
            continue;
        }
        // Listing a folder already reports most types, which saves a system call per file.
        let kind = match entry.file_type() {
            Ok(kind) if !kind.is_symlink() => Some(kind),
            _ => fs::metadata(entry.path())
                .ok()
                .map(|metadata| metadata.file_type()),
        };
        let entity = match kind {
            None => Entity::Other(Kind::Dangling),
            Some(kind) if kind.is_dir() => Entity::Folder,
            Some(kind) => {
                special(kind).map_or(Entity::File, |kind| Entity::Other(Kind::Special(kind)))
            }
        };
        found.push((name, entity));
    }
    found.sort();
    Ok(found)
}

/// Whether a name has an image's extension.
pub fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|found| {
        IMAGE_EXTENSIONS
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known))
    })
}

/// Converts a name to text, since ids and class names are written to UTF-8 files.
pub(crate) fn text(name: OsString, path: &Path) -> Result<String> {
    name.into_string().map_err(|_| Error::BadImage {
        path: path.into(),
        problem: "the name is not UTF-8; rename it".into(),
    })
}

/// A search for images. Links are followed, but no folder is entered twice.
pub(crate) struct Walk {
    /// The folder to which ids are relative.
    base: Arc<Path>,
    on_bad_name: BadImage,
    /// Whether the search is for labelled images, so that a wrong link would give an image a wrong label.
    classes: bool,
    /// The folders entered so far, by real path: the path by which each was entered, and the number of the class's
    /// search.
    entered: HashMap<PathBuf, (PathBuf, usize)>,
    searches: usize,
    /// The real paths of the current folder and the folders above it, up to the root.
    trail: Vec<PathBuf>,
    /// The images found, with label 0.
    pub(crate) images: Vec<Sample>,
    /// The entries found that are not images.
    pub(crate) unread: Unread,
}

impl Walk {
    /// A search for images without labels, with ids relative to `base`.
    pub(crate) fn new(base: &Path, on_bad_name: BadImage) -> Self {
        Self {
            base: base.into(),
            on_bad_name,
            classes: false,
            entered: HashMap::new(),
            searches: 0,
            trail: Vec::new(),
            images: Vec::new(),
            unread: Unread::default(),
        }
    }

    /// A search for images by class; `split` contains the class folders.
    pub(crate) fn of_classes(split: &Path, on_bad_name: BadImage) -> Result<Self> {
        Ok(Self {
            classes: true,
            trail: vec![real(split)?],
            ..Self::new(split, on_bad_name)
        })
    }

    /// Searches `dir` recursively. Ids begin with `prefix`, the path of `dir` below the base, with a `/` at its end.
    pub(crate) fn search(&mut self, dir: &Path, prefix: &str) -> Result<()> {
        self.searches += 1;
        self.enter(dir, prefix)
    }

    fn enter(&mut self, dir: &Path, prefix: &str) -> Result<()> {
        let real = real(dir)?;
        if let Some(above) = self.trail.iter().find(|inside| inside.starts_with(&real)) {
            if self.classes {
                return Err(Error::ClassFolder {
                    path: dir.into(),
                    problem: format!(
                        "is a link to {}, a folder that contains {}: images of other classes would count as this one's; \
                         remove the link",
                        real.display(),
                        above.display()
                    ),
                });
            }
            self.unread
                .add(Kind::LinkAbove, || dir.display().to_string());
            return Ok(());
        }
        match self.entered.entry(real.clone()) {
            Entry::Occupied(known) => {
                let (first, search) = known.get();
                // This class has already found the folder.
                if self.classes && *search != self.searches {
                    return Err(Error::ClassFolder {
                        path: dir.into(),
                        problem: format!(
                            "is the same folder as {}, so its images would belong to two classes; remove one of the links",
                            first.display()
                        ),
                    });
                }
                return Ok(());
            }
            Entry::Vacant(new) => new.insert((dir.into(), self.searches)),
        };
        self.trail.push(real);
        let listed = self.list(dir, prefix);
        self.trail.pop();
        listed
    }

    fn list(&mut self, dir: &Path, prefix: &str) -> Result<()> {
        for (name, entity) in visible(dir)? {
            let id = format!("{prefix}{}", name.to_string_lossy());
            let file = Path::new(&name);
            match entity {
                Entity::Other(kind) if !is_image(file) => self.unread.add(kind, || id),
                Entity::File if !is_image(file) => self.unread.add(Kind::of_name(file), || id),
                // Entries that cannot be named or read are listed too. The loader counts them as bad images.
                _ if name.to_str().is_none() && self.on_bad_name == BadImage::Fail => {
                    let path = dir.join(&name);
                    return text(name, &path).map(drop);
                }
                Entity::File | Entity::Other(_) => self.images.push(self.sample(dir, file, id)),
                Entity::Folder => self.enter(&dir.join(file), &format!("{id}/"))?,
            }
        }
        Ok(())
    }

    fn sample(&self, dir: &Path, name: &Path, id: String) -> Sample {
        // Only such an id may differ from the path.
        match id.contains(char::REPLACEMENT_CHARACTER) {
            true => Sample::new(id, dir.join(name), 0),
            false => Sample::below(&self.base, &id, 0),
        }
    }
}

fn real(dir: &Path) -> Result<PathBuf> {
    fs::canonicalize(dir).map_err(Error::io("find", dir))
}
