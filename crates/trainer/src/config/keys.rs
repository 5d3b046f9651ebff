//! Checks a configuration layer against the list of keys.

use std::fmt;

use toml::{Table, Value};

use super::ConfigError;
use super::list::{KEYS, MOST};
use super::words::{meant, suggestion};

/// Sections whose keys depend on their `type`. A layer that sets the `type` discards all keys of lower layers in that
/// section.
const TAGGED: [&str; 3] = ["optimizer", "schedule", "loss"];

/// The most words that a message lists.
const LISTED: usize = 30;

/// The most characters of a value in a message.
const SHOWN: usize = 60;

/// Whether the keys of the section `name` depend on its `type`.
pub(super) fn is_tagged_section(name: &str) -> bool {
    TAGGED.contains(&name)
}

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key with its section, such as `train.epochs`.
    pub path: &'static str,
    /// The `type`s of the section that have this key; empty if all have it.
    pub types: &'static [&'static str],
    /// The valid values of the key.
    pub kind: Kind,
    /// The key's purpose, for the documentation.
    pub text: &'static str,
}

/// The valid values of a key. [`Display`](fmt::Display) describes them.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`; an operation of `[augment]` may also be a table of its keys.
    Switch,
    /// A whole number between these two, inclusive.
    Whole(u64, u64),
    /// A finite number that satisfies a condition, given as a description and a function.
    Number(&'static str, fn(f64) -> bool),
    /// Text that is not empty.
    Text,
    /// One of these words, in any letter case, with `-` for `_` or without.
    OneOf(fn() -> Vec<String>),
    /// A list of values of one kind; without a length, of any length.
    List(Option<usize>, &'static Kind),
    /// A table; its keys are separate entries of the list.
    Section,
    /// A table in which every key has a default. `true` means an empty table.
    Defaults,
    /// This word in any letter case, or a value of this kind. With [`Kind::Defaults`], `false` means the word.
    Or(&'static str, &'static Kind),
    /// Any value that the function accepts; its error describes the valid values.
    Read(fn(&Value) -> Result<(), String>),
}

impl Key {
    /// A key that exists for every `type` of its section.
    pub(super) const fn new(path: &'static str, kind: Kind, text: &'static str) -> Self {
        let types = &[];
        Self {
            path,
            types,
            kind,
            text,
        }
    }
}

impl Kind {
    /// The value in its canonical spelling. If it is not of this kind, the error describes the valid values.
    ///
    /// The only conversions are whole numbers to floating point, and words to their spelling in the list.
    fn read(self, value: &Value) -> Result<Value, String> {
        let fits = match (self, value) {
            (Self::Read(read), value) => return read(value).map(|()| value.clone()),
            (Self::Or(word, kind), value) => {
                let is_word = match value {
                    Value::String(text) => text.eq_ignore_ascii_case(word),
                    value => *value == Value::Boolean(false) && matches!(kind, Self::Defaults),
                };
                return match is_word {
                    true => Ok(word.into()),
                    false => kind.read(value).map_err(|_| self.to_string()),
                };
            }
            (Self::OneOf(words), Value::String(text)) => {
                let words = words();
                let near = || format!("{self}{}", suggestion(text, &words));
                return meant(text, &words).map(Value::String).ok_or_else(near);
            }
            (Self::Defaults, Value::Boolean(true)) => return Ok(Table::new().into()),
            (Self::Switch, Value::Boolean(_)) => true,
            (Self::Whole(least, most), Value::Integer(number)) => {
                u64::try_from(*number).is_ok_and(|number| (least..=most).contains(&number))
            }
            (Self::Number(_, fits), Value::Float(number)) => number.is_finite() && fits(*number),
            (Self::Number(_, fits), Value::Integer(number)) => {
                let float = *number as f64;
                float as i128 == i128::from(*number) && fits(float)
            }
            (Self::Text, Value::String(text)) => !text.is_empty(),
            (Self::List(length, kind), Value::Array(values)) => {
                length.is_none_or(|length| length == values.len())
                    && values.iter().all(|value| kind.read(value).is_ok())
            }
            _ => false,
        };
        match fits {
            true => Ok(value.clone()),
            false => Err(self.to_string()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.write_str("true or false"),
            Self::Whole(least, MOST) => write!(f, "a whole number, at least {least}"),
            Self::Whole(least, most) if least + 1 == *most => write!(f, "{least} or {most}"),
            Self::Whole(least, most) => {
                write!(f, "a whole number, at least {least} and at most {most}")
            }
            Self::Number(words, _) => f.write_str(words),
            Self::Text => f.write_str("text that is not empty, in quotes"),
            Self::OneOf(words) => match words() {
                words if words.len() <= LISTED => write!(f, "one of {}", words.join(", ")),
                words => write!(f, "one of {}, …", words[..3].join(", ")),
            },
            Self::List(Some(length), kind) => write!(f, "a list of {length}, each {kind}"),
            Self::List(None, kind) => write!(f, "a list, each {kind}"),
            Self::Section => f.write_str("a table of its keys"),
            Self::Defaults => f.write_str("true, false or a table of its keys"),
            Self::Or(word, kind) => write!(f, "{kind}, or \"{word}\""),
            // The error for an invalid value.
            Self::Read(read) => {
                f.write_str(&read(&Value::Boolean(false)).err().unwrap_or_default())
            }
        }
    }
}

/// Refuses unknown keys and invalid values; returns the layer with its words in their canonical
/// spelling.
///
/// `layer` is one layer of a configuration, and may lack any key; `below` is the merge of the lower
/// layers, which may set the `type` of its sections.
pub(super) fn check(layer: &Table, below: &Table) -> Result<Table, ConfigError> {
    check_section(layer, "", None, below)
}

/// Checks the section at `path`, which may have a `type`.
fn check_section(
    section: &Table,
    path: &str,
    of: Option<&str>,
    below: &Table,
) -> Result<Table, ConfigError> {
    // The `type` is checked first, since a wrong one would make the other keys look wrong.
    let first = section.iter().filter(|(name, _)| *name == "type");
    let mut checked = Table::new();
    for (name, value) in first.chain(section) {
        // A quoted key may contain dots.
        if name.contains('.') {
            return Err(unknown(&join(path, &format!("{name:?}")), path, of));
        }
        let full = join(path, name);
        let value = match (value, section_path(&full), find(&full, of)) {
            (Value::Table(inner), Some(_), _) => {
                let of = type_of(inner, &full, below);
                check_section(inner, &full, of.as_deref(), below)?.into()
            }
            (value, Some(section), key) => section_value(section, key, value)?,
            (value, None, Some(key)) => {
                let read = key.kind.read(value);
                read.map_err(|expected| invalid(key.path, value, expected))?
            }
            (_, None, None) => return Err(unknown(&full, path, of)),
        };
        checked.insert(name.clone(), value);
    }
    Ok(checked)
}

/// Reads a section that is not written as a table, such as a short text.
fn section_value(
    path: &'static str,
    key: Option<&'static Key>,
    value: &Value,
) -> Result<Value, ConfigError> {
    let read = key.map(|key| key.kind.read(value));
    if let Some(Ok(read)) = read {
        return Ok(read);
    }
    let type_key = find(&join(path, "type"), None);
    if let (Some(kind @ Kind::OneOf(types)), Value::String(text)) =
        (type_key.map(|key| key.kind), value)
    {
        let types = types();
        // The name of a type means a section with only that `type`.
        if let Some(of) = meant(text, &types) {
            return Ok(Table::from_iter([("type".to_owned(), of.into())]).into());
        }
        let expected = match read {
            Some(Err(expected)) => expected,
            _ => kind.to_string(),
        };
        let near = suggestion(text, &types);
        return Err(invalid(path, value, expected + &near));
    }
    let expected = match key.map(|key| key.kind) {
        Some(Kind::Switch) => "true, false or a table of its keys".to_owned(),
        Some(kind) => kind.to_string(),
        None => Kind::Section.to_string(),
    };
    let such_as = match example(path) {
        Some(example) => format!(", such as {example}"),
        None => format!(" ({})", names(path, None).join(", ")),
    };
    Err(invalid(path, value, expected + &such_as))
}

/// A typical key and value of a section, as an example.
fn example(section: &str) -> Option<&'static str> {
    Some(match section {
        "data" => "data.root = \"photos\"",
        "model" => "model.name = \"mobilenet_v2\"",
        "train" => "train.epochs = 3",
        "loss" => "loss.type = \"focal\"",
        "augment" => "augment.preset = \"photos\"",
        "mix" => "mix.mixup_alpha = 0.2",
        "optimizer" => "optimizer.type = \"adam\"",
        "schedule" => "schedule.type = \"cosine\"",
        "warmup" => "warmup.epochs = 1",
        "ema" => "ema.decay = 0.999",
        "distillation" => "distillation.teacher = \"teacher.safetensors\"",
        _ => return None,
    })
}

/// The `type` of the section at `path`, from this layer or a lower one.
fn type_of(section: &Table, path: &str, below: &Table) -> Option<String> {
    if !is_tagged_section(path) {
        return None;
    }
    let named = section.get("type");
    let named = named.or_else(|| below.get(path)?.get("type"))?;
    let read = find(&join(path, "type"), None)?.kind.read(named);
    read.ok()?.as_str().map(str::to_owned)
}

fn find(path: &str, of: Option<&str>) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path && is_of(key, of))
}

fn is_of(key: &Key, of: Option<&str>) -> bool {
    key.types.is_empty() || of.is_none_or(|of| key.types.contains(&of))
}

/// The path, if keys exist below it.
fn section_path(path: &str) -> Option<&'static str> {
    KEYS.iter().find_map(|key| {
        let rest = key.path.strip_prefix(path)?;
        rest.starts_with('.').then(|| &key.path[..path.len()])
    })
}

fn invalid(key: &'static str, value: &Value, expected: String) -> ConfigError {
    ConfigError::Invalid {
        key,
        found: shortened(&value.to_string()),
        expected,
    }
}

/// The text, shortened if it is long.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn unknown(full: &str, path: &str, of: Option<&str>) -> ConfigError {
    let names = names(path, of);
    let near = names.iter().map(|name| join(path, name));
    let all = KEYS.iter().map(|key| key.path.to_owned());
    let name = last(full);
    let close = (name.chars().count() / 3).max(1);
    let nearest = near
        .chain(all)
        // A name of thousands of characters cannot be similar to any key.
        .filter(|candidate| last(candidate).len().abs_diff(name.len()) <= close)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(name, last(&candidate)),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= close && candidate != full)
        .min_by_key(|(distance, _)| *distance);
    let section = match (path, of) {
        ("", _) => "a configuration".to_owned(),
        (path, None) => format!("[{path}]"),
        (path, Some(of)) => format!("[{path}] of type \"{of}\""),
    };
    ConfigError::UnknownKey {
        key: shortened(full),
        hint: match nearest {
            Some((_, candidate)) => format!("did you mean `{candidate}`?"),
            None => format!("{section} has: {}", names.join(", ")),
        },
    }
}

/// The valid keys of a section, once each.
fn names(path: &str, of: Option<&str>) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS.iter().filter(|key| is_of(key, of)) {
        let rest = match path {
            "" => Some(key.path),
            path => key
                .path
                .strip_prefix(path)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let name = rest.and_then(|rest| rest.split('.').next());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

fn last(full: &str) -> &str {
    full.rsplit('.').next().unwrap_or(full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunConfig;

    fn hint(text: &str) -> String {
        let error = RunConfig::from_toml(text, "a.toml").unwrap_err();
        error.to_string()
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_file_and_neighbour() {
        let message = hint("[data]\nbatch_sise = 3\n");
        for said in [
            "a.toml",
            "`data.batch_sise`",
            "did you mean `data.batch_size`?",
        ] {
            assert!(message.contains(said), "{message}");
        }
        assert!(hint("[trian]\n").contains("did you mean `train`?"));
    }

    #[test]
    fn a_key_in_the_wrong_section_is_sent_to_the_right_one() {
        assert!(hint("[train]\nbatch_size = 3\n").contains("`data.batch_size`"));
        assert!(hint("epochs = 3\n").contains("`train.epochs`"));
    }

    #[test]
    fn a_key_like_no_other_gets_the_list() {
        assert!(hint("[warp]\n").contains("a configuration has: data, model, train"));
        assert!(hint("[model]\nquantum_foam = 1\n").contains("[model] has: name, classes"));
        assert!(hint(&format!("{} = 1", "a".repeat(100_000))).len() < 500);
    }

    #[test]
    fn a_typed_section_takes_the_keys_of_its_type_only() {
        let sgd = "[optimizer]\ntype = \"sgd\"\nmomentum = 0.9\n";
        assert!(RunConfig::from_toml(sgd, "a.toml").is_ok());
        let message = hint("[optimizer]\ntype = \"adam\"\nmomentum = 0.9\n");
        assert!(message.contains("`optimizer.momentum`"), "{message}");
        // The `type` is set by a lower layer, or by none.
        let momentum = "[optimizer]\nmomentum = 0.9\n".parse().unwrap();
        assert!(check(&momentum, &Table::new()).is_ok());
        assert!(check(&momentum, &sgd.parse().unwrap()).is_ok());
    }
}
