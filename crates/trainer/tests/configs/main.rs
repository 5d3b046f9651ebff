//! Every file in `configs/` is valid, and mnist.toml equals the built-in default.
//!
//! `configs/mnist.toml` and `docs/settings.md` are generated from `trainer::config::KEYS`, `SECTIONS` and
//! the defaults. `UPDATE_SETTINGS=1 cargo test -p trainer --features zoo --test configs` writes them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commented;
mod page;

use std::path::{Path, PathBuf};

use toml::{Table, Value};
use trainer::RunConfig;
use trainer::config::{KEYS, SECTIONS};

fn configs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}

#[test]
fn every_file_is_valid() {
    let mut count = 0;
    for entry in std::fs::read_dir(configs()).unwrap() {
        let path = entry.unwrap().path();
        RunConfig::read(&path).unwrap();
        count += 1;
    }
    assert!(count >= 5, "only {count} files in configs/");
}

#[test]
fn the_default_file_is_the_built_in_default_and_shows_every_key() {
    let path = configs().join("mnist.toml");
    assert_eq!(RunConfig::read(&path).unwrap(), RunConfig::default());
    let file: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    let built_in = toml::Table::try_from(RunConfig::default()).unwrap();
    assert_eq!(keys(&file, ""), keys(&built_in, ""));
}

/// Compares a generated file, or writes it if UPDATE_SETTINGS is set.
fn assert_generated(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_SETTINGS").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found.lines().eq(text.lines()),
        "{} is not up to date; run UPDATE_SETTINGS=1 cargo test -p trainer --features zoo --test configs",
        path.display()
    );
}

#[test]
fn the_commented_default_file_is_made_from_the_list_of_keys() {
    assert_generated(&configs().join("mnist.toml"), &commented::file());
}

#[test]
fn the_page_of_settings_is_made_from_the_list_of_keys() {
    assert_generated(&configs().join("../docs/settings.md"), &page::page());
}

#[test]
fn every_section_is_described_and_has_keys() {
    for key in KEYS.iter() {
        let top = key.path.split('.').next().unwrap();
        assert!(SECTIONS.iter().any(|(section, _)| *section == top), "{top}");
    }
    for (section, text) in SECTIONS {
        let inside = format!("{section}.");
        let has_keys = KEYS.iter().any(|key| key.path.starts_with(&inside));
        assert!(has_keys && text.ends_with('.'), "{section}: {text}");
    }
}

/// The value at a path such as `train.epochs`.
fn at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((section, rest)) => at(table.get(section)?.as_table()?, rest),
    }
}

/// A value as TOML; small numbers with an exponent.
fn written(value: &Value) -> String {
    match value {
        Value::Float(number) if *number != 0.0 && number.abs() < 1e-3 => format!("{number:e}"),
        value => value.to_string(),
    }
}

fn keys(table: &toml::Table, path: &str) -> Vec<String> {
    let mut keys: Vec<String> = table
        .iter()
        .flat_map(|(name, value)| match value.as_table() {
            Some(inner) => keys(inner, &format!("{path}{name}.")),
            None => vec![format!("{path}{name}")],
        })
        .collect();
    keys.sort();
    keys
}
