//! Escaping of text from files for HTML and XML.

use std::borrow::Cow;
use std::path::Path;

/// The text with `& < > " '` and control characters replaced, for contents and quoted attributes of HTML and XML.
///
/// XML has no control characters, so they become U+FFFD.
#[must_use]
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !matches!(c, '&' | '<' | '>' | '"' | '\'') && !is_forbidden(c);
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if is_forbidden(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The characters that XML 1.0 forbids, and the controls that change the direction of the text around them.
fn is_forbidden(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
        || (c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
}

/// The first `most` characters, with an ellipsis if there are more.
#[must_use]
pub(crate) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some(_) => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            Cow::Owned(format!("{kept}…"))
        }
    }
}

/// Text in one line of a Markdown document: characters with a meaning are escaped, line ends become spaces.
#[must_use]
pub(crate) fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&' => {
                out.push('\\');
                out.push(c);
            }
            c if is_forbidden(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A path, quoted for a shell if necessary.
#[must_use]
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_harmless() {
        assert_eq!(
            escaped("<script>alert('a' & \"b\")</script>"),
            "&lt;script&gt;alert(&#39;a&#39; &amp; &quot;b&quot;)&lt;/script&gt;"
        );
        assert_eq!(escaped("a\u{1b}[31m\u{202e}b"), "a\u{fffd}[31m\u{fffd}b");
        assert!(matches!(escaped("Füße, 猫"), Cow::Borrowed(_)));
        assert_eq!(markdown("a|b\n<c>"), "a\\|b \\<c\\>");
    }

    #[test]
    fn long_names_end_in_an_ellipsis() {
        assert_eq!(shortened("käfer", 5), "käfer");
        assert_eq!(shortened("käfers", 5), "käfe…");
    }

    #[test]
    fn a_path_is_quoted_where_a_shell_would_split_it() {
        assert_eq!(
            quoted(Path::new("runs/a-1/b.safetensors")),
            "runs/a-1/b.safetensors"
        );
        assert_eq!(quoted(Path::new("my runs/l'été")), r"'my runs/l'\''été'");
    }
}
