//! Parser for a dictionary of literals in a Python file. Nothing is ever run.

#[cfg(test)]
mod tests;

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
    /// The source text of an expression that only Python can compute.
    Expression(String),
}

/// An entry `key: value` of a dictionary.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Value,
    /// The line of the key, from 1.
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

/// The deepest nesting of literals.
const MAX_DEPTH: usize = 32;

/// The entries of the configuration's dictionary. Candidates are the dictionaries assigned at the start of a line. The
/// one with the most keys that satisfy `is_known` is chosen; ties go to the most keys, then to the first.
///
/// The error has the line where parsing stopped, and the reason.
pub(super) fn dictionary(
    text: &str,
    is_known: impl Fn(&str) -> bool,
) -> Result<Vec<Entry>, String> {
    let mut reader = Reader {
        text: text.trim_start_matches('\u{feff}'),
        at: 0,
        counted: (0, 1),
        wasted: 0,
    };
    let mut best = None;
    let mut most = (0, 0);
    loop {
        if let Some(at) = reader.assigned_dictionary() {
            let (line, counted, mut entries) = (reader.at, reader.counted, Vec::new());
            reader.at = at;
            let read = reader.dict(0, &mut entries);
            if read.is_err() {
                reader.wasted += reader.at - line;
                (reader.at, reader.counted) = (line, counted);
            }
            // A dictionary with an error is a candidate with the entries before the error. Otherwise another dictionary
            // would be chosen and the error ignored.
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
    if reader.is_lost() {
        return reader.fail("too much of the file is neither valid strings nor valid dictionaries");
    }
    best.unwrap_or_else(|| Err("no line assigns a dictionary, such as `cfg = {`".to_owned()))
}

/// The most bytes that may be reparsed, in multiples of the file's length.
const MAX_WASTE: usize = 4;

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// A position whose line is known, and the line, from 1.
    counted: (usize, usize),
    /// The number of bytes that were parsed in vain so far.
    wasted: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The line of the current position. Lines are counted from the last position that was asked for.
    fn line(&mut self) -> usize {
        let (from, line) = self.counted;
        let line = line + self.text[from..self.at].matches('\n').count();
        self.counted = (self.at, line);
        line
    }

    fn is_lost(&self) -> bool {
        self.wasted > MAX_WASTE * self.text.len()
    }

    fn fail<T>(&mut self, problem: &str) -> Result<T, String> {
        Err(format!("line {}: {problem}", self.line()))
    }

    /// The start of a dictionary, if the line that begins here assigns a dictionary to a name.
    fn assigned_dictionary(&self) -> Option<usize> {
        let line = self.rest().lines().next()?;
        let code = line.split('#').next()?;
        let at = code.find('=')?;
        let name = code.split(['=', ':']).next()?.trim_end();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let is_dictionary = code[at + 1..].trim_start().starts_with('{');
        (is_name && is_dictionary).then_some(self.at + at + 1)
    }

    /// Goes to the next line that does not begin inside a string; false at the end of the file.
    fn next_line(&mut self) -> bool {
        loop {
            let rest = self.rest();
            match rest.chars().next().filter(|_| !self.is_lost()) {
                None => return false,
                Some('\n') => {
                    self.at += 1;
                    return true;
                }
                Some('#') => self.at += rest.find('\n').unwrap_or(rest.len()),
                Some('"' | '\'') => {
                    // A quote that begins no string is ignored.
                    if self.string().is_err() {
                        self.at += 1;
                    }
                }
                Some(other) => self.at += other.len_utf8(),
            }
        }
    }

    /// Skips white space and comments.
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
            return self.fail("brackets are nested too deeply");
        }
        self.skip();
        let start = self.at;
        let value = match self.rest().chars().next() {
            None => return self.fail("the file ends before a value"),
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
        // Anything but a separator after a literal makes it an expression.
        match self.rest().chars().next() {
            None | Some(',' | ':' | '}' | ']' | ')') => Ok(value),
            Some('\n') => Ok(value),
            Some(_) if depth == 0 => Ok(value),
            Some(_) => self.expression(start),
        }
    }

    /// Adds each parsed entry to `entries` at once, so that earlier entries remain after an error.
    fn dict(&mut self, depth: usize, entries: &mut Vec<Entry>) -> Result<(), String> {
        self.takes('{');
        while !self.takes('}') {
            let line = self.line();
            let key = match self.value(depth + 1)? {
                Value::Text(key) => key,
                other => return self.fail(&format!("the key {other} is not a string")),
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
                None => return self.never_ends(at),
                Some('\n') if quote.len() == 1 => return self.never_ends(at),
                Some('\\') => {
                    let Some(escaped) = characters.next() else {
                        return self.never_ends(at);
                    };
                    match escaped {
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        '\\' | '"' | '\'' => text.push(escaped),
                        // Python keeps unknown escapes, as in Windows' paths.
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

    /// The error for an unterminated string after this many bytes.
    fn never_ends<T>(&mut self, read: usize) -> Result<T, String> {
        self.wasted += read;
        self.fail("this string never ends")
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

    /// The source text from `start` to the separator that ends the expression.
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
