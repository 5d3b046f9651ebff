//! Import of Python dictionaries with the configuration of a PyTorch project.

mod data;
mod keys;
mod networks;
mod python;

use std::collections::HashMap;

use crate::RunConfig;
use crate::config::{ConfigError, MAX_FILE_BYTES, shortened};
use keys::{Meaning, meaning};
use python::{Entry, dictionary};

/// The result of importing a Python configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// Our configuration, in TOML. It is valid.
    pub toml: String,
    /// Remarks, one per line: keys without effect in their project, keys without a counterpart
    /// here, and values that only Python can compute.
    pub remarks: Vec<String>,
}

/// Translates the dictionary that a Python file assigns. Of several dictionaries, it takes the one with the most known
/// keys. The file is parsed, never run. `origin` is the file's name in errors.
///
/// ```
/// let text = "cfg = {'model_name': 'mobilenetv3', 'epochs': 3, 'k_flod': 5}";
/// let imported = trainer::import_config(text, "config.py")?;
/// assert!(imported.toml.contains("epochs = 3"));
/// assert!(imported.remarks[0].contains("k_flod"));
/// # Ok::<(), trainer::config::ConfigError>(())
/// ```
///
/// # Errors
///
/// [`ConfigError::Parse`] if the file assigns no dictionary of literals, or a value has no equivalent here. The error
/// names the line and the key.
pub fn import_config(text: &str, origin: &str) -> Result<Imported, ConfigError> {
    if text.len() as u64 > MAX_FILE_BYTES {
        let problem = format!("{} bytes; expected at most {MAX_FILE_BYTES}", text.len());
        return Err(ConfigError::parse(origin, &problem));
    }
    let entries =
        dictionary(text, keys::is_known).map_err(|problem| ConfigError::parse(origin, &problem))?;
    let (entries, mut remarks) = last_of_each(&entries, origin);
    let (body, more) = translate(&entries, origin)?;
    remarks.extend(more);
    RunConfig::from_toml(&body, origin).map_err(|error| match body.len() <= MAX_BLAMED_BYTES {
        true => blame(&entries, origin, &error),
        false => error,
    })?;
    Ok(Imported {
        toml: format!("# Translated from {origin}. Keys left out have their defaults.\n\n{body}"),
        remarks,
    })
}

/// In longer translations, the entries that cause an error are not searched for.
const MAX_BLAMED_BYTES: usize = 1 << 16;

/// The last entry of each key, as in Python. Earlier entries get a remark.
fn last_of_each<'a>(entries: &'a [Entry], origin: &str) -> (Vec<&'a Entry>, Vec<String>) {
    let lines = entries.iter().map(|entry| (entry.key.as_str(), entry));
    let last: HashMap<&str, &Entry> = lines.collect();
    let (kept, forgotten): (Vec<&Entry>, Vec<&Entry>) = entries
        .iter()
        .partition(|entry| std::ptr::eq(last[entry.key.as_str()], *entry));
    let remark = |entry: &&Entry| {
        let again = last[entry.key.as_str()].line;
        format!(
            "{}: this key is repeated on line {again}, which counts",
            place(entry, origin)
        )
    };
    let remarks = forgotten.iter().map(remark).collect();
    (kept, remarks)
}

/// The translated configuration, not yet checked, and the remarks.
fn translate(entries: &[&Entry], origin: &str) -> Result<(String, Vec<String>), ConfigError> {
    let mut settings = keys::Settings::default();
    let mut remarks = Vec::new();
    for entry in entries {
        let place = place(entry, origin);
        match meaning(&entry.key, &entry.value, &mut settings) {
            Ok(Meaning::Setting) => {}
            Ok(Meaning::Awake(why)) => {
                remarks.push(format!(
                    "{place} never did anything there ({why}); here it does"
                ));
            }
            Ok(Meaning::Dead(why)) => {
                remarks.push(format!("{place} never did anything there ({why})"));
            }
            Ok(Meaning::Foreign(what)) => remarks.push(format!("{place}: {what}")),
            Ok(Meaning::Noted(what)) => remarks.push(format!("{place}: {what}")),
            Ok(Meaning::Unknown) => {
                remarks.push(format!("{place}: this key is unknown and was left out"));
            }
            Err(problem) => {
                let value = shortened(&entry.value.to_string());
                let message = format!("{place} is {value}; {problem}");
                return Err(ConfigError::Parse {
                    origin: "cannot be translated".to_owned(),
                    message,
                });
            }
        }
    }
    let smoothing = entries.iter().find(|entry| entry.key == "label_smooth");
    if let Some(entry) = smoothing.filter(|_| settings.smooths_in_vain()) {
        let place = place(entry, origin);
        remarks.push(format!(
            "{place}: it was left out, because the focal loss here smooths no labels"
        ));
    }
    let body = settings
        .into_toml()
        .map_err(|e| ConfigError::parse(origin, &e))?;
    Ok((body, remarks))
}

fn place(entry: &Entry, origin: &str) -> String {
    format!("{origin}:{}: `{}`", entry.line, shortened(&entry.key))
}

/// Adds to an error the entries that cause it. An entry is a cause if the error disappears or changes without it.
fn blame(entries: &[&Entry], origin: &str, error: &ConfigError) -> ConfigError {
    let message = error.without_layer().to_string();
    // There are few known keys, so trying each is cheap.
    let entries = entries.iter().copied();
    let entries: Vec<&Entry> = entries.filter(|entry| keys::is_known(&entry.key)).collect();
    let is_guilty = |place: usize| {
        let others = [&entries[..place], &entries[place + 1..]].concat();
        let without =
            translate(&others, origin).and_then(|(body, _)| RunConfig::from_toml(&body, origin));
        without.map_or_else(
            |error| error.without_layer().to_string() != message,
            |_| true,
        )
    };
    let guilty = (0..entries.len()).filter(|&place| is_guilty(place));
    let places: Vec<String> = guilty.map(|at| place(entries[at], origin)).collect();
    ConfigError::Parse {
        origin: match places.is_empty() {
            true => origin.to_owned(),
            false => places.join(" with "),
        },
        message,
    }
}

#[cfg(test)]
mod tests;
