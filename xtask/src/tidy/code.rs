//! Removes comments and literals from Rust source.

/// Replaces comments and the contents of strings and characters by spaces. Line breaks and line
/// numbers stay. A small lexer suffices, because the rules only search for words in code.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let skipped = not_code(rest, code.chars().next_back());
        match (skipped, rest.chars().next()) {
            (0, Some(plain)) => {
                code.push(plain);
                rest = &rest[plain.len_utf8()..];
            }
            (length, _) => {
                let blank = |c| if c == '\n' { '\n' } else { ' ' };
                code.extend(rest[..length].chars().map(blank));
                rest = &rest[length..];
            }
        }
    }
    code
}

/// Length in bytes of the comment or literal at the start of `rest`; 0 if there is none.
fn not_code(rest: &str, before: Option<char>) -> usize {
    let to_end = |end: Option<usize>| end.unwrap_or(rest.len());
    if rest.starts_with("//") {
        return to_end(rest.find('\n'));
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_word && (rest.starts_with('r') || rest.starts_with("br")) {
        let start = rest.find('r').map_or(0, |at| at + 1);
        let hashes = rest[start..].len() - rest[start..].trim_start_matches('#').len();
        if rest[start + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = start + hashes + 1;
            return to_end(rest[open..].find(&close).map(|at| open + at + close.len()));
        }
    }
    // 'a' and '\n' are characters. 'a without a second quote is a lifetime.
    if rest.starts_with("'\\") {
        return quoted(rest, '\'');
    }
    let mut chars = rest.char_indices().skip(1);
    if rest.starts_with('\'')
        && let (Some(_), Some((at, '\''))) = (chars.next(), chars.next())
    {
        return at + 1;
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(next) = rest.get(at..).and_then(|tail| tail.find(['/', '*'])) {
        at += next;
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth = depth.saturating_sub(1);
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// The words of code (identifiers and keywords), each with its line number from 1.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().flat_map(|(line, text)| {
        let is_break = |c: char| !c.is_alphanumeric() && c != '_';
        text.split(is_break)
            .filter(|word| !word.is_empty())
            .map(move |word| (line + 1, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<usize> {
        let code = code_of(text);
        assert_eq!(code.lines().count(), text.lines().count(), "{code}");
        let hits = words(&code).filter(|(_, word)| *word == "needle");
        hits.map(|(line, _)| line).collect()
    }

    #[test]
    fn only_code_is_searched() {
        for (text, lines) in [
            ("needle", vec![1]),
            ("a\n  needle { }", vec![2]),
            ("needles; needle_2; my_needle", vec![]),
            ("// needle\nneedle", vec![2]),
            ("/* needle /* needle */ needle */ needle", vec![1]),
            ("/*\n*/ needle", vec![2]),
            ("\"needle\" needle", vec![1]),
            ("\"\\\" needle\" x", vec![]),
            ("\"two\nneedle\"\nneedle", vec![3]),
            ("r#\"a \" needle\"# needle", vec![1]),
            ("br\"needle\\\" needle", vec![1]),
            ("'\"' needle '\"'", vec![1]),
            ("'\\'' needle", vec![1]),
            ("fn f<'a>(x: &'a str) { needle }", vec![1]),
            ("let r = br; needle \"x\"", vec![1]),
            ("\"needle, and no end", vec![]),
            ("/* needle, and no end", vec![]),
            ("\"é\" needle 'é' needle", vec![1, 1]),
        ] {
            assert_eq!(found(text), lines, "{text}");
        }
    }
}
