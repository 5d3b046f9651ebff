//! The settings in which runs differ.

use serde::Serialize;
use toml::{Table, Value};

use crate::Result;
use crate::material::Material;

/// A setting that is not the same in all runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key with its section, such as `train.epochs`.
    pub key: String,
    /// The value in each run, as TOML; `None` if the run's section has no such key.
    pub values: Vec<Option<String>>,
}

/// The settings that differ, in the order of the configuration file.
pub(super) fn differences(materials: &[Material]) -> Result<Vec<Setting>> {
    let tables = materials.iter().map(|material| {
        let config = material.config.as_ref().map(|(config, _)| config);
        let table = config.map(Table::try_from).transpose();
        let table = table.map_err(|error| trainer::Error::Shape(error.to_string()))?;
        Ok(Value::Table(table.unwrap_or_default()))
    });
    let tables: Vec<Value> = tables.collect::<Result<_>>()?;
    let mut found = Vec::new();
    add("", &tables.iter().map(Some).collect::<Vec<_>>(), &mut found);
    Ok(found)
}

/// Adds the differences of some values below `path`.
fn add(path: &str, values: &[Option<&Value>], found: &mut Vec<Setting>) {
    let tables: Vec<&Table> = values
        .iter()
        .flatten()
        .filter_map(|value| value.as_table())
        .collect();
    if tables.is_empty() || tables.len() < values.iter().flatten().count() {
        let is_equal = values.iter().all(|value| *value == values[0]);
        if !is_equal {
            let shown = |value: &Option<&Value>| Some((*value)?.to_string());
            found.push(Setting {
                key: path.to_owned(),
                values: values.iter().map(shown).collect(),
            });
        }
        return;
    }
    let mut names: Vec<&String> = Vec::new();
    for name in tables.iter().flat_map(|table| table.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let of = |name: &str| -> Vec<Option<&Value>> {
        let tables = values.iter().map(|value| value.and_then(Value::as_table));
        tables.map(|table| table?.get(name)).collect()
    };
    // A section of another type has other keys, which say nothing more than the type.
    let types = of("type");
    let is_mixed = types.iter().any(|kind| *kind != types[0]);
    for name in names {
        let below = of(name);
        let mut present = below.iter().flatten();
        let first = present.next();
        if is_mixed && below.contains(&None) && present.all(|value| Some(value) == first) {
            continue;
        }
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        add(&path, &below, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str]) -> Vec<(String, Vec<String>)> {
        let tables: Vec<Value> = texts
            .iter()
            .map(|text| Value::Table(text.parse().unwrap()))
            .collect();
        let mut found = Vec::new();
        add("", &tables.iter().map(Some).collect::<Vec<_>>(), &mut found);
        let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let setting =
            |setting: Setting| (setting.key, setting.values.into_iter().map(shown).collect());
        found.into_iter().map(setting).collect()
    }

    #[test]
    fn only_differences_are_listed() {
        assert_eq!(found(&["a.b = 1\na.c = 'x'", "a.b = 1\na.c = 'x'"]), []);
        let expected = |key: &str, values: &[&str]| {
            (
                key.to_owned(),
                values
                    .iter()
                    .map(|value| (*value).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            found(&[
                "a.b = 1\na.c = 'x'\nd = 1",
                "a.b = 2\na.c = 'x'",
                "a.b = 1\na.c = 'y'\nd = 1"
            ]),
            [
                expected("a.b", &["1", "2", "1"]),
                expected("a.c", &["\"x\"", "\"x\"", "\"y\""]),
                expected("d", &["1", "-", "1"]),
            ]
        );
        // The momentum of the only run with that type says nothing.
        assert_eq!(
            found(&[
                "o = { type = 'sgd', momentum = 0.9 }",
                "o = { type = 'adam' }"
            ]),
            [expected("o.type", &["\"sgd\"", "\"adam\""])]
        );
        assert_eq!(
            found(&[
                "o = { type = 'sgd', momentum = 0.9 }",
                "o = { type = 'adam' }",
                "o = { type = 'sgd', momentum = 0.8 }"
            ]),
            [
                expected("o.momentum", &["0.9", "-", "0.8"]),
                expected("o.type", &["\"sgd\"", "\"adam\"", "\"sgd\""]),
            ]
        );
        // A table in one run, a word in another.
        assert_eq!(
            found(&["e = 'none'", "e = { decay = 0.9 }"]),
            [expected("e", &["\"none\"", "{ decay = 0.9 }"])]
        );
    }
}
