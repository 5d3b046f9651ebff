//! Rules for readable files and honest checks.

use super::code::{code_of, words};
use super::{File, Tree, folder};
use crate::bench::{PAGE, without_tables};
use crate::consumers::example;
use crate::golden::is_generator;

/// Maximum number of lines in a file. A longer file does more than one thing. The guideline is
/// about 400 lines. The tables of measurements in docs/performance.md do not count: nobody writes
/// them, and each processor adds one.
const MAX_LINES: usize = 450;

/// Maximum size of all golden data, so that cloning the repository stays fast. Only results are
/// stored, because the tests and the generators both compute the inputs.
const MAX_GOLDEN_BYTES: u64 = 3_100_000;

/// Words that promise later work. They are split here, so that this file passes the check.
const PROMISES: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// Macros that write to a terminal.
const PRINTING: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

pub(super) fn violations(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree.texts() {
        text_rules(path, text, &mut found);
        if path.ends_with(".rs") {
            code_rules(path, &code_of(text), &mut found);
        }
    }
    crate_rules(tree, &mut found);
    golden_rules(tree, &mut found);
    // Users choose their own toolchain; rust-version in Cargo.toml sets the minimum.
    let toolchains = tree
        .paths()
        .filter(|path| matches!(*path, "rust-toolchain" | "rust-toolchain.toml"));
    found.extend(
        toolchains
            .map(|path| format!("{path}: no toolchain is pinned; rust-version sets the minimum")),
    );
    found
}

/// Finds long files, promises of later work, and whitespace that adds noise to a diff.
fn text_rules(path: &str, text: &str, found: &mut Vec<String>) {
    let lines = match path {
        PAGE => without_tables(text).count(),
        _ => text.lines().count(),
    };
    if lines > MAX_LINES {
        found.push(format!(
            "{path}: {lines} lines; split it, the most is {MAX_LINES}"
        ));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        found.push(format!("{path}: the last line has no line break"));
    }
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        if line.ends_with([' ', '\t', '\r']) {
            found.push(format!("{path}:{number}: blanks at the end of the line"));
        }
        if line.contains('\t') {
            found.push(format!("{path}:{number}: a tab; indent with spaces"));
        }
        if let Some(promise) = PROMISES.iter().find(|promise| line.contains(**promise)) {
            found.push(format!(
                "{path}:{number}: {promise}; do it, or file it where work is tracked"
            ));
        }
    }
}

fn code_rules(path: &str, code: &str, found: &mut Vec<String>) {
    let crate_name = path
        .strip_prefix("crates/")
        .and_then(|rest| rest.split('/').next());
    let is_library_source =
        path.starts_with("crates/") && path.contains("/src/") && crate_name != Some("cli");
    for (line, word) in words(code) {
        // Only one crate, the one with the kernels, is audited for memory safety.
        if word == "unsafe" && !matches!(crate_name, Some("engine" | "gpu")) {
            found.push(format!(
                "{path}:{line}: unsafe; only engine and gpu may, where a kernel needs it"
            ));
        }
        // Servers and other programs use the libraries, so libraries must report through logs and
        // traits. clippy has the same rule, but it can be disabled.
        if is_library_source && PRINTING.contains(&word) && calls_macro(code, line, word) {
            found.push(format!("{path}:{line}: {word}!; a library does not print"));
        }
    }
    for (number, text) in code.lines().enumerate() {
        // If an ignored test fails, nobody notices.
        if text.contains("#[ignore") {
            found.push(format!(
                "{path}:{}: an ignored test; make it run, or take it out",
                number + 1
            ));
        }
    }
}

fn calls_macro(code: &str, line: usize, word: &str) -> bool {
    let text = code.lines().nth(line - 1).unwrap_or("");
    text.contains(&format!("{word}!"))
}

fn crate_rules(tree: &Tree, found: &mut Vec<String>) {
    for name in tree.crates() {
        let folder = folder(name);
        // Without this line, the workspace's lints do not apply to a crate.
        let manifest = tree.text(&format!("{folder}/Cargo.toml")).unwrap_or("");
        if !manifest.contains("[lints]\nworkspace = true") {
            found.push(format!(
                "{folder}/Cargo.toml: no `[lints] workspace = true`"
            ));
        }
        // A library's documentation must start with its purpose and an example that runs.
        if tree.text(&format!("{folder}/src/lib.rs")).is_none() {
            continue;
        }
        match tree.text(&format!("{folder}/README.md")) {
            None => found.push(format!("{folder}: no README.md")),
            Some(readme) => {
                if let Err(error) = example(readme) {
                    found.push(format!("{folder}/README.md: {error}"));
                }
            }
        }
    }
}

/// Golden data must be reproducible. The README in their folder must name each file (or its folder)
/// and each generator. If there is no README, the text of a generator must do so.
fn golden_rules(tree: &Tree, found: &mut Vec<String>) {
    let mut bytes = 0;
    for File {
        path, bytes: size, ..
    } in &tree.files
    {
        let Some(at) = path.find("tests/golden/") else {
            continue;
        };
        let (folder, inside) = path.split_at(at + "tests/golden/".len());
        // Rust files are the tests that use the data.
        if inside == "README.md" || inside.ends_with(".rs") {
            continue;
        }
        if !inside.ends_with(".py") {
            bytes += size;
        }
        let readme = tree.text(&format!("{folder}README.md"));
        let generators: Vec<&str> = tree
            .texts()
            .filter(|(other, _)| is_generator(other) && other.starts_with(folder))
            .map(|(_, text)| text)
            .collect();
        if generators.is_empty() {
            found.push(format!("{path}: {folder} has no generate*.py"));
            continue;
        }
        let name = inside.split('/').next().unwrap_or(inside);
        let named = match readme {
            Some(readme) => readme.contains(name),
            None => is_generator(path) || generators.iter().any(|text| text.contains(name)),
        };
        if !named {
            found.push(format!(
                "{path}: neither README.md nor a generator in {folder} names {name}"
            ));
        }
    }
    if bytes > MAX_GOLDEN_BYTES {
        found.push(format!(
            "tests/golden: {bytes} bytes of golden data; the most is {MAX_GOLDEN_BYTES}"
        ));
    }
}
