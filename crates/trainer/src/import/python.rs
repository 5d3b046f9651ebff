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

/// The entries of the first dictionary that is assigned at the start of a line.
///
/// The error says in which line reading ended, and why.
pub(super) fn dictionary(text: &str) -> Result<Vec<Entry>, String> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let code = line.split('#').next().unwrap_or_default();
        let name = code.split(['=', ':']).next().unwrap_or_default();
        let is_name = !name.trim().is_empty()
            && name == name.trim_start()
            && name
                .trim_end()
                .chars()
                .all(|c| c.is_alphanumeric() || c == '_');
        if is_name
            && let Some(at) = code.find('=')
            && code[at + 1..].trim_start().starts_with('{')
        {
            let mut reader = Reader {
                text,
                at: start + at + 1,
            };
            return match reader.value(0)? {
                Value::Dict(entries) => Ok(entries),
                other => Err(format!("line {}: {other} is no dictionary", reader.line())),
            };
        }
        start += line.len();
    }
    Err("no line assigns a dictionary, as `cfg = {` does".to_owned())
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
            Some('{') => self.dict(depth)?,
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

    fn dict(&mut self, depth: usize) -> Result<Value, String> {
        self.takes('{');
        let mut entries = Vec::new();
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
        Ok(Value::Dict(entries))
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
        let entries = dictionary(&format!("cfg = {{'a': {value}\n}}\n")).unwrap();
        entries[0].value.clone()
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
        let text = "import os\n# cfg = {'x': 1}\nROOT = 'a'\ncfg = {  # all\n  'a': 1,\n\n  \"b\": 2, # end\n}\n";
        let entries = dictionary(text).unwrap();
        let lines: Vec<(&str, usize)> = entries.iter().map(|e| (e.key.as_str(), e.line)).collect();
        assert_eq!(lines, [("a", 5), ("b", 7)]);
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
            let message = dictionary(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
        let deep = format!("cfg = {{'a': {}", "[".repeat(100_000));
        assert!(dictionary(&deep).unwrap_err().contains("too deep"));
    }
}
