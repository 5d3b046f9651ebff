//! Unpacks IDX files into class folders of PNG images.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::catalogue::{TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS};
use crate::error::{Error, Result};
use crate::idx::{IdxImages, IdxLabels, read_pair};
use crate::progress::{Progress, Unit};
use crate::split::{Validation, split_validation};
use crate::{atomic, folder};
use files::Checksum;

/// The sub-folder of the training split.
pub const TRAIN: &str = "train";
/// The sub-folder of the validation split.
pub const VALIDATION: &str = "val";
/// The sub-folder of the test split.
pub const TEST: &str = "test";

/// The name of the record of unpacked files and options. The record is written last, so if it exists, all images exist.
const MANIFEST: &str = ".unpacked.json";

/// Options of [`unpack`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnpackOptions {
    /// Which training images become the validation split.
    pub validation: Validation,
    /// The folder name of each label; `None` uses the labels' numbers. For the known data sets,
    /// [`DatasetName::class_names`](crate::DatasetName::class_names) has the names.
    pub class_names: Option<Vec<String>>,
}

/// The result of [`unpack`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackReport {
    /// The folder name of each label.
    pub class_names: Vec<String>,
    /// The number of training images.
    pub train: usize,
    /// The number of validation images.
    pub validation: usize,
    /// The number of test images.
    pub test: usize,
    /// The number of images written now; 0 if all were present.
    pub written: usize,
}

/// Turns the four IDX files in `idx_dir` (plain or `.gz`) into
/// `out_dir/{train,val,test}/<class>/<index>.png`: lossless gray images, named
/// by their index in the IDX file.
///
/// A second run writes only missing images. A run with other files or options first removes the previous run's images,
/// and nothing else. If another process is unpacking into `out_dir`, this one waits and then uses those images.
///
/// # Errors
/// Errors for invalid IDX files and options, and [`Error::Occupied`] if `out_dir` has splits that `unpack` did not
/// make.
pub fn unpack(
    idx_dir: &Path,
    out_dir: &Path,
    options: &UnpackOptions,
    progress: &dyn Progress,
) -> Result<UnpackReport> {
    let (images, labels) = read_pair(
        &find_idx(idx_dir, TRAIN_IMAGES)?,
        &find_idx(idx_dir, TRAIN_LABELS)?,
    )?;
    let (test_images, test_labels) = read_pair(
        &find_idx(idx_dir, TEST_IMAGES)?,
        &find_idx(idx_dir, TEST_LABELS)?,
    )?;
    let class_names = class_names(options, &[&labels, &test_labels])?;
    let (train, held_out) = split_validation(labels.as_slice(), &options.validation)?;

    let mut jobs = jobs_of(TRAIN, &images, &labels, &train, &class_names);
    jobs.extend(jobs_of(
        VALIDATION,
        &images,
        &labels,
        &held_out,
        &class_names,
    ));
    let all_test: Vec<usize> = (0..test_images.count()).collect();
    jobs.extend(jobs_of(
        TEST,
        &test_images,
        &test_labels,
        &all_test,
        &class_names,
    ));

    let manifest = Manifest {
        train: contents(&images, &labels),
        test: contents(&test_images, &test_labels),
        validation: options.validation.clone(),
        class_names: class_names.clone(),
        complete: false,
    };
    Ok(UnpackReport {
        class_names,
        train: train.len(),
        validation: held_out.len(),
        test: all_test.len(),
        written: write(&jobs, out_dir, manifest, progress)?,
    })
}

/// Writes the missing images; returns their number.
fn write(
    jobs: &[Job<'_>],
    out_dir: &Path,
    manifest: Manifest,
    progress: &dyn Progress,
) -> Result<usize> {
    // If no image is missing, nothing is written: the folder may be read-only.
    let earlier = Manifest::read(out_dir)?;
    let was_complete = earlier.is_some_and(|old| old.complete && old.describes_the_same(&manifest));
    if was_complete && missing(jobs, out_dir)?.is_empty() {
        return Ok(0);
    }
    let _lock = atomic::lock(out_dir, "unpacks into it", progress)?;
    let was_complete = claim(out_dir, &manifest, progress)?;
    prepare_folders(jobs, out_dir)?;
    let missing = missing(jobs, out_dir)?;
    if !missing.is_empty() {
        progress.start("unpack", Some(missing.len() as u64), Unit::Items);
        let written = missing.par_iter().try_for_each(|job| {
            job.write(out_dir)?;
            progress.advance(1);
            Ok(())
        });
        progress.finish();
        written?;
    }
    if !was_complete {
        Manifest {
            complete: true,
            ..manifest
        }
        .write(out_dir)?;
    }
    Ok(missing.len())
}

/// The file of this name in `dir`, plain or gzip.
fn find_idx(dir: &Path, name: &str) -> Result<PathBuf> {
    let plain = dir.join(name);
    let found = [plain.clone(), dir.join(format!("{name}.gz"))]
        .into_iter()
        .find(|path| path.exists());
    found.ok_or(Error::MissingIdx { path: plain })
}

/// The folder of each label, checked to be a valid folder name.
fn class_names(options: &UnpackOptions, labels: &[&IdxLabels]) -> Result<Vec<String>> {
    let last = labels
        .iter()
        .flat_map(|labels| labels.as_slice())
        .max()
        .copied()
        .unwrap_or(0);
    let refuse = |problem: String| {
        Err(Error::Setting {
            setting: "class_names",
            problem,
        })
    };
    let Some(names) = &options.class_names else {
        // Numbers are padded with zeros, so that names sort in label order.
        let width = last.to_string().len();
        return Ok((0..=last).map(|label| format!("{label:0width$}")).collect());
    };
    if names.len() <= usize::from(last) {
        return refuse(format!("{} names for labels up to {last}", names.len()));
    }
    if let Some(name) = names.iter().find(|name| {
        name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', ':', '\0'])
    }) {
        return refuse(format!("`{name}` cannot be a folder"));
    }
    let distinct: HashSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    if distinct.len() < names.len() {
        return refuse("two names are the same (some disks ignore letter case)".into());
    }
    Ok(names.clone())
}

/// One image to write.
struct Job<'a> {
    folder: PathBuf,
    file: String,
    rows: u32,
    cols: u32,
    pixels: &'a [u8],
}

fn jobs_of<'a>(
    split: &str,
    images: &'a IdxImages,
    labels: &IdxLabels,
    indices: &[usize],
    class_names: &[String],
) -> Vec<Job<'a>> {
    let width = images.count().saturating_sub(1).to_string().len().max(5);
    let job = |&index: &usize| Job {
        folder: Path::new(split).join(&class_names[usize::from(labels.as_slice()[index])]),
        file: format!("{index:0width$}.png"),
        rows: images.rows() as u32,
        cols: images.cols() as u32,
        pixels: images.image(index),
    };
    indices.iter().map(job).collect()
}

impl Job<'_> {
    fn write(&self, out_dir: &Path) -> Result<()> {
        let folder = out_dir.join(&self.folder);
        let path = folder.join(&self.file);
        let mut png = Vec::new();
        PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::NoFilter)
            .write_image(self.pixels, self.cols, self.rows, ExtendedColorType::L8)
            .map_err(|error| Error::BadImage {
                path: path.clone(),
                problem: error.to_string(),
            })?;
        // Images are not flushed one by one, which would take minutes. Renaming is enough, so that no name ever refers
        // to half an image.
        files::write_unsynced(&path, &png).map_err(Error::io("write", &path))
    }
}

/// Creates the class folders, and removes leftovers of killed runs.
fn prepare_folders(jobs: &[Job<'_>], out_dir: &Path) -> Result<()> {
    for folder in class_folders(jobs) {
        let path = out_dir.join(folder);
        fs::create_dir_all(&path).map_err(Error::io("create the folder", &path))?;
        files::sweep(&path).map_err(Error::io("list", &path))?;
    }
    Ok(())
}

/// The jobs whose images are missing.
fn missing<'j, 'a>(jobs: &'j [Job<'a>], out_dir: &Path) -> Result<Vec<&'j Job<'a>>> {
    let mut present = HashSet::new();
    for folder in class_folders(jobs) {
        let path = out_dir.join(&folder);
        if path.is_dir() {
            let names = folder::names(&path)?.into_iter();
            present.extend(names.map(|name| folder.join(name)));
        }
    }
    let is_missing = |job: &&Job| !present.contains(&job.folder.join(&job.file));
    Ok(jobs.iter().filter(is_missing).collect())
}

fn class_folders(jobs: &[Job<'_>]) -> HashSet<PathBuf> {
    jobs.iter().map(|job| job.folder.clone()).collect()
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// SHA-256 of the training images and labels.
    train: String,
    /// SHA-256 of the test images and labels.
    test: String,
    validation: Validation,
    class_names: Vec<String>,
    complete: bool,
}

impl Manifest {
    fn describes_the_same(&self, other: &Self) -> bool {
        (&self.train, &self.test) == (&other.train, &other.test)
            && self.validation == other.validation
            && self.class_names == other.class_names
    }

    fn write(&self, out_dir: &Path) -> Result<()> {
        let path = out_dir.join(MANIFEST);
        atomic::write(&path, |writer| {
            serde_json::to_writer_pretty(&mut *writer, self)?;
            writer.write_all(b"\n")
        })
    }

    fn read(out_dir: &Path) -> Result<Option<Self>> {
        let path = out_dir.join(MANIFEST);
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json)
                .map(Some)
                .map_err(|error| Error::Occupied {
                    path,
                    problem: format!(
                        "not a record of unpack ({error}); remove {} and start again",
                        out_dir.display()
                    ),
                }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }
}

fn contents(images: &IdxImages, labels: &IdxLabels) -> String {
    let mut checksum = Checksum::default();
    checksum.update(format!("{} {} {}\n", images.count(), images.rows(), images.cols()).as_bytes());
    checksum.update(images.pixels());
    checksum.update(labels.as_slice());
    checksum.finish()
}

/// Prepares `out_dir` for the data of `manifest`. Returns whether an earlier run has already unpacked the same data
/// completely.
fn claim(out_dir: &Path, manifest: &Manifest, progress: &dyn Progress) -> Result<bool> {
    match Manifest::read(out_dir)? {
        Some(old) if old.describes_the_same(manifest) => return Ok(old.complete),
        Some(old) => {
            progress.note(&format!(
                "{}: other files or options than before; unpacking again",
                out_dir.display()
            ));
            remove_images(out_dir, &old)?;
        }
        None => {
            let splits = [TRAIN, VALIDATION, TEST].map(|split| out_dir.join(split));
            if let Some(path) = splits.into_iter().find(|path| path.exists()) {
                return Err(Error::Occupied {
                    path,
                    problem: "was not made by unpack; remove it or choose another folder".into(),
                });
            }
        }
    }
    fs::create_dir_all(out_dir).map_err(Error::io("create the folder", out_dir))?;
    manifest.write(out_dir)?;
    Ok(false)
}

/// Removes the images that `unpack` wrote, and folders that become empty.
fn remove_images(out_dir: &Path, old: &Manifest) -> Result<()> {
    for split in [TRAIN, VALIDATION, TEST].map(|split| out_dir.join(split)) {
        for folder in old.class_names.iter().map(|class| split.join(class)) {
            if !folder.is_dir() {
                continue;
            }
            files::sweep(&folder).map_err(Error::io("list", &folder))?;
            for name in folder::names(&folder)? {
                let index = name.to_str().and_then(|name| name.strip_suffix(".png"));
                let ours = index.is_some_and(|index| {
                    !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit())
                });
                if ours {
                    let path = folder.join(name);
                    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                }
            }
            // Removing a folder fails if other files remain in it, as intended.
            let _ = fs::remove_dir(&folder);
        }
        let _ = fs::remove_dir(&split);
    }
    Ok(())
}
