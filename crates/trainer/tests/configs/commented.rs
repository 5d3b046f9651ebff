//! Writes the built-in default as a file with a comment for each key.

use toml::Table;
use trainer::RunConfig;
use trainer::config::{KEYS, Key, SECTIONS};

use super::{at, written};

/// The longest line with a comment after its value.
const BESIDE: usize = 120;
/// The longest line of a comment above its key.
const ABOVE: usize = 110;

const HEAD: &str = "\
# The default recipe: MobileNetV3 small on MNIST at 32 pixels, minutes on two cores.
#
#   classify train                       runs this configuration
#   classify train --set train.epochs=1  changes one setting
#
# All keys are optional; these values are also the built-in defaults. docs/settings.md lists every key.
# This file is generated; see docs/adding.md.
";

/// A key with its value, and its comment.
struct Line {
    code: String,
    text: &'static str,
}

pub(super) fn file() -> String {
    let built_in = Table::try_from(RunConfig::default()).unwrap();
    let mut file = HEAD.to_owned();
    write_lines(&mut file, &lines(&built_in, ""));
    for (section, text) in SECTIONS {
        if at(&built_in, section).is_some_and(toml::Value::is_table) {
            file.push('\n');
            write_comment(&mut file, text);
            file.push_str(&format!("[{section}]\n"));
            write_lines(&mut file, &lines(&built_in, section));
        }
    }
    file
}

/// The keys of a section that have a value in the built-in default, in the order of `KEYS`.
fn lines(built_in: &Table, section: &str) -> Vec<Line> {
    let of = at(built_in, &format!("{section}.type")).and_then(|of| of.as_str());
    let line = |key: &Key| {
        let (parent, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        let belongs = key.types.is_empty() || of.is_some_and(|of| key.types.contains(&of));
        let value = at(built_in, key.path).filter(|value| !value.is_table());
        let value = value.filter(|_| parent == section && belongs)?;
        Some(Line {
            code: format!("{name} = {}", written(value)),
            text: key.text,
        })
    };
    KEYS.iter().filter_map(line).collect()
}

/// Short comments are written after their values, in one column. Longer ones are written above, after an empty line.
fn write_lines(file: &mut String, lines: &[Line]) {
    let width = |line: &Line| line.code.chars().count();
    let column = lines.iter().map(width).max().unwrap_or(0) + 2;
    for (index, line) in lines.iter().enumerate() {
        let room = BESIDE - column - 2;
        if line.text.contains('\n') || line.text.chars().count() > room {
            if index > 0 || file.ends_with("#\n") || !file.ends_with("]\n") {
                file.push('\n');
            }
            write_comment(file, line.text);
            file.push_str(&format!("{}\n", line.code));
        } else {
            file.push_str(&format!("{:column$}# {}\n", line.code, line.text));
        }
    }
}

fn write_comment(file: &mut String, text: &str) {
    for paragraph in text.lines() {
        let words = paragraph.trim_start();
        let indent = &paragraph[..paragraph.len() - words.len()];
        let mut line = format!("#{indent}");
        for word in units(words) {
            if line.chars().count() + 1 + word.chars().count() > ABOVE {
                file.push_str(&line);
                file.push('\n');
                line = format!("#{indent}{indent}");
            }
            line.push(' ');
            line.push_str(&word);
        }
        file.push_str(&line);
        file.push('\n');
    }
}

/// Splits a text into words. An example in braces is one word.
fn units(text: &str) -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match units.last_mut() {
            Some(open) if open.contains('{') && !open.contains('}') => {
                open.push(' ');
                open.push_str(word);
            }
            _ => units.push(word.to_owned()),
        }
    }
    units
}
