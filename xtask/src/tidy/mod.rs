//! Checks rules of the architecture that the compiler does not enforce. Each rule is a function
//! from the files to violations. Its doc comment gives the reason for the rule.

mod code;
mod imports;
mod profiles;
mod style;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::bench;

/// Folders that contain no files of this project. Hidden folders are skipped too, except
/// [`HIDDEN`].
const SKIPPED: [&str; 4] = ["target", "runs", "__pycache__", "node_modules"];
const HIDDEN: [&str; 2] = [".ci", ".cargo"];

/// Endings of paths that mark files as written by hand.
const WRITTEN: [&str; 10] = [
    ".rs", ".toml", ".md", ".py", ".sh", ".js", ".mjs", ".css", ".html", ".ci/run",
];

/// A file. Its path is relative to the root, with `/` between the parts.
struct File {
    path: String,
    bytes: u64,
    /// The contents, if the file is written by hand (see [`WRITTEN`]).
    text: Option<String>,
}

/// The files of a workspace, sorted by path.
struct Tree {
    files: Vec<File>,
}

impl Tree {
    fn read(root: &Path) -> Result<Self> {
        let read = |path: String| {
            let full = root.join(&path);
            let metadata = fs::metadata(&full).with_context(|| format!("cannot see {path}"))?;
            let written = WRITTEN.iter().any(|end| path.ends_with(end));
            let text = written.then(|| fs::read_to_string(&full)).transpose();
            Ok(File {
                text: text.with_context(|| format!("cannot read {path}"))?,
                bytes: metadata.len(),
                path,
            })
        };
        let files = files(root)?.into_iter().map(read).collect::<Result<_>>()?;
        Ok(Self { files })
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }

    fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter_map(|file| Some((file.path.as_str(), file.text.as_deref()?)))
    }

    fn text(&self, path: &str) -> Option<&str> {
        let found = self.texts().find(|(other, _)| *other == path);
        found.map(|(_, text)| text)
    }

    /// The names of the crates under `crates/`, and `xtask`.
    fn crates(&self) -> Vec<&str> {
        let manifests = self
            .paths()
            .filter_map(|path| path.strip_suffix("/Cargo.toml"));
        let names = manifests.filter_map(|dir| match dir.strip_prefix("crates/") {
            Some(name) if !name.contains('/') => Some(name),
            None if dir == "xtask" => Some(dir),
            _ => None,
        });
        names.collect()
    }
}

/// The folder of a crate from [`Tree::crates`].
fn folder(name: &str) -> String {
    match name {
        "xtask" => name.to_owned(),
        _ => format!("crates/{name}"),
    }
}

/// All violations of the rules in the files under `root`, one line each.
pub(crate) fn violations(root: &Path) -> Result<Vec<String>> {
    let tree = Tree::read(root)?;
    let mut found = imports::violations(&tree);
    found.extend(style::violations(&tree));
    found.extend(profiles::violations(&tree));
    found.extend(bench::violations(root));
    Ok(found)
}

/// The paths of all files of this project under `root`, sorted.
pub(crate) fn files(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let dir = root.join(&folder);
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = match folder.as_str() {
                "" => name.clone(),
                _ => format!("{folder}/{name}"),
            };
            if entry.file_type()?.is_dir() {
                // In data/, only the sample is committed.
                let fetched = folder == "data" && name != "sample";
                let hidden = name.starts_with('.') && !HIDDEN.contains(&name.as_str());
                if !SKIPPED.contains(&name.as_str()) && !fetched && !hidden {
                    folders.push(path);
                }
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
