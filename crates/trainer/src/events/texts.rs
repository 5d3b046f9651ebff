//! How the fields of events that hold paths and reports are serialised.

use std::path::{Path, PathBuf};

use mobilenet::LoadReport;
use serde::{Serialize, Serializer};

/// A path as text. Bytes that are not UTF-8 are replaced, so that every event can be written.
pub(super) fn path<S: Serializer>(
    path: &Path,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

pub(super) fn some_path<S: Serializer>(
    path: &Option<PathBuf>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    match path {
        Some(path) => self::path(path, serializer),
        None => serializer.serialize_none(),
    }
}

/// A report of loaded weights in numbers of tensors.
pub(super) fn loaded<S: Serializer>(
    report: &LoadReport,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Counts<'a> {
        matched: usize,
        missing: usize,
        unexpected: usize,
        mismatched: usize,
        new_classifier: bool,
        assumed: &'a [String],
    }
    Counts {
        matched: report.matched.len(),
        missing: report.missing.len(),
        unexpected: report.unexpected.len(),
        mismatched: report.mismatched.len(),
        new_classifier: report.new_classifier,
        assumed: &report.assumed,
    }
    .serialize(serializer)
}
