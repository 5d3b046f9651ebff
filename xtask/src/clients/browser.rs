//! Checks in a browser: the report of a run, and the server's page.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Trained;
use crate::server::Server;
use crate::shell::{root, run};

const FILES: [&str; 6] = [
    "package.json",
    "package-lock.json",
    "browser.mjs",
    "page.mjs",
    "report.mjs",
    "strokes.json",
];

/// The token of the server that asks for one.
const TOKEN: &str = "a-token-of-the-check";

/// A folder with the scripts and the packages that they import.
pub(super) struct Node(PathBuf);

impl Node {
    pub(super) fn install(dir: &Path) -> Result<Self> {
        let node = dir.join("node");
        fs::create_dir_all(&node)?;
        for file in FILES {
            copy(&root()?.join("xtask/clients").join(file), &node.join(file))?;
        }
        let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
        run(Command::new("npm").args(install).current_dir(&node))?;
        Ok(Self(node))
    }

    fn script(&self, name: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(name).current_dir(&self.0);
        command
    }
}

/// Opens the report of a run.
pub(super) fn report(dir: &Path, node: &Node, trained: &Trained) -> Result<()> {
    run(node
        .script("report.mjs")
        .arg(trained.run.join("report.html"))
        .arg(&trained.evaluation)
        .arg(dir.join("screenshots")))
}

/// Draws on the server's page, and tries pictures there. A second server has two models and asks for a
/// token.
pub(super) fn page(dir: &Path, node: &Node, classify: &Path, trained: &Trained) -> Result<()> {
    let pictures = pictures(dir, &trained.data.join("test"))?;
    let token = dir.join("token");
    fs::write(&token, TOKEN)?;
    let serve = |names: &[&str]| {
        let mut command = Command::new(classify);
        command.args(["serve", "--port", "0"]);
        for name in names {
            let mut value = OsString::from(format!("{name}="));
            value.push(&trained.weights);
            command.arg("--weights").arg(value);
        }
        command
    };
    let server = Server::start(serve(&["digits"]))?;
    let mut guarded = serve(&["first", "second"]);
    guarded.arg("--token-file").arg(&token);
    let guarded = Server::start(guarded)?;
    run(node
        .script("page.mjs")
        .arg(format!("http://{}/", server.address))
        .arg("strokes.json")
        .arg(pictures)
        .arg(dir.join("screenshots"))
        .arg(format!("http://{}/", guarded.address))
        .arg(TOKEN))?;
    guarded.stop()?;
    server.stop()
}

/// The first picture of each class, in one folder. Their names begin with the class.
fn pictures(dir: &Path, split: &Path) -> Result<PathBuf> {
    let target = dir.join("pictures");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    fs::create_dir_all(&target)?;
    for class in names(split)? {
        let names = names(&split.join(&class))?;
        let first = names.first().context("a class has no pictures")?;
        let from = split.join(&class).join(first);
        copy(&from, &target.join(format!("{class}-{first}")))?;
    }
    Ok(target)
}

/// The names in a folder that are not hidden, sorted.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}
