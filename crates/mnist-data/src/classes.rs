//! Class names and their labels.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use unicode_normalization::UnicodeNormalization;

use crate::error::{Error, Result, first_few};
use crate::regular::read_regular;

/// The longest file of class names, in bytes.
const MAX_NAMES_BYTES: u64 = 4 << 20;

/// The most classes in a message.
const LISTED: usize = 20;

/// Class names; a class's index is its label. They come from the training split (sorted) or from a weights file,
/// never from another split.
///
/// Two names are the same class if they are canonically equivalent in Unicode: macOS writes `é` as two characters,
/// other systems as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    names: Vec<String>,
    /// The labels, keyed by the name's composed form (NFC).
    labels: HashMap<String, usize>,
}

impl Classes {
    /// Class names in the order of their labels.
    ///
    /// # Errors
    /// [`Error::Setting`] for an empty list or a duplicate name.
    pub fn new(names: Vec<String>) -> Result<Self> {
        let refuse = |problem| {
            Err(Error::Setting {
                setting: "class names",
                problem,
            })
        };
        if names.is_empty() {
            return refuse("at least one is needed".into());
        }
        let mut labels = HashMap::with_capacity(names.len());
        for (label, name) in names.iter().enumerate() {
            match labels.insert(composed(name).into_owned(), label) {
                Some(first) if names[first] != *name => {
                    return refuse(same_but_composition(&names[first], name));
                }
                Some(_) => return refuse(format!("`{name}` comes twice")),
                None => {}
            }
        }
        Ok(Self { names, labels })
    }

    /// Class names from a file of at most 4 MiB, one per line, in the order of their labels. Empty lines at the end are
    /// ignored.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::NotRegular`]; [`Error::Table`] for an empty line, a duplicate name, a file without
    /// names, or one that is not UTF-8.
    pub fn read(path: &Path) -> Result<Self> {
        let at = |line: usize, problem: String| Error::Table {
            path: path.into(),
            line: line as u64,
            problem,
        };
        let text = String::from_utf8(read_regular(path, MAX_NAMES_BYTES)?).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            at(line, "is not UTF-8".into())
        })?;
        let text = text.trim_start_matches('\u{feff}').trim_end();
        let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        if names.is_empty() {
            return Err(at(
                1,
                "the file is empty, expected a class name a line".into(),
            ));
        }
        let mut lines = HashMap::with_capacity(names.len());
        for (line, name) in (1..).zip(&names) {
            if name.is_empty() {
                return Err(at(line, "is empty, expected a class name".into()));
            }
            if let Some(problem) = unusable(name) {
                return Err(at(line, problem));
            }
            if let Some(first) = lines.insert(composed(name), line) {
                let problem = match names[first - 1] == *name {
                    true => format!("class `{name}` comes twice, first on line {first}"),
                    false => same_but_composition(&names[first - 1], name),
                };
                return Err(at(line, problem));
            }
        }
        Self::new(names)
    }

    /// The names in the order of their labels.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The label of a class.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.labels.get(composed(name).as_ref()).copied()
    }

    /// The number of classes, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it never is empty")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The names, shortened for a message.
    pub(crate) fn listed(&self) -> String {
        let first = self.names[..self.len().min(LISTED)].join(", ");
        match self.len() {
            ..=LISTED => first,
            all => format!("{first}, … {all} in all"),
        }
    }

    /// Warns of names that a spreadsheet would run as formulas when it opens a table of predictions.
    pub(crate) fn warn_of_formulas(&self) {
        let formulas = self.names.iter().filter(|name| is_formula(name));
        let named = first_few(formulas.map(|name| format!("`{name}`")));
        if !named.is_empty() {
            tracing::warn!(
                "classes {named}: a spreadsheet takes such a name for a formula where it opens predictions; \
                 rename the class unless you trust it"
            );
        }
    }
}

/// The composed form (NFC) of a name.
pub(crate) fn composed(name: &str) -> Cow<'_, str> {
    match name.is_ascii() {
        true => Cow::Borrowed(name),
        false => Cow::Owned(name.nfc().collect()),
    }
}

/// The reason why a name is not allowed as a class name, if any. Names are written to tables, to files with one name
/// per line, and to terminals.
pub(crate) fn unusable(name: &str) -> Option<String> {
    let control = name.chars().any(char::is_control);
    control.then(|| format!("the class name {name:?} has control characters; rename it"))
}

/// Two equivalent names, escaped so that a message shows their difference.
pub(crate) fn same_but_composition(first: &str, second: &str) -> String {
    let shown = |name: &str| -> String {
        let escaped = |c: char| match c.is_ascii() {
            true => c.to_string(),
            false => c.escape_unicode().to_string(),
        };
        name.chars().map(escaped).collect()
    };
    format!(
        "`{first}` ({}) and `{second}` ({}) are the same class in different Unicode forms; use one form",
        shown(first),
        shown(second)
    )
}

/// Whether a text begins like a spreadsheet formula, by OWASP's list.
#[must_use]
pub fn begins_as_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// Whether a class name begins like a spreadsheet formula. Numbers such as `-1` are allowed.
fn is_formula(name: &str) -> bool {
    begins_as_formula(name) && name.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_distinguished_from_names() {
        for name in ["=cmd|' /C calc'!A0", "@SUM(1)", "+a", "-cat"] {
            assert!(is_formula(name), "{name}");
        }
        for name in ["cat", "-1", "+2.5", "a=b", "5-6", ""] {
            assert!(!is_formula(name), "{name}");
        }
    }

    #[test]
    fn a_message_lists_only_the_first_of_many_classes() {
        let many = |count: usize| Classes::new((0..count).map(|n| n.to_string()).collect());
        assert_eq!(many(3).unwrap().listed(), "0, 1, 2");
        assert!(many(20).unwrap().listed().ends_with(", 19"));
        assert!(many(21).unwrap().listed().ends_with(", 19, … 21 in all"));
    }
}
