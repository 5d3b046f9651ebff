//! Layers of a configuration in TOML. Each layer is checked separately, then all are merged.

#[cfg(test)]
mod tests;

use std::path::Path;

use optim::LrScheduleConfig;
use toml::{Table, Value};

use super::keys::{check, is_tagged_section, shortened};
use super::{ConfigError, RunConfig};

/// The longest configuration file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// A limit beyond the deepest nesting of keys.
const MAX_DEPTH: usize = 8;

/// One layer of a configuration: some keys with their values, and where they come from.
///
/// ```
/// use trainer::RunConfig;
/// use trainer::config::Layer;
///
/// let file = Layer::from_toml("[train]\nepochs = 3\nseed = 3\n", "my.toml")?;
/// let arguments = Layer::from_assignments([("train.epochs", "5")], "--set")?;
/// let config = RunConfig::from_layers(&[file, arguments])?;
/// assert_eq!((config.train.epochs, config.train.seed), (5, 3));
/// # Ok::<(), trainer::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Layer {
    origin: String,
    table: Table,
}

impl Layer {
    /// A layer from TOML text; `origin` names it in errors.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming `origin`, if the text is not valid TOML or longer than
    /// [`MAX_FILE_BYTES`].
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, ConfigError> {
        if text.len() as u64 > MAX_FILE_BYTES {
            let problem = format!("{} bytes; expected at most {MAX_FILE_BYTES}", text.len());
            return Err(ConfigError::parse(origin, &problem));
        }
        let table = text.parse();
        Ok(Self {
            origin: origin.to_owned(),
            table: table.map_err(|error| ConfigError::parse(origin, &place(text, &error)))?,
        })
    }

    /// A layer from a regular file of at most [`MAX_FILE_BYTES`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming the file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        match mnist_data::read_text(path, MAX_FILE_BYTES) {
            Ok(text) => Self::from_toml(&text, &origin),
            Err(source) => Err(ConfigError::Read { origin, source }),
        }
    }

    /// A layer from keys as dotted paths, such as `train.epochs`, and values as text. A text is read as TOML if it is
    /// valid TOML; `True` and `False` are booleans; any other text is a string. If a key occurs twice, the later value
    /// is used.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming `origin` and the key, for an invalid dotted path, and for a table
    /// that is set both as a whole and by its keys.
    pub fn from_assignments<'a>(
        assignments: impl IntoIterator<Item = (&'a str, &'a str)>,
        origin: &str,
    ) -> Result<Self, ConfigError> {
        let mut table = Table::new();
        for (key, value) in assignments {
            let value = typed(value);
            assign(&mut table, key, value).map_err(|problem| {
                let key = shortened(&format!("{key:?}"));
                ConfigError::parse(origin, &format!("{key} {problem}"))
            })?;
        }
        Ok(Self {
            origin: origin.to_owned(),
            table,
        })
    }

    /// The checked table in canonical form: words as spelled in the list of keys, `schedule` as a table.
    fn spelled_out(&self, below: &Table) -> Result<Table, ConfigError> {
        let checked = check(&self.table, below);
        let mut table = checked.map_err(|problem| problem.within(&self.origin))?;
        let short = table.get("schedule").and_then(Value::as_str);
        let schedule = short.and_then(|text| text.parse().ok());
        let long = schedule.and_then(|config: LrScheduleConfig| Value::try_from(config).ok());
        table.extend(long.map(|long| ("schedule".to_owned(), long)));
        Ok(table)
    }

    /// Whether the layer sets the key at `path`.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        let mut table = &self.table;
        for name in path.split('.') {
            match table.get(name) {
                Some(Value::Table(inner)) => table = inner,
                found => return found.is_some(),
            }
        }
        true
    }
}

impl RunConfig {
    /// The defaults, overridden by these layers. Each layer overrides the ones before it.
    ///
    /// Keys missing from all layers keep their default. A layer that sets the `type` of
    /// `[optimizer]`, `[schedule]` or `[loss]` resets that section.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming the layer and the key.
    pub fn from_layers(layers: &[Layer]) -> Result<Self, ConfigError> {
        let defaults = Table::try_from(Self::default());
        let mut merged = defaults.map_err(|e| ConfigError::parse("the defaults", &e))?;
        // A key without a default may be missing from one layer if a later layer sets it.
        let mut typed = Ok(Self::default());
        for layer in layers {
            let origin = &layer.origin;
            let table = layer.spelled_out(&merged)?;
            merge(&mut merged, table, is_tagged_section);
            let now: Result<Self, _> = merged.clone().try_into();
            typed = match (typed, now) {
                (Err(first), Err(_)) => Err(first),
                (_, now) => now.map_err(|error| ConfigError::parse(origin, &untyped(&error))),
            };
        }
        let config = typed?;
        config
            .validate()
            .map_err(|problem| blame(layers, problem))?;
        Ok(config)
    }

    /// Reads a whole configuration from TOML text and validates it; see
    /// [`from_layers`](Self::from_layers).
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming `origin` and the key.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, ConfigError> {
        Self::from_layers(&[Layer::from_toml(text, origin)?])
    }

    /// Reads and validates a configuration file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming the file and the key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::from_layers(&[Layer::read(path)?])
    }
}

/// Merges `upper` into `lower`. If `upper` sets the `type` of a section that `starts_afresh`, the keys of `lower` in it
/// are discarded.
fn merge(lower: &mut Table, upper: Table, starts_afresh: fn(&str) -> bool) {
    for (name, value) in upper {
        match (lower.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above))
                if !(starts_afresh(&name) && above.contains_key("type")) =>
            {
                merge(below, above, |_| false);
            }
            (_, value) => {
                lower.insert(name, value);
            }
        }
    }
}

/// The problem, attributed to the uppermost layer that sets the key.
fn blame(layers: &[Layer], problem: ConfigError) -> ConfigError {
    let key = problem.key().unwrap_or_default();
    let ends = key.match_indices('.').map(|(end, _)| end);
    let sections = ends.rev().map(|end| &key[..end]);
    let paths = std::iter::once(key.as_str()).chain(sections);
    let guilty = paths.into_iter().find_map(|path| {
        let mut above = layers.iter().rev();
        above.find(|layer| layer.has(path))
    });
    match guilty {
        Some(layer) => problem.within(&layer.origin),
        None => problem,
    }
}

/// Reads a value from the command line: TOML, `True` or `FALSE`, or else the text itself.
fn typed(text: &str) -> Value {
    let lower = text.to_ascii_lowercase();
    let value = match &lower[..] {
        "true" | "false" => lower.parse(),
        _ => text.parse(),
    };
    value.unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Sets the value at a dotted path.
fn assign(table: &mut Table, key: &str, value: Value) -> Result<(), &'static str> {
    let plain = |name: &str| {
        let mut characters = name.chars();
        !name.is_empty() && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if !key.split('.').all(plain) || key.split('.').count() > MAX_DEPTH {
        return Err("is not a key; expected names joined by dots, such as train.epochs");
    }
    let twice = Err("is set as a whole and in part; set the one or the other");
    let (path, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut section = table;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let inner = section.entry(part).or_insert_with(|| Table::new().into());
        match inner {
            Value::Table(inner) => section = inner,
            _ => return twice,
        }
    }
    match (section.get_mut(name), value) {
        (Some(Value::Table(below)), Value::Table(above)) => merge(below, above, |_| false),
        (Some(Value::Table(_)), _) => return twice,
        (Some(_), Value::Table(_)) => return twice,
        (_, value) => {
            section.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

/// The error for a missing key that has no default. The layers' values are already checked, so this is the only
/// possible error.
fn untyped(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let text = text.trim_end();
    let missing = text.strip_prefix("missing field `").and_then(|rest| {
        let (name, section) = rest.strip_suffix('`')?.split_once("`\nin `")?;
        Some(format!("`{section}.{name}` is missing and has no default"))
    });
    missing.unwrap_or_else(|| text.replace('\n', " "))
}

/// The message for invalid TOML, with its position.
fn place(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim().replace('\n', ", ");
    let before = error.span().and_then(|span| text.get(..span.start));
    let Some(before) = before else {
        return message;
    };
    let line = before.matches('\n').count();
    let begins = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before[begins..].chars().count() + 1;
    let words = text.lines().nth(line).unwrap_or_default().trim();
    let value = words.split_once('=').map_or("", |(_, value)| value);
    let value = value.split('#').next().unwrap_or_default().trim();
    // TOML's booleans are in lower case, Python's are capitalised.
    let is_switch = matches!(typed(value), Value::Boolean(_)) && value != value.to_lowercase();
    let message = match is_switch {
        true => format!("expected {}, in lower case", value.to_lowercase()),
        false => message,
    };
    let words = shortened(words);
    format!("line {}, column {column}: {message} (`{words}`)", line + 1)
}
