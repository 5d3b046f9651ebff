//! Escaping of text from files for a terminal.

use std::borrow::Cow;

/// Makes text from a file or an argument safe for a terminal. Escapes control characters and characters that change the
/// writing direction. So text from a file cannot move the cursor, change colours or hide a line. Line breaks are
/// escaped too, for output with one name per line.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    escaped_except(text, |_| false)
}

/// Escapes characters that a terminal interprets, except those that are `kept`.
pub(crate) fn escaped_except(text: &str, kept: fn(char) -> bool) -> Cow<'_, str> {
    let obeyed = |c: char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        (c.is_control() || turns) && !kept(c)
    };
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match obeyed(character) {
            true => plain.extend(character.escape_default()),
            false => plain.push(character),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_given_no_orders() {
        for (text, plain) in [
            ("cat, 猫, über", "cat, 猫, über"),
            ("a\x1b[31mb\x07", "a\\u{1b}[31mb\\u{7}"),
            ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
            ("\u{9b}2J\u{202e}", "\\u{9b}2J\\u{202e}"),
        ] {
            assert_eq!(escaped(text), plain);
        }
        assert_eq!(escaped_except("a\nb\x1b", |c| c == '\n'), "a\nb\\u{1b}");
    }
}
