//! The allowed dependencies between crates.

use toml::{Table, Value};

use super::code::{code_of, words};
use super::{Tree, folder};

/// The workspace crates that each crate may depend on. Dependencies go in one direction:
/// `{files, framing} -> {mnist-data, mobilenet}`, `engine -> gpu -> mobilenet`, `{mnist-data, mobilenet} -> classifier`,
/// `{classifier, optim} -> trainer -> report -> cli`, `classifier -> serve -> cli`. So every crate can be used without the crates after it. Every new crate
/// needs a line here.
const ARROWS: [(&str, &[&str]); 13] = [
    ("files", &[]),
    ("framing", &[]),
    ("engine", &[]),
    ("gpu", &["engine", "files"]),
    ("mnist-data", &["files", "framing"]),
    ("optim", &[]),
    ("mobilenet", &["engine", "files", "framing", "gpu"]),
    ("classifier", &["files", "mnist-data", "mobilenet"]),
    (
        "trainer",
        &[
            "classifier",
            "files",
            "framing",
            "mnist-data",
            "mobilenet",
            "optim",
        ],
    ),
    ("report", &["files", "framing", "mnist-data", "trainer"]),
    ("serve", &["classifier", "mnist-data"]),
    (
        "cli",
        &[
            "classifier",
            "files",
            "framing",
            "mnist-data",
            "mobilenet",
            "optim",
            "report",
            "serve",
            "trainer",
        ],
    ),
    // xtask builds in seconds, because it depends on no other crate of the workspace.
    ("xtask", &[]),
];

/// Further dependencies that are allowed only in a crate's examples and tests.
const TEST_ARROWS: [(&str, &[&str]); 4] = [
    ("gpu", &["optim"]),
    ("mobilenet", &["optim"]),
    ("serve", &["mobilenet"]),
    ("trainer", &["gpu"]),
];

/// The crates that other projects can use.
const LIBRARIES: &[&str] = &[
    "classifier",
    "engine",
    "files",
    "framing",
    "gpu",
    "mnist-data",
    "mobilenet",
    "optim",
    "report",
    "serve",
    "trainer",
];

/// Registry crates, by prefix of their name, that some workspace crates must not use.
const BARRED: [(&str, &[&str], &str); 3] = [
    (
        "candle",
        &[
            "engine",
            "files",
            "framing",
            "gpu",
            "mnist-data",
            "optim",
            "report",
            "xtask",
        ],
        "these work on bytes and slices, for projects with another tensor library, and build in seconds",
    ),
    ("clap", LIBRARIES, "a library does not own a command line"),
    (
        "indicatif",
        LIBRARIES,
        "a library reports progress through a trait and does not own a terminal",
    ),
];

pub(super) fn violations(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for name in tree.crates() {
        let manifest = format!("{}/Cargo.toml", folder(name));
        let Some(Ok(table)) = tree.text(&manifest).map(str::parse::<Table>) else {
            found.push(format!("{manifest}: is not TOML"));
            continue;
        };
        let Some((_, arrows)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            found.push(format!(
                "{manifest}: {name} is missing in tidy's ARROWS; add it there"
            ));
            continue;
        };
        let for_tests = TEST_ARROWS.iter().find(|(from, _)| *from == name);
        for (kind, dependency) in dependencies(&table) {
            let known = ARROWS.iter().any(|(other, _)| *other == dependency);
            let for_tests = kind == "dev-dependencies"
                && for_tests.is_some_and(|(_, to)| to.contains(&&*dependency));
            if known && !for_tests && !arrows.contains(&&*dependency) {
                found.push(format!(
                    "{manifest}: {name} must not import {dependency}; imports run one way"
                ));
            }
            if let Some(reason) = barred(name, &dependency) {
                found.push(format!(
                    "{manifest}: {name} must not import {dependency}: {reason}"
                ));
            }
        }
        found.extend(uses(tree, name));
    }
    found
}

/// The crates that a crate uses. The manifest lists the dependencies. The source is read too, because a re-export
/// (`trainer::candle_core`) or a renamed package would evade the rule.
fn uses(tree: &Tree, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let source = format!("{}/", folder(name));
    for (path, text) in tree.texts() {
        let ours = path.starts_with(&source) && !is_nested(tree, &source, path);
        if !ours || !path.ends_with(".rs") {
            continue;
        }
        let code = code_of(text);
        for (line, word) in words(&code) {
            // candle_core in code is called candle-core in a manifest.
            let package = word.replace('_', "-");
            if let Some(reason) = barred(name, &package)
                && is_path(&code, line, word)
            {
                found.push(format!(
                    "{path}:{line}: {name} must not import {package}: {reason}"
                ));
            }
        }
    }
    found
}

/// Whether a file under `source` belongs to a nested package with a manifest, such as the programs in `xtask/peers`.
fn is_nested(tree: &Tree, source: &str, path: &str) -> bool {
    tree.paths()
        .filter_map(|path| path.strip_suffix("Cargo.toml"))
        .any(|folder| folder.len() > source.len() && path.starts_with(folder))
}

/// Whether this word in this line is the name of a crate. A word without a path may be a variable.
fn is_path(code: &str, line: usize, word: &str) -> bool {
    let text = code.lines().nth(line - 1).unwrap_or("");
    text.contains(&format!("{word}::")) || text.contains(&format!("use {word}"))
}

fn barred(name: &str, dependency: &str) -> Option<&'static str> {
    // The name anyhow must match exactly. anyhow is refused because it hides the type of an error.
    let is_library = !matches!(name, "cli" | "xtask");
    if is_library && dependency == "anyhow" {
        return Some("a library's errors are types that a caller can match");
    }
    let rule = |(start, names, _): &&(&str, &[&str], &str)| {
        dependency.starts_with(start) && names.contains(&name)
    };
    BARRED.iter().find(rule).map(|(_, _, reason)| *reason)
}

/// The real name of each dependency, and the kind of table that lists it.
fn dependencies(manifest: &Table) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    for table in std::iter::once(manifest).chain(targets) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let listed = table.get(kind).and_then(Value::as_table);
            for (name, value) in listed.into_iter().flatten() {
                let package = value.get("package").and_then(Value::as_str);
                found.push((kind, package.unwrap_or(name).to_owned()));
            }
        }
    }
    found
}
