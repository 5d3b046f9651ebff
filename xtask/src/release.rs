//! `cargo xtask release`: creates an archive and its checksum from a clean working tree. The
//! archive contains the program (statically linked if possible), its completions and man pages, and
//! the documents for users.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use tar::{Builder, Header, HeaderMode};

use crate::programs::executable;
use crate::shell::{cargo, output, root, run, target_dir};
use crate::tidy::files;

/// Files in the archive besides the binary. Folders end in `/`.
const PACKED: [&str; 6] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "configs/",
    "data/",
];

/// Flags of rustc that link the C library into the program.
pub(crate) const STATIC: &str = "-C target-feature=+crt-static";

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

    let host = host()?;
    let binary = build(&host)?;
    let name = format!("classify-{version}-{host}");
    let mut entries = vec![(executable("classify"), fs::read(&binary)?)];
    entries.extend(shell_files(&binary)?);
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

/// Builds a release and returns its path. If possible, it needs no shared libraries on the target
/// machine.
fn build(host: &str) -> Result<PathBuf> {
    let mut build = cargo(&["build", "--release", "--locked", "-p", "cli"])?;
    let is_static = host.ends_with("-linux-gnu") || host.ends_with("-linux-musl");
    // With `--target`, the flags do not apply to build scripts and macros.
    build.args(["--target", host]);
    if is_static {
        let variable = host.to_uppercase().replace('-', "_");
        build.env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), STATIC);
    }
    run(&mut build)?;
    let release = target_dir()?.join(host).join("release");
    let binary = release.join(executable("classify"));
    if is_static {
        let needs = needed_libraries(&binary)?;
        ensure!(needs.is_empty(), "{} still needs {needs}", binary.display());
    }
    Ok(binary)
}

/// The shared libraries that a program loads, according to `ldd`.
fn needed_libraries(binary: &Path) -> Result<String> {
    let listed = Command::new("ldd").arg(binary).output()?;
    let text = String::from_utf8_lossy(&listed.stdout);
    let nothing = ["statically linked", "not a dynamic executable"];
    let libraries = text
        .lines()
        .filter(|line| !nothing.iter().any(|no| line.contains(no)));
    Ok(libraries.collect::<Vec<_>>().join(", "))
}

/// Completions and man pages. The program itself writes them.
fn shell_files(binary: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for (shell, file) in [
        ("bash", "classify.bash"),
        ("fish", "classify.fish"),
        ("zsh", "_classify"),
    ] {
        let script = output(Command::new(binary).args(["completions", shell]))?;
        found.push((
            format!("completions/{file}"),
            format!("{script}\n").into_bytes(),
        ));
    }
    let dir = tempfile::tempdir()?;
    run(Command::new(binary).arg("man").arg(dir.path()))?;
    let mut pages = fs::read_dir(dir.path())?.collect::<std::io::Result<Vec<_>>>()?;
    pages.sort_by_key(fs::DirEntry::file_name);
    for page in pages {
        let name = page.file_name().to_string_lossy().into_owned();
        found.push((format!("man/man1/{name}"), fs::read(page.path())?));
    }
    Ok(found)
}

/// Checks that the changelog has a heading for this version.
fn check_changelog(changelog: &str, version: &str) -> Result<()> {
    let headings = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## "));
    let mut versions = headings.filter_map(|heading| heading.split_whitespace().next());
    if versions.any(|found| found.trim_matches(['[', ']']) == version) {
        return Ok(());
    }
    bail!("CHANGELOG.md has no heading `## {version}`; describe its changes there");
}

/// The target triple of rustc's host.
fn host() -> Result<String> {
    let text = output(Command::new("rustc").arg("-vV").current_dir(root()?))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// Packs each entry as `folder/<path>`. Times and owners are left out, so that equal entries give
/// equal bytes. The first entry is the program.
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

/// Writes `<archive>.sha256` in the format that `sha256sum --check` reads.
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
