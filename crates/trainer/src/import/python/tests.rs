//! Accepted and refused Python files.

use super::*;

fn one(value: &str) -> Value {
    let entries = any_keys(&format!("cfg = {{'a': {value}\n}}\n")).unwrap();
    entries[0].value.clone()
}

fn any_keys(text: &str) -> Result<Vec<Entry>, String> {
    dictionary(text, |_| true)
}

#[test]
fn literals_are_read_and_expressions_are_not_run() {
    let text = |text: &str| Value::Text(text.to_owned());
    for (written, read) in [
        ("1", Value::Int(1)),
        ("-3", Value::Int(-3)),
        ("1_000", Value::Int(1000)),
        ("0.", Value::Float(0.0)),
        ("1e-3", Value::Float(1e-3)),
        ("None", Value::None),
        ("True", Value::Bool(true)),
        ("\"a#b\" # c", text("a#b")),
        ("'it\\'s'", text("it's")),
        ("'C:\\data'", text("C:\\data")),
        ("'''two\nlines'''", text("two\nlines")),
        (
            "[224, 224]",
            Value::List(vec![Value::Int(224), Value::Int(224)]),
        ),
        ("(1,)", Value::List(vec![Value::Int(1)])),
        ("[]", Value::List(Vec::new())),
    ] {
        assert_eq!(one(written), read, "{written}");
    }
    for written in [
        "os.path.join('a', 'b')",
        "1 + 2",
        "'a' + b",
        "DIR",
        "f(x, [1])",
        "nan",
    ] {
        assert_eq!(one(written), Value::Expression(written.to_owned()));
    }
}

#[test]
fn the_first_dictionary_is_found_and_lines_are_counted() {
    let text = "\u{feff}import os\n# cfg = {'x': 1}\nROOT = 'a'\ncfg = {  # all\n  'a': 1,\n\n  \"b\": 2, # end\n}\n";
    let entries = any_keys(text).unwrap();
    let lines: Vec<(&str, usize)> = entries.iter().map(|e| (e.key.as_str(), e.line)).collect();
    assert_eq!(lines, [("a", 5), ("b", 7)]);
}

#[test]
fn the_dictionary_with_known_keys_is_the_configuration() {
    let cfg = "cfg = {'epochs': 1, 'loss': 'CE'}\n";
    for (before, behind) in [
        ("opts = {}\n", ""),
        (
            "names = {'a': 0, 'b': 1, 'c': 2}\n",
            "other = {'epochs': 1}\n",
        ),
        ("names = {0: 'a'}\n", "all = {**cfg}\n"),
        (
            "'''As in\ncfg = {'epochs': 1, 'loss': 1, 'x': 1}\n'''\n",
            "",
        ),
        (
            "f(\"it's\") # it's\n\"\"\"\ncfg = {\n\"\"\"\n",
            "if x == 'a\\\n",
        ),
        ("\u{feff}", ""),
    ] {
        let text = format!("{before}{cfg}{behind}");
        let entries = dictionary(&text, |key| matches!(key, "epochs" | "loss")).unwrap();
        let keys: Vec<&str> = entries.iter().map(|e| e.key.as_str()).collect();
        assert_eq!(keys, ["epochs", "loss"], "{text}");
        assert_eq!(entries[0].line, before.matches('\n').count() + 1, "{text}");
    }
    // Another, valid dictionary does not hide the error in the configuration's dictionary.
    let text = "a = {'epochs': 1}\ncfg = {'epochs': 1, 'loss': 'CE', 'x' 1}\nb = {'y': 1}\n";
    let message = dictionary(text, |key| key != "y").unwrap_err();
    assert!(message.contains("line 2"), "{message}");
}

#[test]
fn a_file_without_a_dictionary_is_an_error_with_its_line() {
    for (text, expected) in [
        ("", "no line assigns"),
        ("cfg = {'a': 1\n", "line 2"),
        ("cfg = {\n'a' 1}\n", "line 2"),
        ("cfg = {\n'a': 'b\n}", "never ends"),
        ("cfg = {1: 2}", "not a string"),
        ("cfg = {'a': [1 2}", "line 1"),
        ("cfg = {'a': (((", "ends"),
        ("cfg = {'a': 'b\\", "never ends"),
        ("cfg = {'a': '''b\\", "never ends"),
    ] {
        let message = any_keys(text).unwrap_err();
        assert!(message.contains(expected), "{text}: {message}");
    }
    let deep = format!("cfg = {{'a': {}", "[".repeat(100_000));
    assert!(any_keys(&deep).unwrap_err().contains("too deep"));
}
