//! Where rows come from: the commit, the date, the settings, and the versions of the peers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Options;
use crate::programs::python_peer;
use crate::shell::{output, root};

/// The files that decide what is measured. A commit that changes none of them measures the same.
const MEASURED: [&str; 5] = [
    "crates",
    "Cargo.toml",
    "Cargo.lock",
    "xtask/peers",
    "xtask/src/bench",
];

/// Ends the commit of rows that were measured with changed files.
const CHANGED: &str = "+changes";

/// Peers in Rust: the name of the side, and of the package.
const RUST_PEERS: [(&str, &str); 3] = [("gemm", "gemm"), ("rten", "rten"), ("tract", "tract-onnx")];

/// A run of benchmarks. What was not recorded is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The newest commit that changed what is measured.
    pub(super) commit: Option<String>,
    pub(super) date: Option<String>,
    pub(super) threads: Option<usize>,
    pub(super) rounds: Option<usize>,
    /// The versions that the peers report. `None` if a peer is not installed.
    pub(super) peers: BTreeMap<String, Option<String>>,
}

impl Run {
    /// A run that begins now.
    pub(super) fn now(options: &Options) -> Result<Self> {
        Ok(Self {
            commit: commit(),
            date: output(Command::new("date").args(["-u", "+%F"])).ok(),
            threads: Some(options.threads),
            rounds: Some(options.rounds),
            peers: peers(options.python.as_deref())?,
        })
    }

    /// Whether another run would measure the same as this one, at whatever date.
    pub(super) fn repeats(&self, other: &Run) -> bool {
        let is_clean = |commit: &String| !commit.ends_with(CHANGED);
        let undated = |run: &Run| Run {
            date: None,
            ..run.clone()
        };
        self.commit.as_ref().is_some_and(is_clean) && undated(self) == undated(other)
    }

    /// The commit, for a reader.
    pub(super) fn origin(&self) -> String {
        match &self.commit {
            None => "no commit is known, so no row of the file is of the same".to_owned(),
            Some(commit) if commit.ends_with(CHANGED) => format!(
                "commit {commit}: files have changed since, so no row of the file is of the same"
            ),
            Some(commit) => format!("commit {commit}"),
        }
    }

    /// Whether the program of a side is an installed peer.
    pub(super) fn has_peer_of(&self, side: &str) -> bool {
        let mut peers = self.peers.iter();
        peers.any(|(name, version)| version.is_some() && side.starts_with(name.as_str()))
    }

    /// The peers that are not installed.
    pub(super) fn missing(&self) -> Vec<&str> {
        let absent = self.peers.iter().filter(|(_, version)| version.is_none());
        absent.map(|(name, _)| name.as_str()).collect()
    }
}

/// The newest commit of the measured files, marked if they have changed since.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(root().ok()?).args(arguments);
        output(command.arg("--").args(MEASURED)).ok()
    };
    let commit = git(&["log", "-1", "--format=%h", "--abbrev=10"])?;
    let changes = git(&["status", "--porcelain"])?;
    match (commit.is_empty(), changes.is_empty()) {
        (true, _) => None,
        (false, true) => Some(commit),
        (false, false) => Some(commit + CHANGED),
    }
}

/// The versions of all peers.
fn peers(python: Option<&Path>) -> Result<BTreeMap<String, Option<String>>> {
    let mut found: BTreeMap<String, Option<String>> = match python {
        Some(python) => {
            let text = output(&mut python_peer(python, "versions.py")?)?;
            serde_json::from_str(&text).context("versions.py printed something else than JSON")?
        }
        None => BTreeMap::new(),
    };
    let lock = fs::read_to_string(root()?.join("xtask/peers/Cargo.lock"))?;
    let lock: toml::Table = lock.parse().context("xtask/peers/Cargo.lock")?;
    for (name, package) in RUST_PEERS {
        found.insert(name.to_owned(), locked(&lock, package));
    }
    Ok(found)
}

/// The version of a package in a Cargo.lock.
fn locked(lock: &toml::Table, package: &str) -> Option<String> {
    let packages = lock.get("package")?.as_array()?;
    let named =
        |entry: &&toml::Value| entry.get("name").and_then(|name| name.as_str()) == Some(package);
    let version = packages.iter().find(named)?.get("version")?;
    Some(version.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            commit: Some("abc".to_owned()),
            date: Some("2026-01-02".to_owned()),
            threads: Some(2),
            rounds: Some(9),
            peers: [("torch".to_owned(), None)].into(),
        }
    }

    #[test]
    fn a_run_repeats_another_of_the_same_commit_settings_and_peers() {
        let later = Run {
            date: Some("2026-01-03".to_owned()),
            ..run()
        };
        assert!(run().repeats(&later));
        let with = |change: fn(&mut Run)| {
            let mut other = run();
            change(&mut other);
            other
        };
        for other in [
            with(|run| run.commit = Some("def".to_owned())),
            with(|run| run.rounds = Some(3)),
            with(|run| run.threads = None),
            with(|run| run.peers = [("torch".to_owned(), Some("2".to_owned()))].into()),
        ] {
            assert!(!run().repeats(&other), "{other:?}");
        }
        // The files of such a run may have changed again.
        let changed = with(|run| run.commit = Some("abc+changes".to_owned()));
        assert!(!changed.repeats(&changed));
        let unknown = with(|run| run.commit = None);
        assert!(!unknown.repeats(&unknown));
        assert_eq!(run().missing(), ["torch"]);
    }

    #[test]
    fn the_rust_peers_have_versions() {
        let found = peers(None).unwrap();
        for (name, _) in RUST_PEERS {
            assert!(found[name].is_some(), "{name}");
        }
    }
}
