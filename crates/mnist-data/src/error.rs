//! The one error type of the crate.

use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// The most names that a message holds.
pub(crate) const NAMED: usize = 5;

/// The first few of what a message names, and whether there are more.
pub(crate) fn first_few(mut names: impl Iterator<Item = String>) -> String {
    let mut named: Vec<String> = names.by_ref().take(NAMED).collect();
    named.extend(names.next().map(|_| "…".to_owned()));
    named.join(", ")
}

/// What can go wrong between a mirror and a batch. Every variant names the
/// file it is about, says what was expected there, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as in "cannot {action} PATH".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },

    /// A file is not the IDX file it was taken for.
    #[error("{}: byte {offset}: {problem}", path.display())]
    Idx {
        /// The IDX file; `<memory>` for one built in memory.
        path: PathBuf,
        /// Where in the raw (gunzipped) contents the problem lies.
        offset: u64,
        /// What was found and what was expected.
        problem: String,
    },

    /// An image file and its label file do not belong together.
    #[error(
        "{} holds {images} images but {} holds {labels} labels; they must be equal: fetch the pair again",
        images_path.display(), labels_path.display()
    )]
    CountMismatch {
        /// The image file.
        images_path: PathBuf,
        /// The number of images in it.
        images: usize,
        /// The label file.
        labels_path: PathBuf,
        /// The number of labels in it.
        labels: usize,
    },

    /// A folder lacks one of the four IDX files.
    #[error("{} (or .gz): no such file; fetch the data set first, or correct the folder", path.display())]
    MissingIdx {
        /// The plain file's path.
        path: PathBuf,
    },

    /// A name that is none of the known ones.
    #[error("`{given}` is not a {what}; known: {known}")]
    UnknownName {
        /// What was given.
        given: String,
        /// What the name should have been, such as "data set".
        what: &'static str,
        /// The known names, separated by commas.
        known: String,
    },

    /// A setting, or a combination of settings, makes no sense.
    #[error("{setting}: {problem}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// Why its value cannot be used, and what can.
        problem: String,
    },

    /// Not one image of an epoch could be read, and each was left out.
    #[error("on_bad_image: every image was left out; the warnings say why")]
    EveryImageLeftOut,

    /// A file's contents are not the published ones.
    #[error("{}: SHA-256 is {found}, expected {expected}", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The published SHA-256, in hexadecimal; an ellipsis follows where only its beginning is known.
        expected: String,
        /// The SHA-256 of what was there.
        found: String,
    },

    /// No source could deliver a data set or weights.
    #[error(
        "cannot fetch {name}; tried:\n  {}\nPut {} (plain or .gz) into {} by hand, then start again.",
        attempts.join("\n  "), files.join(", "), dir.display()
    )]
    Fetch {
        /// The data set or the weights.
        name: String,
        /// Where its files belong.
        dir: PathBuf,
        /// The files still missing.
        files: Vec<String>,
        /// Each source that was tried, with the reason it failed.
        attempts: Vec<String>,
    },

    /// A folder that should hold a split is not there.
    #[error(
        "{}: no such folder; expected one sub-folder per class with images inside, as in {}/<class>/<image>.png: \
         unpack a data set or correct the path",
        path.display(), path.display()
    )]
    MissingSplit {
        /// The missing folder.
        path: PathBuf,
    },

    /// A folder that should hold images holds none.
    #[error("{}: {problem}; images are files ending in {extensions}", path.display())]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// What was expected in it.
        problem: String,
        /// The extensions that are looked for.
        extensions: String,
    },

    /// A class folder of the training split holds no image.
    #[error("{}: class `{class}` has no training image{holds}; add some, or remove the folder", path.display())]
    EmptyClass {
        /// The class folder.
        path: PathBuf,
        /// The class.
        class: String,
        /// What the folder holds in place of images, in parentheses; empty for nothing.
        holds: String,
    },

    /// A class folder is not what its name says.
    #[error("{}: {problem}", path.display())]
    ClassFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },

    /// A class folder of a class that the training split, or the weights, do not have.
    #[error("{}: class `{class}` is not among the known classes ({})", path.display(), known)]
    UnknownClass {
        /// The class folder.
        path: PathBuf,
        /// The class.
        class: String,
        /// The known classes, separated by commas.
        known: String,
    },

    /// An image file could not be decoded.
    #[error("{}: {problem}", path.display())]
    BadImage {
        /// The image file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// More images cannot be read than may be left out.
    #[error(
        "{split}: {problem}, such as {}; {remedy}", first.join("; ")
    )]
    TooManyBadImages {
        /// What the images are called.
        split: String,
        /// How many cannot be read, and how many may.
        problem: String,
        /// The first few, each with the reason.
        first: Vec<String>,
        /// What else can be done.
        remedy: &'static str,
    },

    /// Something that only a regular file can be is a pipe, a socket, a device or a folder.
    #[error("{}: is a {kind}, expected a regular file", path.display())]
    NotRegular {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },

    /// A file is longer than any that is read.
    #[error("{}: holds more than {max_mib} MiB, the most that is read of such a file", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit, in MiB.
        max_mib: u64,
    },

    /// A table (a CSV file, a list of class names) is not what it should be.
    #[error("{}:{line}: {problem}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What was found and what was expected.
        problem: String,
    },

    /// A folder holds what a previous, different run left there.
    #[error("{}: {problem}", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// What is there, and what to do.
        problem: String,
    },

    /// A worker thread ended before its work was done.
    #[error("a loader thread stopped: {problem}; please report this as a bug")]
    Worker {
        /// What is known about the reason.
        problem: String,
    },
}

impl Error {
    /// Whether arguments or settings are at fault, be it that the images show it only later, and
    /// not the images or the system.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Setting { .. } | Self::Table { .. } | Self::UnknownName { .. }
        )
    }

    /// For `map_err`: an [`Error::Io`] that says what was tried on `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// An error and what caused it, joined by colons: for where only the text is kept.
///
/// The text of an error in these crates does not repeat that of its
/// [`source`](std::error::Error::source).
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let missing = std::fs::read("no/such/file").unwrap_err();
        let cause = missing.to_string();
        let error = Error::io("read", Path::new("no/such/file"))(missing);
        assert_eq!(error.to_string(), "cannot read no/such/file");
        assert_eq!(
            with_causes(&error),
            format!("cannot read no/such/file: {cause}")
        );
    }
}
