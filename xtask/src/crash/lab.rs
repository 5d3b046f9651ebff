//! The folder of the crash test: images, runs, and the output of the last process.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::shell::root;

/// The lines of stderr that a failure shows.
const SHOWN: usize = 15;

pub(super) struct Lab {
    program: PathBuf,
    dir: PathBuf,
    /// Locked as long as the lab is in use.
    _lock: File,
}

impl Lab {
    /// An empty folder at `dir` for runs of `program`.
    pub(super) fn new(dir: &Path, program: &Path) -> Result<Self> {
        let lock = File::create(dir.with_extension("lock"))?;
        let locked = lock.try_lock();
        locked.context("another crash test is running in this workspace")?;
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("cannot clear {}", dir.display()))?;
        }
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// A file or folder of the lab.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Starts a new run in the folder `run`, or resumes the run there. A run that was killed before it wrote its
    /// configuration begins anew.
    pub(super) fn start(&self, run: &Path, settings: &[String]) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg("train").current_dir(&self.dir);
        match run.join("config.toml").exists() {
            true => command.arg("--resume").arg(run),
            false => {
                command.arg("--run-dir").arg(run);
                command.args(settings.iter().flat_map(|set| ["--set", set]))
            }
        };
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CLASSIFY_") || name.starts_with("RUST_LOG") {
                command.env_remove(name);
            }
        }
        let errors = File::create(self.errors())?;
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let started = quiet.stderr(errors).spawn();
        started.with_context(|| format!("cannot start {}", self.program.display()))
    }

    fn errors(&self) -> PathBuf {
        self.path("stderr.txt")
    }

    /// The stderr of the last process so far.
    pub(super) fn stderr(&self) -> String {
        let bytes = fs::read(self.errors()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of the stderr of the last process.
    pub(super) fn last_words(&self) -> String {
        let text = self.stderr();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }

    /// Settings of a run on the sample digits, which the first run unpacks into the lab.
    pub(super) fn digits(&self) -> Result<[String; 3]> {
        let sample = root()?.join("data/sample");
        Ok([
            "data.source=idx".to_owned(),
            format!("data.idx_dir={}", sample.display()),
            format!("data.root={}", self.images().display()),
        ])
    }

    fn images(&self) -> PathBuf {
        self.path("images")
    }

    /// Removes the cache of decoded images, so that the next process writes it again.
    pub(super) fn forget_decoded(&self) {
        // A missing cache is no error, and one that stays is used.
        let _ = fs::remove_dir_all(self.images().join(".classify-cache"));
    }

    /// Removes the lab.
    pub(super) fn remove(self) -> Result<()> {
        let removed = fs::remove_dir_all(&self.dir);
        removed.with_context(|| format!("cannot remove {}", self.dir.display()))
    }
}
