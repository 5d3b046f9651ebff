//! A dictionary of literals in a Python file, read as text. Nothing is ever run.

use std::fmt;

/// A Python literal.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A list or a tuple.
    List(Vec<Value>),
    Dict(Vec<Entry>),
    /// Something that only Python can tell the value of; its own words.
    Expression(String),
}

/// `key: value` in a dictionary.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Value,
    /// Counted from 1.
    pub(super) line: usize,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Expression(words) => f.write_str(words),
            Self::Dict(_) => f.write_str("{…}"),
            Self::List(values) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "[{}]", values.join(", "))
            }
        }
    }
}

/// How deep literals may lie in each other.
const MAX_DEPTH: usize = 32;

/// The entries of the dictionary that is the configuration: of those assigned at the start of a
/// line, the one with most keys that `is_known`, else with most keys at all, else the first.
///
/// The error says in which line reading ended, and why.
pub(super) fn dictionary(
    text: &str,
    is_known: impl Fn(&str) -> bool,
) -> Result<Vec<Entry>, String> {
    let mut reader = Reader {
        text: text.trim_start_matches('\u{feff}'),
        at: 0,
    };
    let mut best = None;
    let mut most = (0, 0);
    loop {
        if let Some(at) = reader.assigned_dictionary() {
            let (line, mut entries) = (reader.at, Vec::new());
            reader.at = at;
            let read = reader.dict(0, &mut entries);
            if read.is_err() {
                reader.at = line;
            }
            // One that cannot be read counts with what was read of it, or else its fault would be
            // passed over wherever the file has another dictionary.
            let known = entries.iter().filter(|entry| is_known(&entry.key));
            let size = (known.count(), entries.len());
            if best.is_none() || size > most {
                (best, most) = (Some(read.map(|()| entries)), size);
            }
        }
        if !reader.next_line() {
            break;
        }
    }
    best.unwrap_or_else(|| Err("no line assigns a dictionary, as `cfg = {` does".to_owned()))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn line(&self) -> usize {
        self.text[..self.at].matches('\n').count() + 1
    }

    fn fail<T>(&self, problem: &str) -> Result<T, String> {
        Err(format!("line {}: {problem}", self.line()))
    }

    /// Where the dictionary begins, if the line that begins here assigns one to a name.
    fn assigned_dictionary(&self) -> Option<usize> {
        let line = self.rest().lines().next()?;
        let code = line.split('#').next()?;
        let at = code.find('=')?;
        let name = code.split(['=', ':']).next()?.trim_end();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let is_dictionary = code[at + 1..].trim_start().starts_with('{');
        (is_name && is_dictionary).then_some(self.at + at + 1)
    }

    /// Goes to the next line that does not begin within a text; false at the end of the file.
    fn next_line(&mut self) -> bool {
        loop {
            let rest = self.rest();
            match rest.chars().next() {
                None => return false,
                Some('\n') => {
                    self.at += 1;
                    return true;
                }
                Some('#') => self.at += rest.find('\n').unwrap_or(rest.len()),
                Some('"' | '\'') => {
                    // A quote that begins no text may stand wherever it likes.
                    if self.string().is_err() {
                        self.at += 1;
                    }
                }
                Some(other) => self.at += other.len_utf8(),
            }
        }
    }

    /// Passes over space and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\\');
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn takes(&mut self, token: char) -> bool {
        self.skip();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len_utf8();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return self.fail("brackets lie too deep in each other");
        }
        self.skip();
        let start = self.at;
        let value = match self.rest().chars().next() {
            None => return self.fail("the file ends where a value should be"),
            Some('{') => {
                let mut entries = Vec::new();
                self.dict(depth, &mut entries)?;
                Value::Dict(entries)
            }
            Some('[') => self.list(depth, ']')?,
            Some('(') => self.list(depth, ')')?,
            Some('"' | '\'') => Value::Text(self.string()?),
            Some(_) => self.word(),
        };
        self.skip();
        // Whatever follows a literal besides a separator makes an expression of it.
        match self.rest().chars().next() {
            None | Some(',' | ':' | '}' | ']' | ')') => Ok(value),
            Some('\n') => Ok(value),
            Some(_) if depth == 0 => Ok(value),
            Some(_) => self.expression(start),
        }
    }

    /// Adds what it reads to `entries`, so that something is there even where reading fails.
    fn dict(&mut self, depth: usize, entries: &mut Vec<Entry>) -> Result<(), String> {
        self.takes('{');
        while !self.takes('}') {
            let line = self.line();
            let key = match self.value(depth + 1)? {
                Value::Text(key) => key,
                other => return self.fail(&format!("the key {other} is no text")),
            };
            if !self.takes(':') {
                return self.fail(&format!("`:` should follow the key {key:?}"));
            }
            let value = self.value(depth + 1)?;
            entries.push(Entry { key, value, line });
            if !self.takes(',') && !self.rest().starts_with('}') {
                return self.fail("`,` or `}` should follow");
            }
        }
        Ok(())
    }

    fn list(&mut self, depth: usize, end: char) -> Result<Value, String> {
        self.at += 1;
        let mut values = Vec::new();
        while !self.takes(end) {
            values.push(self.value(depth + 1)?);
            if !self.takes(',') && !self.rest().starts_with(end) {
                return self.fail(&format!("`,` or `{end}` should follow"));
            }
        }
        Ok(Value::List(values))
    }

    fn string(&mut self) -> Result<String, String> {
        let rest = self.rest();
        let quote = &rest[..1];
        let triple = quote.repeat(3);
        let quote = if rest.starts_with(&triple) {
            triple.as_str()
        } else {
            quote
        };
        let (mut text, mut at) = (String::new(), quote.len());
        loop {
            let rest = &rest[at..];
            if rest.starts_with(quote) {
                self.at += at + quote.len();
                return Ok(text);
            }
            let mut characters = rest.chars();
            match characters.next() {
                None => return self.fail("this text never ends"),
                Some('\n') if quote.len() == 1 => return self.fail("this text never ends"),
                Some('\\') => {
                    let Some(escaped) = characters.next() else {
                        return self.fail("this text never ends");
                    };
                    match escaped {
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        '\\' | '"' | '\'' => text.push(escaped),
                        // Python keeps what it does not know, as in Windows' paths.
                        other => text.extend(['\\', other]),
                    }
                    at += 1 + escaped.len_utf8();
                }
                Some(character) => {
                    text.push(character);
                    at += character.len_utf8();
                }
            }
        }
    }

    fn word(&mut self) -> Value {
        let rest = self.rest();
        let end = rest
            .find(|c: char| c.is_whitespace() || ",:#{}[]()\"'".contains(c))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        self.at += end;
        let digits = word.replace('_', "");
        match word {
            "None" => Value::None,
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            _ => match (digits.parse(), digits.parse()) {
                (Ok(number), _) => Value::Int(number),
                (_, Ok(number))
                    if !digits.contains(char::is_alphabetic) || digits.contains(['e', 'E']) =>
                {
                    Value::Float(number)
                }
                _ => Value::Expression(word.to_owned()),
            },
        }
    }

    /// Everything from `start` to the separator that ends the expression.
    fn expression(&mut self, start: usize) -> Result<Value, String> {
        let mut open = 0usize;
        loop {
            self.skip();
            match self.rest().chars().next() {
                None => return self.fail("the file ends within an expression"),
                Some(',' | '}' | ']' | ')') if open == 0 => break,
                Some('(' | '[' | '{') => open += 1,
                Some(')' | ']' | '}') => open -= 1,
                Some('"' | '\'') => {
                    self.string()?;
                    continue;
                }
                Some(_) => {}
            }
            self.at += self.rest().chars().next().map_or(0, char::len_utf8);
        }
        Ok(Value::Expression(
            self.text[start..self.at].trim().to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
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
        // The fault of the configuration is not hidden by a dictionary that is all right.
        let text = "a = {'epochs': 1}\ncfg = {'epochs': 1, 'loss': 'CE', 'x' 1}\nb = {'y': 1}\n";
        let message = dictionary(text, |key| key != "y").unwrap_err();
        assert!(message.contains("line 2"), "{message}");
    }

    #[test]
    fn what_is_no_dictionary_is_an_error_with_its_line() {
        for (text, expected) in [
            ("", "no line assigns"),
            ("cfg = {'a': 1\n", "line 2"),
            ("cfg = {\n'a' 1}\n", "line 2"),
            ("cfg = {\n'a': 'b\n}", "never ends"),
            ("cfg = {1: 2}", "no text"),
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
}
