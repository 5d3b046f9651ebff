//! A bar that is divided into parts.

use crate::svg::{Anchor, Svg, fill_class};

const WIDTH: f64 = 440.0;
const ROW: f64 = 24.0;

/// Named shares of a whole as bars beneath each other. Parts of zero are left out.
pub(crate) fn shares(title: &str, unit: &str, parts: &[(&str, f64)]) -> Option<Svg> {
    let total: f64 = parts.iter().map(|(_, value)| value).sum();
    let shown: Vec<&(&str, f64)> = parts.iter().filter(|(_, value)| *value > 0.0).collect();
    if total <= 0.0 {
        return None;
    }
    let words: Vec<String> = shown
        .iter()
        .map(|(name, value)| format!("{name} {value:.1} {unit}, {:.0} %", 100.0 * value / total))
        .collect();
    let (left, right) = (86.0, 120.0);
    let height = 30.0 + ROW * shown.len() as f64;
    let mut svg = Svg::new(
        WIDTH,
        height,
        title,
        &format!("{title}: {}.", words.join("; ")),
    );
    svg.text("h", [0.0, 16.0], Anchor::Start, title);
    for (index, (name, value)) in shown.iter().enumerate() {
        let y = 28.0 + ROW * index as f64;
        let width = (WIDTH - left - right) * value / total;
        svg.text("", [left - 8.0, y + 13.0], Anchor::End, name);
        svg.rect(&fill_class(0), [left, y], [width.max(1.0), ROW - 8.0]);
        let label = format!("{value:.1} {unit} ({:.0} %)", 100.0 * value / total);
        svg.text("m", [left + width + 6.0, y + 13.0], Anchor::Start, &label);
    }
    Some(svg)
}
