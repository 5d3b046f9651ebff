//! The folder of a run: `config.toml`, `metrics.jsonl` and the weights.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use files::Lock;
use mnist_data::write_atomically;

use crate::config::RunConfig;
use crate::{Error, Result};

/// The lock file of an active run.
const LOCK: &str = ".lock";
const METRICS: &str = "metrics.jsonl";

/// The folder of one run. While this exists, a lock keeps other processes out; the lock ends with
/// the process, even if it is killed.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// The folders that this run created, the innermost first.
    made: Vec<PathBuf>,
    lock: Lock,
}

impl RunDir {
    /// Claims `path`. It must not exist yet, or contain only leftovers of a run killed before it
    /// wrote its configuration: temporaries, a free lock, metrics without an epoch.
    ///
    /// # Errors
    ///
    /// [`Error::RunExists`] if it contains anything else, [`Error::RunInUse`] if another run uses
    /// it, [`Error::Io`] if it cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        loop {
            let made = make(path).map_err(Error::io(path))?;
            match Self::claim(path, made) {
                // A run without results has just removed it.
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                claimed => return claimed,
            }
        }
    }

    /// Claims the first free number: `<parent>/<name>-001`, `-002` and so on.
    ///
    /// Two runs started at once get two folders.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder cannot be created.
    pub fn next(parent: &Path, name: &str) -> Result<Self> {
        let mut made = make(parent).map_err(Error::io(parent))?;
        let mut number = 1u32;
        loop {
            let path = parent.join(format!("{name}-{number:03}"));
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    let made = [path.clone()].into_iter().chain(made.iter().cloned());
                    match Self::claim(&path, made.collect()) {
                        Err(Error::RunInUse(_) | Error::RunExists(_)) => number += 1,
                        // As in `create`.
                        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                        claimed => return claimed,
                    }
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => number += 1,
                // A run without results has just removed the parent that it had created.
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    made = make(parent).map_err(Error::io(parent))?;
                }
                Err(e) => return Err(Error::io(path)(e)),
            }
        }
    }

    /// Locks an existing folder, and checks that it has no results of a run.
    fn claim(path: &Path, made: Vec<PathBuf>) -> Result<Self> {
        let lock = Lock::take(&path.join(LOCK)).map_err(Error::io(path))?;
        let lock = lock.ok_or_else(|| Error::RunInUse(path.to_owned()))?;
        files::sweep(path).map_err(Error::io(path))?;
        match holds_nothing(path).map_err(Error::io(path))? {
            true => Ok(Self {
                path: path.to_owned(),
                made,
                lock,
            }),
            false => Err(Error::RunExists(path.to_owned())),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One JSON object per epoch.
    pub fn metrics(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// The resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The results of a cross-validation's folds.
    pub fn cross_validation(&self) -> PathBuf {
        self.path.join("cross-validation.json")
    }

    /// Removes the folder if the run has no results, that is, only a configuration and metrics
    /// without an epoch. Empty folders above it that the run created are removed too. So the
    /// corrected run can have the same name.
    ///
    /// Files that cannot be removed stay; the next run in this folder will report them.
    pub fn remove_if_fruitless(self) {
        let fruitless = self.is_fruitless().unwrap_or(false);
        if fruitless {
            for file in [self.config(), self.metrics()] {
                let _ = std::fs::remove_file(file);
            }
        }
        // The lock is a file in the folder.
        drop(self.lock);
        if fruitless {
            // A folder with other contents stays, and so do the ones above it.
            let _ = (self.made.iter()).try_for_each(std::fs::remove_dir);
        }
    }

    fn is_fruitless(&self) -> std::io::Result<bool> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.path() != self.config() && !is_nothing(&entry)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the resolved configuration, atomically.
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

/// The number of attempts to create a folder while other runs remove its parent.
const ATTEMPTS: usize = 100;

/// Creates a folder and its parents. Returns the ones that did not exist before, the innermost first.
fn make(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let missing = path
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.exists());
    let missing = missing.map(Path::to_owned).collect();
    for _ in 1..ATTEMPTS {
        match std::fs::create_dir_all(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            made => return made.map(|()| missing),
        }
    }
    std::fs::create_dir_all(path).map(|()| missing)
}

/// Whether a folder has no results of a run. Sub-folders count too: a cross-validation's are its
/// folds.
fn holds_nothing(dir: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let is_nothing = match entry.file_type()?.is_dir() {
            true => holds_nothing(&entry.path())?,
            false => is_nothing(&entry)?,
        };
        if !is_nothing {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A lock, a temporary, or metrics without an epoch.
fn is_nothing(entry: &std::fs::DirEntry) -> std::io::Result<bool> {
    let name = entry.file_name();
    let is_temporary = name
        .as_encoded_bytes()
        .starts_with(files::PREFIX.as_bytes());
    Ok(name == LOCK || is_temporary || (name == METRICS && entry.metadata()?.len() == 0))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn a_run_never_takes_anothers_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunDir::next(dir.path(), "mnist").unwrap();
        let second = RunDir::next(dir.path(), "mnist").unwrap();
        assert!(first.path().ends_with("mnist-001"));
        assert!(second.path().ends_with("mnist-002"));
        // Not even an empty one.
        let path = first.path().to_owned();
        let taken = RunDir::create(&path);
        assert!(matches!(taken, Err(Error::RunInUse(_))), "{taken:?}");
        std::fs::write(first.config(), "[train]").unwrap();
        drop(first);
        let taken = RunDir::create(&path);
        assert!(matches!(taken, Err(Error::RunExists(_))), "{taken:?}");
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
    }

    #[test]
    fn of_several_runs_at_once_one_has_the_folder() {
        for round in 0..12 {
            let (dir, start) = (tempfile::tempdir().unwrap(), Barrier::new(4));
            let path = dir.path().join("run");
            let taken: Vec<_> = thread::scope(|scope| {
                let create = || {
                    start.wait();
                    RunDir::create(&path)
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            let refused = taken
                .iter()
                .filter(|taken| matches!(taken, Err(Error::RunInUse(_))));
            assert_eq!(refused.count(), 3, "round {round}: {taken:?}");
            assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1);
        }
    }

    #[test]
    fn a_folder_in_which_a_run_was_killed_early_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        std::fs::create_dir_all(path.join("fold-1")).unwrap();
        for file in [
            LOCK,
            METRICS,
            ".unfinished-a1b2c3",
            "fold-1/.lock",
            "fold-1/metrics.jsonl",
        ] {
            std::fs::write(path.join(file), "").unwrap();
        }
        let run = RunDir::create(&path).unwrap();
        assert!(!path.join(".unfinished-a1b2c3").exists() || cfg!(not(unix)));
        drop(run);
        // An epoch is a result, and so is any file from elsewhere.
        for file in ["metrics.jsonl", "fold-1/config.toml", "notes.txt"] {
            std::fs::write(path.join(file), "{}\n").unwrap();
            let taken = RunDir::create(&path);
            assert!(matches!(taken, Err(Error::RunExists(_))), "{file}");
            std::fs::write(path.join(METRICS), "").unwrap();
            let _ = std::fs::remove_file(path.join(file));
        }
        RunDir::create(&path).unwrap();
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

        // So do the folders above it that were made with it.
        let above = dir.path().join("runs");
        RunDir::next(&above, "mnist").unwrap().remove_if_fruitless();
        assert!(!above.exists());
        let first = RunDir::next(&above, "mnist").unwrap();
        let deep = RunDir::create(&above.join("a/b")).unwrap();
        first.remove_if_fruitless();
        assert!(above.exists());
        deep.remove_if_fruitless();
        assert!(above.exists() && !above.join("a").exists());

        // A folder that somebody else made is emptied, not removed.
        std::fs::create_dir(&path).unwrap();
        let run = RunDir::create(&path).unwrap();
        std::fs::write(run.config(), "[train]").unwrap();
        run.remove_if_fruitless();
        assert!(path.is_dir());

        for (name, text) in [("metrics.jsonl", "{}\n"), ("a.safetensors", "")] {
            let run = RunDir::next(dir.path(), "kept").unwrap();
            let config = run.config();
            std::fs::write(&config, "[train]").unwrap();
            std::fs::write(run.path().join(name), text).unwrap();
            run.remove_if_fruitless();
            assert!(config.is_file(), "{name}");
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
        let path = run.path().to_owned();
        drop(run);
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 1);
    }
}
