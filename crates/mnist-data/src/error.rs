//! The error type of the crate.

use std::io;
use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The most names in a message.
pub(crate) const NAMED: usize = 5;

/// The first few names for a message, with an ellipsis if there are more.
pub(crate) fn first_few(mut names: impl Iterator<Item = String>) -> String {
    let mut named: Vec<String> = names.by_ref().take(NAMED).collect();
    named.extend(names.next().map(|_| "…".to_owned()));
    named.join(", ")
}

/// Every error of this crate. Each variant names the file, the expected contents and a remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The action that failed, as in "cannot {action} PATH".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },

    /// A file is not a valid IDX file.
    #[error("{}: byte {offset}: {problem}", path.display())]
    Idx {
        /// The IDX file; `<memory>` for one built in memory.
        path: PathBuf,
        /// The offset of the problem in the raw (gunzipped) contents.
        offset: u64,
        /// What was found, and what was expected.
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
        /// The number of images in the image file.
        images: usize,
        /// The label file.
        labels_path: PathBuf,
        /// The number of labels in the label file.
        labels: usize,
    },

    /// A folder lacks one of the four IDX files.
    #[error("{} (or .gz): no such file; fetch the data set first, or correct the folder", path.display())]
    MissingIdx {
        /// The path of the missing file, without `.gz`.
        path: PathBuf,
    },

    /// An unknown name.
    #[error("`{given}` is not a {what}; known: {known}")]
    UnknownName {
        /// The given name.
        given: String,
        /// The kind of name, such as "data set".
        what: &'static str,
        /// The valid names, separated by commas.
        known: String,
    },

    /// An invalid setting, or combination of settings.
    #[error("{setting}: {problem}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// The reason, and the valid values.
        problem: String,
    },

    /// Every image of an epoch was unreadable and left out.
    #[error("on_bad_image: every image was left out; the warnings give the reasons")]
    EveryImageLeftOut,

    /// A file's contents differ from the published ones.
    #[error("{}: SHA-256 is {found}, expected {expected}", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The published SHA-256, in hexadecimal; an ellipsis follows if only its beginning is known.
        expected: String,
        /// The SHA-256 of the file's contents.
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
        /// The folder for its files.
        dir: PathBuf,
        /// The files still missing.
        files: Vec<String>,
        /// Each attempted source, with the reason of its failure.
        attempts: Vec<String>,
    },

    /// A split's folder is missing.
    #[error(
        "{}: no such folder; expected one sub-folder per class with images inside, as in {}/<class>/<image>.png: \
         unpack a data set or correct the path",
        path.display(), path.display()
    )]
    MissingSplit {
        /// The missing folder.
        path: PathBuf,
    },

    /// A folder contains no images.
    #[error("{}: {problem}; images are files ending in {extensions}", path.display())]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// The expected contents.
        problem: String,
        /// The accepted extensions.
        extensions: String,
    },

    /// A class folder of the training split contains no image.
    #[error("{}: class `{class}` has no training image{holds}; add some, or remove the folder", path.display())]
    EmptyClass {
        /// The class folder.
        path: PathBuf,
        /// The class.
        class: String,
        /// The folder's other contents, in parentheses; empty if there are none.
        holds: String,
    },

    /// A class folder does not match its name.
    #[error("{}: {problem}", path.display())]
    ClassFolder {
        /// The folder.
        path: PathBuf,
        /// The problem and a remedy.
        problem: String,
    },

    /// A class folder without a class in the training split or the weights.
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
        /// The problem.
        problem: String,
    },

    /// More images are unreadable than may be left out.
    #[error(
        "{split}: {problem}, such as {}; {remedy}", first.join("; ")
    )]
    TooManyBadImages {
        /// The name of the images in messages.
        split: String,
        /// The number of unreadable images and the limit.
        problem: String,
        /// The first few unreadable images, each with its reason.
        first: Vec<String>,
        /// A remedy besides raising the limit.
        remedy: &'static str,
    },

    /// A pipe, socket, device or folder in place of a regular file.
    #[error("{}: is a {kind}, expected a regular file", path.display())]
    NotRegular {
        /// The path of the entry.
        path: PathBuf,
        /// The kind of the entry, such as "pipe".
        kind: &'static str,
    },

    /// A file is longer than the limit for its kind.
    #[error("{}: is larger than {max_mib} MiB, the limit for such files", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit, in MiB.
        max_mib: u64,
    },

    /// A table (a CSV file, a list of class names) is invalid.
    #[error("{}:{line}: {problem}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What was found, and what was expected.
        problem: String,
    },

    /// A folder contains files of a previous, different run.
    #[error("{}: {problem}", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// The contents of the folder, and a remedy.
        problem: String,
    },

    /// The folder of an image has vanished, or can no longer be read.
    #[error(
        "{}: the folder of {image} cannot be read any more ({problem}): is its disk or network share still there? \
         Restore it, then go on",
        folder.display()
    )]
    Vanished {
        /// The folder.
        folder: PathBuf,
        /// The id of the image that was to be read.
        image: String,
        /// The operating system's reason.
        problem: String,
    },

    /// The program failed while it worked on an image.
    #[error(
        "{image}: the program failed on this image ({problem}); please report this as a bug, with the image; \
         until it is mended, remove the image"
    )]
    Panic {
        /// The image.
        image: String,
        /// The message of the panic.
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
    /// Whether the caller's arguments or settings are wrong, rather than the images or the system.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Setting { .. } | Self::Table { .. } | Self::UnknownName { .. }
        )
    }

    /// Makes an [`Error::Io`] from a system error, for `map_err`; `action` failed on `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// An error and its causes, joined by colons: for callers that keep only the text.
///
/// In these crates, an error's own text does not contain the text of its [`source`](std::error::Error::source).
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
