//! The errors of this crate.

use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A report or picture that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file of the run cannot be read.
    #[error(transparent)]
    Run(#[from] trainer::Error),
    /// A picture could not be drawn.
    #[error("a picture cannot be drawn: {problem}")]
    Picture {
        /// The reason.
        problem: String,
    },
    /// The folder contains no run.
    #[error("{}: {problem}", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// The missing file, and the remedy.
        problem: String,
    },
}

impl Error {
    /// Whether the user's input caused the error, rather than the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::NoRun { .. } => true,
            Self::Run(error) => error.is_usage(),
            Self::Io { .. } | Self::Picture { .. } => false,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
