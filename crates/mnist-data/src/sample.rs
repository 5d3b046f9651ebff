//! A labelled image file.

use std::borrow::Cow;
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};
use std::sync::Arc;

use crate::error::Result;
use crate::walk::text;

/// One image of a data set.
///
/// Samples of one folder share the folder's path, and clones of a sample share its id. So a million samples take about
/// 100 MB, and each further list of them 48 MB.
#[derive(Debug, Clone)]
pub struct Sample {
    id: Arc<str>,
    /// The file's path is this one followed by the id without its first `skip` bytes; this one alone if nothing is left
    /// of the id.
    base: Arc<Path>,
    skip: u32,
    /// The sample's weight in the loss, at least 0. A sample of weight 2 counts as much as two of weight 1.
    pub weight: f32,
    /// The index of the image's class in [`Classes`](crate::Classes).
    pub label: usize,
}

impl Sample {
    /// A sample of weight 1. See [`id`](Self::id) for the form of an id.
    #[must_use]
    pub fn new(id: String, path: PathBuf, label: usize) -> Self {
        Self {
            skip: length(&id),
            id: id.into(),
            base: path.into(),
            weight: 1.0,
            label,
        }
    }

    /// A sample whose path is `base` followed by its id.
    pub(crate) fn below(base: &Arc<Path>, id: &str, label: usize) -> Self {
        Self {
            id: id.into(),
            base: Arc::clone(base),
            skip: 0,
            weight: 1.0,
            label,
        }
    }

    /// The image's path relative to the split's folder, with `/` as separator: unique, and the same on every machine.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let rest = self.id.get(self.skip as usize..).unwrap_or_default();
        if rest.is_empty() {
            return self.base.to_path_buf();
        }
        let rest = match MAIN_SEPARATOR_STR {
            "/" => Cow::Borrowed(rest),
            separator => rest.replace('/', separator).into(),
        };
        self.base.join(&*rest)
    }

    /// The same image with `prefix` before its id.
    ///
    /// ```
    /// use mnist_data::Sample;
    ///
    /// let sample = Sample::new("cat/1.png".into(), "photos/cat/1.png".into(), 0).prefixed("train/");
    /// assert_eq!((sample.id(), sample.path()), ("train/cat/1.png", "photos/cat/1.png".into()));
    /// ```
    #[must_use]
    pub fn prefixed(self, prefix: &str) -> Self {
        Self {
            id: format!("{prefix}{}", self.id).into(),
            skip: self.skip.saturating_add(length(prefix)),
            ..self
        }
    }

    /// Refuses a file name that is not UTF-8, since its id would differ from the name.
    pub(crate) fn check_name(&self) -> Result<()> {
        if self.id.contains(char::REPLACEMENT_CHARACTER) {
            let path = self.path();
            let name = path.as_os_str();
            if !name.as_encoded_bytes().ends_with(self.id.as_bytes()) {
                return text(name.to_os_string(), &path).map(drop);
            }
        }
        Ok(())
    }
}

/// Samples are equal if their ids, paths, labels and weights are.
impl PartialEq for Sample {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, self.label, self.weight) == (&other.id, other.label, other.weight)
            && self.path() == other.path()
    }
}

/// The length in bytes. No file system has names of 4 GiB.
fn length(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_derived_from_the_id_or_kept() {
        let base: Arc<Path> = Path::new("photos").into();
        let below = Sample::below(&base, "cat/1.png", 3);
        assert_eq!(below.path(), Path::new("photos").join("cat").join("1.png"));
        let kept = Sample::new("cat/1.png".into(), below.path(), 3);
        assert_eq!(below, kept);
        assert_ne!(below, Sample::new("cat/1.png".into(), "1.png".into(), 3));
        for sample in [below, kept] {
            let path = sample.path();
            let prefixed = sample.prefixed("a/").prefixed("é/");
            assert_eq!((prefixed.id(), prefixed.path()), ("é/a/cat/1.png", path));
        }
        // A CSV file may list an absolute path.
        let absolute = std::env::temp_dir().join("1.png");
        let listed = Sample::below(&base, absolute.to_str().unwrap(), 0);
        assert_eq!(listed.path(), absolute);
    }
}
