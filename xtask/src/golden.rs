//! Runs the programs that generate golden data, and the tests that need minutes.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::check::EVERYTHING;
use crate::shell;
use crate::tidy::files;

/// `cargo xtask golden`: runs every `tests/golden/generate*.py`, of the workspace and of each
/// crate.
pub(crate) fn generate(python: &Path) -> Result<()> {
    let root = shell::root()?;
    let generators: Vec<_> = files(root)?
        .into_iter()
        .filter(|path| is_generator(path))
        .collect();
    if generators.is_empty() {
        bail!("no tests/golden/generate*.py under {}", root.display());
    }
    for generator in generators {
        // Without byte code, which would be written next to the committed files.
        let mut command = Command::new(python);
        command.arg("-B").arg(&generator).current_dir(root);
        shell::run(&mut command)?;
    }
    Ok(())
}

/// `cargo xtask golden-check`: compares all networks, or those of one name, with their projects' results. The tests fail
/// if nothing has the name, and list the names. `cargo xtask test` compares only the smallest network of each family.
pub(crate) fn check(family: Option<&str>) -> Result<()> {
    let mut test = shell::cargo(&["test"])?;
    test.args(EVERYTHING)
        .args(["--test", "families"])
        .env("EVERY_NETWORK", "1");
    match family {
        Some(family) => test.env("FAMILY", family),
        None => test.args(["--test", "gpu"]),
    };
    test.args(["--", "--nocapture"]);
    shell::run(&mut test)
}

/// Whether a path, relative to the root, is a program that generates golden data.
pub(crate) fn is_generator(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    (folder == "tests/golden" || folder.ends_with("/tests/golden"))
        && name.starts_with("generate")
        && name.ends_with(".py")
}
