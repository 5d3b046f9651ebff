//! Temporary folders, commands and helpers shared by the tests.

#[cfg(unix)]
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The path of a file of the project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Arguments for training a narrow network for one epoch on the class folders in `images`.
pub(crate) const SMALL_FOLDER_RUN: [&str; 5] = [
    "data.source=folder",
    "data.root=images",
    "data.batch_size=8",
    "model.width=0.25",
    "train.epochs=1",
];

/// A new temporary folder, the working directory of commands.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// The command `classify` with arguments in a clean environment, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_classify"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CLASSIFY_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.dir.path())
            .args(arguments)
            .env("XDG_CACHE_HOME", self.path("cache"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Trains with the settings of `configs/smoke.toml`, but unpacks the sample in this folder.
    pub(crate) fn train(&self, more: &[&str]) -> Run {
        Run::of(&mut self.train_command(more))
    }

    pub(crate) fn train_command(&self, more: &[&str]) -> Command {
        let config = project("configs/smoke.toml").display().to_string();
        let idx_dir = format!("data.idx_dir={}", project("data/sample").display());
        let mut arguments = vec!["train", "--config", &config, "--set", &idx_dir];
        arguments.extend(["--set", "data.root=images", "--run-dir", "run"]);
        arguments.extend(more);
        self.command(&arguments)
    }

    /// Copies images of a class folder of the trained bench. Folders are given as `split/class`.
    pub(crate) fn copy_images(&self, from: &str, to: &str, count: usize) {
        let (from, to) = (trained().path(from), self.path(to));
        std::fs::create_dir_all(&to).unwrap();
        for file in sorted(&from).into_iter().take(count) {
            std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }

    /// `images/{train,val}` with two classes of a few images, for tests of wrong input.
    pub(crate) fn two_classes(&self) {
        for class in ["0", "1"] {
            self.copy_images(
                &format!("images/train/{class}"),
                &format!("images/train/{class}"),
                12,
            );
            self.copy_images(
                &format!("images/val/{class}"),
                &format!("images/val/{class}"),
                4,
            );
        }
    }

    /// Trains for an epoch on the current contents of `images`.
    pub(crate) fn train_folder(&self, more: &[&str]) -> Run {
        let mut arguments = vec!["train", "--run-dir", "run"];
        arguments.extend(SMALL_FOLDER_RUN.iter().flat_map(|set| ["--set", set]));
        arguments.extend(more);
        self.run(&arguments)
    }
}

/// Runs a command without network access: its proxy does not answer, and it finds no package client.
pub(crate) fn close_network(command: &mut Command) -> &mut Command {
    for proxy in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"] {
        for name in [proxy.to_owned(), proxy.to_lowercase()] {
            command.env(name, "http://127.0.0.1:9");
        }
    }
    command
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env("PATH", "")
}

/// Runs a command until a line of stderr starts with `at`, then interrupts the command as Ctrl-C does. Returns the
/// stderr after that line.
#[cfg(unix)]
pub(crate) fn interrupted(command: &mut Command, at: &str) -> Run {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut before) = (String::new(), String::new());
    while !line.starts_with(at) {
        before.push_str(&line);
        line.clear();
        let read = stderr.read_line(&mut line).unwrap();
        assert!(read > 0, "the run ended before {at:?}:\n{before}");
    }
    let id = child.id().to_string();
    let kill = Command::new("kill").args(["-INT", &id]).status();
    assert!(kill.unwrap().success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let mut run = Run::from(child.wait_with_output().unwrap());
    run.stderr = rest;
    run
}

/// The files of a folder, sorted by name.
pub(crate) fn sorted(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The path of a run's only weights file.
pub(crate) fn weights_in(run: &Path) -> PathBuf {
    let files = sorted(run);
    let mut weights = files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "safetensors"));
    match (weights.next(), weights.next()) {
        (Some(one), None) => one.clone(),
        _ => panic!("expected one weights file among {files:?}"),
    }
}

/// The result of a finished command.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// Asserts that the command succeeded.
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that the command failed with this exit code, and that stderr contains each of these texts.
    pub(crate) fn failure(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        for text in said {
            assert!(
                self.stderr.contains(text),
                "{text:?} is not in\n{}",
                self.stderr
            );
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// The text after `name` on the line of stdout that begins with `name`.
    pub(crate) fn value(&self, name: &str) -> &str {
        let value = self.stdout.lines().find_map(|line| line.strip_prefix(name));
        value
            .unwrap_or_else(|| panic!("no {name:?} in\n{}", self.stdout))
            .trim()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A bench with a trained network. All tests share it and only read it.
pub(crate) fn trained() -> &'static Bench {
    static TRAINED: OnceLock<(Bench, Run)> = OnceLock::new();
    &TRAINED
        .get_or_init(|| {
            let bench = Bench::new();
            let run = bench.train(&[]).success();
            std::fs::write(bench.path("stdout.txt"), &run.stdout).unwrap();
            std::fs::write(bench.path("stderr.txt"), &run.stderr).unwrap();
            (bench, run)
        })
        .0
}

/// The output of the training run of [`trained`].
pub(crate) fn training() -> Run {
    let read = |name| std::fs::read_to_string(trained().path(name)).unwrap();
    Run {
        code: Some(0),
        stdout: read("stdout.txt"),
        stderr: read("stderr.txt"),
    }
}

/// The weights file of the training run of [`trained`].
pub(crate) fn trained_weights() -> String {
    weights_in(&trained().path("run")).display().to_string()
}
