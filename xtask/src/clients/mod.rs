//! Checks the results of a training run with programs of other projects: a browser with axe-core, TensorBoard and tmux.
//! The weights are served. The protocols are checked with Triton's client and schemathesis, and so are the server's page,
//! its documentation and the files in `deploy/`.
//!
//! npm and pip install what the checks need into `target/clients`. Chromium, its driver, Node.js and Python come from
//! the system.

mod browser;
mod deploy;
mod docs;
mod protocols;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use browser::Node;

use crate::check::EVERYTHING;
use crate::programs::executable;
use crate::shell::{cargo, output, root, run, target_dir};
use crate::siege;

/// The programs that the checks take from the system, and Debian's packages with them.
const PROGRAMS: [(&str, &str); 7] = [
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("curl", "curl"),
    ("npm", "npm"),
    ("python3", "python3-venv"),
    ("systemd-analyze", "systemd"),
    ("tmux", "tmux"),
];
/// TensorBoard, whose reader of event files is compared with ours.
const TENSORBOARD: &str = "tensorboard==2.21.0";

/// `cargo xtask clients`: trains on MNIST, then runs every check.
pub(crate) fn check() -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| package)
        .collect();
    if !missing.is_empty() {
        bail!(
            "programs are missing; install them, as with: apt-get install {}",
            missing.join(" ")
        );
    }
    let dir = target_dir()?.join("clients");
    let classify = built()?;
    let trained = trained(&dir, &classify)?;
    let node = Node::install(&dir)?;
    browser::report(&dir, &node, &trained)?;
    browser::page(&dir, &node, &classify, &trained)?;
    let python = python(&dir)?;
    tensorboard(&python, &trained)?;
    protocols::check(&dir, &classify, &trained)?;
    docs::check(&dir, &classify, &trained.weights, &trained.data)?;
    deploy::check(&dir, &python, &classify, &trained.weights)?;
    siege::short(&classify, &trained.weights)?;
    run(Command::new("sh")
        .arg(root()?.join("xtask/clients/tui.sh"))
        .args([&classify, &trained.data]))
}

/// A run to check, and the evaluation of its weights.
struct Trained {
    run: PathBuf,
    weights: PathBuf,
    evaluation: PathBuf,
    /// The folder of the splits.
    data: PathBuf,
}

fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(program).is_file())
}

/// Builds `classify` as the tests do, with the same features of the dependencies, so that nothing is built twice.
fn built() -> Result<PathBuf> {
    run(cargo(&["build", "--tests"])?.args(EVERYTHING))?;
    Ok(target_dir()?.join("debug").join(executable("classify")))
}

fn trained(dir: &Path, classify: &Path) -> Result<Trained> {
    let path = dir.join("run");
    if path.exists() {
        fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let mut train = Command::new(classify);
    train
        .current_dir(root()?)
        .args(["train", "--run-dir"])
        .arg(&path)
        .args(["--set", "train.epochs=2", "--set", "train.tensorboard=true"]);
    run(&mut train)?;
    let record = fs::read(path.join("run.json")).context("the run has no run.json")?;
    let record: serde_json::Value = serde_json::from_slice(&record)?;
    let weights = record["weights"]
        .as_str()
        .context("run.json names no weights")?;
    let weights = path.join(weights);
    let config = fs::read_to_string(path.join("config.toml"))?;
    let config: toml::Table = config.parse()?;
    let data = config["data"]["root"]
        .as_str()
        .context("config.toml names no data")?;
    let mut evaluate = Command::new(classify);
    evaluate
        .current_dir(root()?)
        .args(["evaluate", "--json", "--weights"])
        .arg(&weights)
        .arg("--data")
        .arg(Path::new(data).join("test"));
    let evaluation = dir.join("evaluation.json");
    fs::write(&evaluation, output(&mut evaluate)?)?;
    Ok(Trained {
        run: path,
        weights,
        evaluation,
        data: root()?.join(data),
    })
}

/// The Python of an environment of its own in this folder, which is made once.
pub(crate) fn python(dir: &Path) -> Result<PathBuf> {
    let python = dir.join("venv/bin/python");
    if !python.is_file() {
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(dir.join("venv")))?;
    }
    Ok(python)
}

/// Reads the event files of a run with TensorBoard.
fn tensorboard(python: &Path, trained: &Trained) -> Result<()> {
    run(Command::new(python).args(["-m", "pip", "install", "--quiet", TENSORBOARD]))?;
    run(Command::new(python)
        .arg("-B")
        .arg(root()?.join("xtask/clients/event_files.py"))
        .arg(&trained.run))
}
