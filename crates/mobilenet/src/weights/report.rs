//! The result of loading a weights file into a network.

use std::fmt;
use std::path::Path;

use crate::{BadNumbers, ClassRows, Error, Result, Scheme};

/// A tensor that has different shapes in file and model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Name of the tensor.
    pub name: String,
    /// Shape of the tensor in the file.
    pub file: Vec<usize>,
    /// Shape of the tensor in the model.
    pub model: Vec<usize>,
}

/// The result of loading a file into a model.
///
/// Tensors of the model have the names of the network's own project, in most families torchvision's. Other tensors have
/// the file's names. All lists are sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// The naming scheme of the file.
    pub scheme: Scheme,
    /// The prefix that all of the network's names have in the file, such as `state_dict.`.
    pub prefix: String,
    /// Loaded tensors.
    pub matched: Vec<String>,
    /// Tensors of the model that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the network in the file that the model lacks.
    pub unexpected: Vec<String>,
    /// Tensors that are in both, with different shapes.
    pub mismatched: Vec<Mismatch>,
    /// Number of tensors in the file that are not part of the network, such as optimizer states, a moving average, or a
    /// second copy.
    pub outside: usize,
    /// Whether the classifier did not fit and keeps its initial values.
    pub new_classifier: bool,
    /// The classes that take their classifier rows from the file. `None` unless both model and file have class names.
    pub classes: Option<ClassRows>,
    /// Properties that had to be assumed because the file does not contain them.
    pub assumed: Vec<String>,
    /// Tensors with unusable values. Empty except in reports from [`inspect`](crate::weights::inspect).
    pub bad_numbers: Vec<BadNumbers>,
}

impl LoadReport {
    /// Returns an error for the file at `path` if it has unusable values.
    ///
    /// # Errors
    /// [`Error::BadNumbers`] if the list is not empty.
    pub(crate) fn check_numbers(&self, path: &Path) -> Result<()> {
        if self.bad_numbers.is_empty() {
            return Ok(());
        }
        Err(Error::BadNumbers {
            path: path.into(),
            found: self.bad_numbers.clone(),
        })
    }

    /// Whether the file had exactly the tensors of the model.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.mismatched.is_empty() && self.unexpected.is_empty()
    }

    /// Whether a batch normalisation of the model keeps its initial running statistics.
    pub fn lacks_statistics(&self) -> bool {
        let mismatched = self.mismatched.iter().map(|mismatch| &mismatch.name);
        self.missing.iter().chain(mismatched).any(|name| {
            let of_a_layer = name.rsplit_once('.').map(|(_, last)| last);
            matches!(of_a_layer, Some("running_mean" | "running_var"))
        })
    }
}

/// Maximum number of names listed of each kind.
const LISTED: usize = 12;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} names", self.scheme)?;
        if !self.prefix.is_empty() {
            write!(f, " with prefix \"{}\"", self.prefix)?;
        }
        write!(
            f,
            ": {} tensors matched, {} missing, {} unexpected, {} of another shape",
            self.matched.len(),
            self.missing.len(),
            self.unexpected.len(),
            self.mismatched.len()
        )?;
        list(f, "missing", &self.missing, Clone::clone)?;
        list(f, "unexpected", &self.unexpected, Clone::clone)?;
        list(f, "of another shape", &self.mismatched, |m| {
            format!("{} (file {:?}, model {:?})", m.name, m.file, m.model)
        })?;
        list(f, "not usable", &self.bad_numbers, |bad| {
            format!("{bad} ({} in all)", bad.count)
        })?;
        if self.outside > 0 {
            let s = if self.outside == 1 { "" } else { "s" };
            write!(
                f,
                "\n{} tensor{s} outside the network ignored",
                self.outside
            )?;
        }
        match &self.classes {
            Some(rows) => write!(f, "\n{rows}")?,
            None if self.new_classifier => {
                write!(f, "\nthe classifier starts from initial values")?
            }
            None => {}
        }
        self.assumed
            .iter()
            .try_for_each(|what| write!(f, "\nassumed: {what}"))
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    items: &[T],
    name: impl Fn(&T) -> String,
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    write!(f, "\n{what}: {}", some_of(items, name))
}

/// The first few of some names, and the number of further names.
pub(crate) fn some(names: &[String]) -> String {
    some_of(names, Clone::clone)
}

fn some_of<T>(items: &[T], name: impl Fn(&T) -> String) -> String {
    let names: Vec<String> = items.iter().take(LISTED).map(name).collect();
    let names = names.join(", ");
    match items.len().saturating_sub(LISTED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_lacking_where_one_is_missing_or_of_another_shape() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let report = |missing, mismatched: &[&str]| LoadReport {
            missing: names(missing),
            mismatched: mismatched
                .iter()
                .map(|&name| Mismatch {
                    name: name.to_owned(),
                    file: vec![8],
                    model: vec![16],
                })
                .collect(),
            ..LoadReport::default()
        };
        for (missing, mismatched, expected) in [
            (&[][..], &[][..], false),
            (&["classifier.3.bias"], &["classifier.3.weight"], false),
            (&["features.0.1.running_mean"], &[], true),
            (&[], &["features.0.1.running_var"], true),
        ] {
            let lacks = report(missing, mismatched).lacks_statistics();
            assert_eq!(lacks, expected, "{missing:?} {mismatched:?}");
        }
    }
}
