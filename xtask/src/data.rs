//! Creates development data with release builds of this project's programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::programs::{classify, example};
use crate::shell::{root, run};

/// `cargo xtask fetch`: downloads data sets to the folders that `classify` uses.
pub(crate) fn fetch(names: &[String]) -> Result<()> {
    fetch_by(&classify()?, names)
}

/// Downloads data sets with a program that is already built.
pub(crate) fn fetch_by(classify: &Path, names: &[String]) -> Result<()> {
    for name in names {
        let mut command = Command::new(classify);
        run(command.args(["fetch", name]).current_dir(root()?))?;
    }
    Ok(())
}

/// `cargo xtask sample`
pub(crate) fn sample() -> Result<()> {
    fetch(&["mnist".into()])?;
    let mut command = Command::new(example("mnist-data", "sample")?);
    command.arg(idx_dir("mnist")?);
    run(command.arg(root()?.join("data/sample")))
}

/// `cargo xtask photos`
pub(crate) fn photos(dir: &Path) -> Result<()> {
    run(Command::new(example("mnist-data", "textures")?).arg(dir))
}

/// The folder of a data set after `classify fetch`.
pub(crate) fn idx_dir(name: &str) -> Result<PathBuf> {
    Ok(root()?.join("data").join(name).join("idx"))
}
