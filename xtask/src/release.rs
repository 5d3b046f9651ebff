//! `cargo xtask release`: from a clean tree to an archive and its checksum.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use tar::{Builder, Header, HeaderMode};

use crate::shell::{cargo, output, root, run, target_dir};
use crate::tidy::files;

/// What goes with the binary: files, or folders ending in `/`.
const PACKED: [&str; 6] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "configs/",
    "data/",
];

pub(crate) fn release() -> Result<()> {
    let root = root()?;
    let changes = output(
        Command::new("git")
            .args(["status", "--porcelain"])
            .current_dir(root),
    )?;
    ensure!(
        changes.is_empty(),
        "the tree is not clean; commit or remove:\n{changes}"
    );
    let version = env!("CARGO_PKG_VERSION");
    let changelog =
        fs::read_to_string(root.join("CHANGELOG.md")).context("cannot read CHANGELOG.md")?;
    check_changelog(&changelog, version)?;

    // The release profile strips the binary.
    run(&mut cargo(&[
        "build",
        "--release",
        "--locked",
        "-p",
        "cli",
    ])?)?;
    let name = format!("classify-{version}-{}", host()?);
    let binary_name = format!("classify{}", std::env::consts::EXE_SUFFIX);
    let binary = target_dir()?.join("release").join(&binary_name);
    let mut entries = vec![(binary_name, fs::read(&binary)?)];
    for path in files(root)? {
        let packed =
            |entry: &&str| path == *entry || entry.ends_with('/') && path.starts_with(*entry);
        if PACKED.iter().any(packed) {
            entries.push((path.clone(), fs::read(root.join(&path))?));
        }
    }
    for entry in PACKED {
        let found = entries.iter().any(|(path, _)| path.starts_with(entry));
        ensure!(found, "{entry} is missing, and belongs in a release");
    }

    let dist = target_dir()?.join("dist");
    fs::create_dir_all(&dist)?;
    let archive = dist.join(format!("{name}.tar.gz"));
    pack(&archive, &name, &entries)?;
    let sum = write_checksum(&archive)?;
    println!("{}", archive.display());
    println!(
        "binary {} bytes, archive {} bytes, SHA-256 {sum}",
        entries[0].1.len(),
        fs::metadata(&archive)?.len()
    );
    Ok(())
}

/// A version without a heading of its own has no news, and is not released.
fn check_changelog(changelog: &str, version: &str) -> Result<()> {
    let headings = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## "));
    let mut versions = headings.filter_map(|heading| heading.split_whitespace().next());
    if versions.any(|found| found.trim_matches(['[', ']']) == version) {
        return Ok(());
    }
    bail!("CHANGELOG.md has no heading `## {version}`; say what is new in it");
}

/// The target triple that rustc builds for.
fn host() -> Result<String> {
    let text = output(Command::new("rustc").arg("-vV").current_dir(root()?))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// Writes `folder/<path>` for each entry, without times or owners: the same
/// entries give the same bytes. The first entry is the program.
fn pack(archive: &Path, folder: &str, entries: &[(String, Vec<u8>)]) -> Result<()> {
    let file =
        File::create(archive).with_context(|| format!("cannot create {}", archive.display()))?;
    let mut builder = Builder::new(GzEncoder::new(file, Compression::best()));
    builder.mode(HeaderMode::Deterministic);
    for (index, (path, contents)) in entries.iter().enumerate() {
        let mut header = Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(if index == 0 { 0o755 } else { 0o644 });
        builder.append_data(&mut header, format!("{folder}/{path}"), contents.as_slice())?;
    }
    builder.into_inner()?.finish()?.sync_all()?;
    Ok(())
}

/// Writes `<archive>.sha256`, as `sha256sum --check` reads it.
fn write_checksum(archive: &Path) -> Result<String> {
    let digest = Sha256::digest(fs::read(archive)?);
    let sum: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = archive.file_name().context("an archive without a name")?;
    let name = name.to_string_lossy();
    let beside = archive.with_file_name(format!("{name}.sha256"));
    fs::write(beside, format!("{sum}  {name}\n"))?;
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_needs_its_heading() {
        for changelog in ["## 0.1.0\n", "# Log\n\n## [0.1.0] - 2026-01-01\n- x\n"] {
            check_changelog(changelog, "0.1.0").unwrap();
        }
        for changelog in [
            "",
            "## Unreleased\n",
            "## 0.1.01\n",
            "# 0.1.0\n",
            "see ## 0.1.0\n",
        ] {
            let error = check_changelog(changelog, "0.1.0").unwrap_err();
            assert!(error.to_string().contains("## 0.1.0"), "{error}");
        }
    }

    #[test]
    fn an_archive_holds_its_entries_and_is_the_same_every_time() {
        let dir = tempfile::tempdir().unwrap();
        let entries = [
            ("classify".to_owned(), vec![7; 100]),
            ("configs/mnist.toml".to_owned(), b"x = 1\n".to_vec()),
        ];
        let (one, two) = (dir.path().join("one-1.0.tar.gz"), dir.path().join("two"));
        pack(&one, "classify-1", &entries).unwrap();
        pack(&two, "classify-1", &entries).unwrap();
        assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());

        let mut archive =
            tar::Archive::new(flate2::read::GzDecoder::new(File::open(&one).unwrap()));
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut contents = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut contents).unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            found.push((path, entry.header().mode().unwrap(), contents));
        }
        let expected = [
            ("classify-1/classify".to_owned(), 0o755, vec![7; 100]),
            (
                "classify-1/configs/mnist.toml".to_owned(),
                0o644,
                b"x = 1\n".to_vec(),
            ),
        ];
        assert_eq!(found, expected);

        let sum = write_checksum(&one).unwrap();
        let line = fs::read_to_string(dir.path().join("one-1.0.tar.gz.sha256")).unwrap();
        assert_eq!(line, format!("{sum}  one-1.0.tar.gz\n"));
        assert_eq!(sum.len(), 64);
    }
}
