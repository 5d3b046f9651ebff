//! Small parts of a page.

use std::fmt::{Display, Write as _};

use crate::escape::escaped;
use crate::svg::Svg;

/// A score with its place in the evaluation, so that a program can compare both: `pointer` is a JSON pointer (RFC 6901).
pub(crate) fn figure(pointer: &str, value: f64, text: impl Display) -> String {
    format!(r#"<data value="{value}" data-figure="{pointer}">{text}</data>"#)
}

/// A number of images.
pub(crate) fn count(pointer: &str, value: u64) -> String {
    format!(
        r#"<data value="{value}" data-figure="{pointer}">{}</data>"#,
        grouped(value)
    )
}

/// A share with one decimal in percent.
pub(crate) fn percent(pointer: &str, value: f64) -> String {
    figure(pointer, value, format_args!("{:.1}\u{a0}%", 100.0 * value))
}

/// A score with three decimals.
pub(crate) fn score(pointer: &str, value: f64) -> String {
    figure(pointer, value, format_args!("{value:.3}"))
}

/// A score that may be undefined.
pub(crate) fn score_or_none(pointer: &str, value: Option<f64>) -> String {
    match value {
        Some(value) => score(pointer, value),
        None => "<span class=\"none\">undefined</span>".to_owned(),
    }
}

/// The number with narrow spaces between thousands.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A section with a heading and one line that says what it means.
pub(crate) fn section(id: &str, heading: &str, meaning: &str, body: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{}</h2>\n<p class=\"meaning\">{}</p>\n{body}\n</section>\n",
        escaped(heading),
        escaped(meaning)
    )
}

/// A part that is missing, and the remedy.
pub(crate) fn missing(text: &str, command: Option<&str>) -> String {
    let command = command.map_or(String::new(), |command| {
        format!("<pre><code>{}</code></pre>", escaped(command))
    });
    format!(
        "<div class=\"missing\"><p>{}</p>{command}</div>\n",
        escaped(text)
    )
}

/// A chart with a caption.
pub(crate) fn chart(svg: &Svg, id: &str, caption: &str) -> String {
    let caption = match caption {
        "" => String::new(),
        text => format!("<figcaption>{}</figcaption>", escaped(text)),
    };
    format!(
        "<figure class=\"scroll\" tabindex=\"0\" aria-label=\"{}\">{}{caption}</figure>\n",
        escaped(svg.title()),
        svg.to_element(id)
    )
}

/// A table with a caption. The first column is the heading of its row. Cells are HTML.
pub(crate) fn table(caption: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{0}\"><table><caption>{0}</caption><thead><tr>",
        escaped(caption)
    );
    for cell in head {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(cell));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let _ = match index {
                0 => write!(out, "<th scope=\"row\">{cell}</th>"),
                _ => write!(out, "<td>{cell}</td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// A part that opens on demand.
pub(crate) fn details(summary: &str, body: &str) -> String {
    format!(
        "<details><summary>{}</summary>\n{body}</details>\n",
        escaped(summary)
    )
}

/// Names and values. Values are HTML.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let mut out = String::from("<dl>\n");
    for (name, value) in facts {
        let _ = writeln!(out, "<div><dt>{}</dt><dd>{value}</dd></div>", escaped(name));
    }
    out.push_str("</dl>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped_from_ten_thousand_on() {
        assert_eq!(grouped(9999), "9999");
        assert_eq!(grouped(10_000), "10\u{202f}000");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn a_figure_keeps_its_full_precision() {
        assert_eq!(
            percent("/accuracy", 0.991_234_567_891_23),
            "<data value=\"0.99123456789123\" data-figure=\"/accuracy\">99.1\u{a0}%</data>"
        );
    }
}
