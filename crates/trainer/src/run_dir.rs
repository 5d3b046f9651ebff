//! The folder of a run: `config.toml`, `metrics.jsonl` and the weights.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use mnist_data::write_atomically;

use crate::config::RunConfig;
use crate::{Error, Result};

/// A folder that belongs to one run alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
    /// Whether there was no such folder before.
    is_new: bool,
}

impl RunDir {
    /// Takes `path`, which must not exist yet or be empty.
    ///
    /// # Errors
    ///
    /// [`Error::RunExists`] when something is in it, [`Error::Io`] when it cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let is_new = !path.exists();
        std::fs::create_dir_all(path).map_err(Error::io(path))?;
        match std::fs::read_dir(path).map_err(Error::io(path))?.next() {
            None => Ok(Self {
                path: path.to_owned(),
                is_new,
            }),
            Some(_) => Err(Error::RunExists(path.to_owned())),
        }
    }

    /// Takes the first free number: `<parent>/<name>-001`, `-002` and so on.
    ///
    /// Two runs started at once get two folders.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the folder cannot be made.
    pub fn next(parent: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let mut number = 1u32;
        loop {
            let path = parent.join(format!("{name}-{number:03}"));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, is_new: true }),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(Error::io(path)(e)),
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One JSON object per epoch.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// What the folds of a cross-validation achieved.
    pub fn cross_validation(&self) -> PathBuf {
        self.path.join("cross-validation.json")
    }

    /// Gives the folder back, if nothing has come of the run: where there is nothing in it but
    /// the configuration and metrics without an epoch, these go, and so does the folder, unless
    /// it was there before. Whoever then corrects what was refused can name it again.
    ///
    /// What cannot be removed stays; the next run in this folder will say so.
    pub fn remove_if_fruitless(&self) {
        if let Ok(true) = self.is_fruitless() {
            for file in [self.config(), self.metrics()] {
                let _ = std::fs::remove_file(file);
            }
            if self.is_new {
                let _ = std::fs::remove_dir(&self.path);
            }
        }
    }

    fn is_fruitless(&self) -> std::io::Result<bool> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            let no_epoch = path == self.metrics() && entry.metadata()?.len() == 0;
            if path != self.config() && !no_epoch {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the resolved configuration, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] naming the file.
    pub fn write_config(&self, config: &RunConfig) -> Result<()> {
        let path = self.config();
        let text =
            toml::to_string(config).map_err(|e| Error::io(&path)(std::io::Error::other(e)))?;
        Ok(write_atomically(&path, |file| {
            file.write_all(text.as_bytes())
        })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_never_takes_anothers_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunDir::next(dir.path(), "mnist").unwrap();
        let second = RunDir::next(dir.path(), "mnist").unwrap();
        assert!(first.path().ends_with("mnist-001"));
        assert!(second.path().ends_with("mnist-002"));
        RunDir::create(first.path()).unwrap();
        std::fs::write(first.metrics(), "").unwrap();
        assert!(matches!(
            RunDir::create(first.path()),
            Err(Error::RunExists(_))
        ));
    }

    #[test]
    fn a_folder_is_given_back_only_where_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let run = RunDir::create(&path).unwrap();
        std::fs::write(run.config(), "[train]").unwrap();
        std::fs::write(run.metrics(), "").unwrap();
        run.remove_if_fruitless();
        assert!(!path.exists());

        // A folder that somebody else made is emptied, not removed.
        std::fs::create_dir(&path).unwrap();
        let run = RunDir::create(&path).unwrap();
        std::fs::write(run.config(), "[train]").unwrap();
        run.remove_if_fruitless();
        assert!(path.is_dir());

        for (name, text) in [("metrics.jsonl", "{}\n"), ("a.safetensors", "")] {
            let run = RunDir::next(dir.path(), "kept").unwrap();
            std::fs::write(run.config(), "[train]").unwrap();
            std::fs::write(run.path().join(name), text).unwrap();
            run.remove_if_fruitless();
            assert!(run.config().is_file(), "{name}");
        }
    }

    #[test]
    fn the_written_configuration_holds_every_key_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(&dir.path().join("a/b")).unwrap();
        let config = RunConfig::default();
        let resolved = config.resolved(&config.model(10));
        run.write_config(&resolved).unwrap();
        assert_eq!(RunConfig::read(&run.config()).unwrap(), resolved);
        let text = std::fs::read_to_string(run.config()).unwrap();
        for key in [
            "root = \"data/mnist\"",
            "classes = 10",
            "limit = \"none\"",
            "batch_norm_momentum = 0.1",
        ] {
            assert!(text.contains(key), "{key} is missing from\n{text}");
        }
        assert_eq!(std::fs::read_dir(run.path()).unwrap().count(), 1);
    }
}
