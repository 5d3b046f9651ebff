//! The folder of a run: `config.toml`, `metrics.jsonl`, the weights and the state.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use files::Lock;
use mnist_data::write_atomically;

use crate::config::RunConfig;
use crate::state::{StateFolder, has_states};
use crate::{Error, Result, RunState};

/// The lock file of an active run.
const LOCK: &str = ".lock";
const METRICS: &str = "metrics.jsonl";
const CONFIG: &str = "config.toml";

/// The folder of one run, locked against other processes. The lock is released on drop, and if the process is killed.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// The folders that this run created, innermost first.
    made: Vec<PathBuf>,
    /// Whether the folder was that of a run before.
    is_resumed: bool,
    lock: Lock,
}

impl RunDir {
    /// Claims `path` as the run's folder. The folder must be missing or hold only leftovers of a run that was killed
    /// before it wrote its configuration: temporaries, a free lock, metrics without an epoch.
    ///
    /// # Errors
    ///
    /// [`Error::RunExists`] if it contains anything else, [`Error::RunInUse`] if another run uses
    /// it, [`Error::Io`] if it cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        loop {
            let made = make(path).map_err(Error::io(path))?;
            match Self::claim(path, made) {
                // Another run without results has just removed the folder.
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                claimed => return claimed,
            }
        }
    }

    /// Claims the folder with the first free number: `<parent>/<name>-001`, `-002` and so on.
    ///
    /// Two runs that start at the same time get different folders.
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
                        // Another run may have removed the folder, as in `create`.
                        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                        claimed => return claimed,
                    }
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => number += 1,
                // Another run without results has just removed the parent, which it had created.
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    made = make(parent).map_err(Error::io(parent))?;
                }
                Err(e) => return Err(Error::io(path)(e)),
            }
        }
    }

    /// Claims the folder of a run that was interrupted, to go on with it.
    ///
    /// # Errors
    ///
    /// [`Error::NoRun`] if it is not the folder of a run, [`Error::RunInUse`] if another process uses it,
    /// [`Error::Io`].
    pub fn reopen(path: &Path) -> Result<Self> {
        let no_run = |problem: &str| {
            Err(Error::NoRun {
                path: path.to_owned(),
                problem: problem.to_owned(),
            })
        };
        if !path.is_dir() {
            return no_run(
                "there is no such folder; expected the folder of a run, such as runs/mnist-001",
            );
        }
        if !path.join(CONFIG).is_file() {
            return no_run(
                "it has no config.toml, so no run has begun in it; expected the folder of a run",
            );
        }
        let lock = Lock::take(&path.join(LOCK)).map_err(Error::io(path))?;
        let lock = lock.ok_or_else(|| Error::RunInUse(path.to_owned()))?;
        for dir in [path.to_owned(), path.join(Self::STATES)] {
            files::sweep(&dir).map_err(Error::io(dir))?;
        }
        Ok(Self {
            path: path.to_owned(),
            made: Vec::new(),
            is_resumed: true,
            lock,
        })
    }

    /// Claims the folder of a run that was interrupted, or else a folder for a new run.
    ///
    /// # Errors
    ///
    /// Those of [`reopen`](Self::reopen) and [`create`](Self::create).
    pub fn reopen_or_create(path: &Path) -> Result<Self> {
        match path.join(CONFIG).is_file() {
            true => Self::reopen(path),
            false => Self::create(path),
        }
    }

    /// The newest state from which the run can go on; `None` if none was saved. A warning names each damaged state.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if every state is damaged, or if the newest is of another version or cannot be read;
    /// [`Error::Io`].
    pub fn state(&self) -> Result<Option<RunState>> {
        StateFolder::new(self.states()).newest()
    }

    /// Whether the folder was that of a run before; see [`RunDir::reopen`].
    pub(crate) fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// Whether a state was saved from which the run can go on.
    pub fn has_state(&self) -> bool {
        has_states(&self.states()).unwrap_or(false)
    }

    /// Removes all states, so that the run cannot go on. What cannot be removed stays.
    pub(crate) fn remove_states(&self) {
        StateFolder::new(self.states()).remove();
    }

    /// The folder of the states.
    pub(crate) fn states(&self) -> PathBuf {
        self.path.join(Self::STATES)
    }

    /// The folder of the states, below the folder of the run.
    pub(crate) const STATES: &str = "state";

    /// The list of the run's images, below the folder of the run.
    pub(crate) const IMAGE_LIST: &str = "state/images.csv";

    pub(crate) fn image_list(&self) -> PathBuf {
        self.path.join(Self::IMAGE_LIST)
    }

    /// Locks an existing folder, and checks that it has no files of another run.
    fn claim(path: &Path, made: Vec<PathBuf>) -> Result<Self> {
        let lock = Lock::take(&path.join(LOCK)).map_err(Error::io(path))?;
        let lock = lock.ok_or_else(|| Error::RunInUse(path.to_owned()))?;
        files::sweep(path).map_err(Error::io(path))?;
        match holds_nothing(path).map_err(Error::io(path))? {
            true => Ok(Self {
                path: path.to_owned(),
                made,
                is_resumed: false,
                lock,
            }),
            false => Err(Error::RunExists(path.to_owned())),
        }
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `metrics.jsonl`: one JSON object per epoch.
    pub fn metrics(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// The path of `config.toml`: the resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// The name of the file with the results of a cross-validation, in its folder.
    pub const CROSS_VALIDATION: &str = "cross-validation.json";

    /// The path of `cross-validation.json`: the results of the folds.
    pub fn cross_validation(&self) -> PathBuf {
        self.path.join(Self::CROSS_VALIDATION)
    }

    /// Removes the folder if the run has no results: at most a configuration, metrics without an epoch and a list of
    /// images. Empty parent folders that the run created are removed too. The corrected run can then use the same folder.
    /// The folder of a resumed run is never removed.
    ///
    /// Files that cannot be removed stay; the next run in this folder will report them.
    pub fn remove_if_fruitless(self) {
        let fruitless = !self.is_resumed && self.is_fruitless().unwrap_or(false);
        if fruitless {
            for file in [
                self.config(),
                self.metrics(),
                Self::record(&self.path),
                self.image_list(),
                self.cross_validation(),
            ] {
                let _ = std::fs::remove_file(file);
            }
            let _ = std::fs::remove_dir(self.states());
        }
        // The lock file is in the folder, so it is released first.
        drop(self.lock);
        if fruitless {
            // A folder with other contents is kept, and so are its parents.
            let _ = (self.made.iter()).try_for_each(std::fs::remove_dir);
        }
    }

    fn is_fruitless(&self) -> std::io::Result<bool> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let is_nothing = match entry.path() {
                path if path == self.config() || path == Self::record(&self.path) => true,
                path if path == self.states() => !has_states(&path)?,
                path if path == self.cross_validation() => !has_folds(&path)?,
                _ => is_nothing(&entry)?,
            };
            if !is_nothing {
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

/// Whether the results of a cross-validation have a finished fold.
fn has_folds(path: &Path) -> std::io::Result<bool> {
    let results: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let folds = results.get("folds").and_then(|folds| folds.as_array());
    Ok(folds.is_none_or(|folds| !folds.is_empty()))
}

/// The number of attempts to create a folder while other runs remove its parent.
const ATTEMPTS: usize = 100;

/// Creates a folder and its parents. Returns the folders that did not exist before, innermost first.
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

/// Whether a folder has no results of a run. Sub-folders are checked too, since those of a cross-validation are its
/// folds.
fn holds_nothing(dir: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let is_nothing = match entry.file_type()?.is_dir() {
            true => holds_nothing(&entry.path())?,
            false if entry.file_name() == RunDir::CROSS_VALIDATION => !has_folds(&entry.path())?,
            false => is_nothing(&entry)?,
        };
        if !is_nothing {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a file is a lock, a temporary, or metrics without an epoch.
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
        // A folder in use is refused even if it is still empty.
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
        // A finished epoch is a result, and so is any file that the run did not write.
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

        // The parents that were created with it are removed too.
        let above = dir.path().join("runs");
        RunDir::next(&above, "mnist").unwrap().remove_if_fruitless();
        assert!(!above.exists());
        let first = RunDir::next(&above, "mnist").unwrap();
        let deep = RunDir::create(&above.join("a/b")).unwrap();
        first.remove_if_fruitless();
        assert!(above.exists());
        deep.remove_if_fruitless();
        assert!(above.exists() && !above.join("a").exists());

        // A folder that existed before the run is emptied, not removed.
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
            "/data/mnist\"",
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
