//! The colours and strokes of charts. Both sets of colours can be told apart with every kind of colour blindness, after
//! Okabe and Ito (2008), and have a contrast of at least 3 to their background.

use std::fmt::Write as _;

/// Fonts of charts. The first is embedded in the program; readers without it see their own.
pub(crate) const FONT_FAMILY: &str =
    "'DejaVu Sans', system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

struct Colours {
    ink: &'static str,
    muted: &'static str,
    grid: &'static str,
    paper: &'static str,
    series: [&'static str; 5],
}

const LIGHT: Colours = Colours {
    ink: "#1c1f24",
    muted: "#565d67",
    grid: "#dfe3e8",
    paper: "#ffffff",
    series: ["#0b62a4", "#b04a00", "#00735a", "#8a3b86", "#6b6200"],
};

const DARK: Colours = Colours {
    ink: "#e8eaed",
    muted: "#a9b1bb",
    grid: "#3a4149",
    paper: "#1b1f24",
    series: ["#6db3f2", "#f5a35c", "#4ccfa6", "#dd9bd6", "#d8cf5c"],
};

/// The dash patterns of lines that share a colour.
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "9 3 2 3"];

/// The class of a line: a colour and a dash pattern, so that no line is told by its colour alone.
pub(crate) fn line_class(series: usize) -> String {
    let colours = LIGHT.series.len();
    format!(
        "l s{} d{}",
        series % colours,
        (series + series / colours) % DASHES.len()
    )
}

/// The class of a filled shape in a series' colour.
pub(crate) fn fill_class(series: usize) -> String {
    format!("f{}", series % LIGHT.series.len())
}

fn colours(out: &mut String, colours: &Colours) {
    let Colours {
        ink,
        muted,
        grid,
        paper,
        ..
    } = colours;
    let _ = write!(
        out,
        "text{{fill:{ink}}}text.m{{fill:{muted}}}.grid{{stroke:{grid}}}.axis{{stroke:{muted}}}.paper{{fill:{paper}}}\
         .mark{{stroke:{ink}}}.box{{stroke:{muted}}}.ink{{stroke:{ink}}}.full{{fill:{ink}}}\
         .frame-right{{stroke:{}}}.frame-wrong{{stroke:{}}}",
        colours.series[2], colours.series[1]
    );
    for (index, colour) in colours.series.iter().enumerate() {
        let _ = write!(
            out,
            ".s{index}{{stroke:{colour}}}.f{index}{{fill:{colour}}}"
        );
    }
}

fn strokes() -> String {
    let mut out = String::from(
        "image{image-rendering:pixelated}text{font-size:12px}text.h{font-size:13px}text.n{font-size:11px}.l{fill:none;stroke-width:2;stroke-linejoin:round}.grid,\
         .axis{stroke-width:1}.mark{stroke-width:1;stroke-dasharray:4 3}.box{fill:none;stroke-width:1}.ink{fill:none;\
         stroke-width:2}.thin{stroke-width:1;stroke-opacity:.45}.frame-right{fill:none;stroke-width:2}.frame-wrong{fill:none;\
         stroke-width:3;stroke-dasharray:6 3}",
    );
    for (index, dash) in DASHES.iter().enumerate() {
        let _ = write!(out, ".d{index}{{stroke-dasharray:{dash}}}");
    }
    out
}

/// The rules inside a file.
pub(crate) fn file_rules() -> String {
    let mut out = strokes();
    colours(&mut out, &LIGHT);
    out.push_str(&levels(LIGHT.paper));
    out
}

/// The rules of a page: light, dark if the reader prefers it, and light in print.
pub(crate) fn page_rules() -> String {
    let scoped = |rules: &str| rules.replace('}', "}\n");
    let (mut light, mut dark) = (String::new(), String::new());
    colours(&mut light, &LIGHT);
    colours(&mut dark, &DARK);
    format!(
        "{}{}{}@media screen and (prefers-color-scheme:dark){{\n{}{}}}\n",
        scoped(&strokes()),
        scoped(&light),
        scoped(&levels(LIGHT.paper)),
        scoped(&dark),
        scoped(&levels(DARK.paper)),
    )
}

/// The number of levels of a shaded cell, without level 0, which is the background.
pub(crate) const LEVELS: usize = 10;

/// The end colours of the shades: of right answers and of wrong ones.
const SHADES: [(&str, [u8; 3]); 2] = [("q", [0x0b, 0x62, 0xa4]), ("e", [0xb0, 0x4a, 0x00])];

/// The level of a share from 0 to 1. Only a share of 0 has level 0.
pub(crate) fn level(share: f64) -> usize {
    (share.clamp(0.0, 1.0) * LEVELS as f64).ceil() as usize
}

/// The rules of the classes `q0` to `q10` and `e0` to `e10`: the background, and black or white text upon it.
fn levels(paper: &str) -> String {
    let mut out = String::new();
    let paper = parsed(paper);
    for (class, end) in SHADES {
        for level in 0..=LEVELS {
            let colour = mixed(paper, end, level as f64 / LEVELS as f64);
            let text = text_on(colour);
            let [r, g, b] = colour;
            let _ = write!(
                out,
                ".{class}{level}{{background:#{r:02x}{g:02x}{b:02x};fill:#{r:02x}{g:02x}{b:02x};color:{text}}}text.{class}{level}{{fill:{text}}}"
            );
        }
    }
    out
}

/// The colour of a share between the background and the end colour of right (`true`) or wrong answers.
pub(crate) fn shade(is_right: bool, share: f64) -> [u8; 3] {
    let (_, end) = SHADES[usize::from(!is_right)];
    mixed([255; 3], end, share)
}

fn parsed(colour: &str) -> [u8; 3] {
    let part = |at: usize| {
        let digits = colour.get(at..at + 2).unwrap_or("00");
        u8::from_str_radix(digits, 16).unwrap_or(0)
    };
    [part(1), part(3), part(5)]
}

fn mixed(from: [u8; 3], to: [u8; 3], share: f64) -> [u8; 3] {
    std::array::from_fn(|c| {
        let (from, to) = (f64::from(from[c]), f64::from(to[c]));
        (from + (to - from) * share.clamp(0.0, 1.0)).round() as u8
    })
}

/// Black or white, whichever has more contrast.
fn text_on(colour: [u8; 3]) -> &'static str {
    match contrast(colour, [0; 3]) >= contrast(colour, [255; 3]) {
        true => "#000",
        false => "#fff",
    }
}

/// The contrast ratio of two colours (WCAG 2.2).
fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// Relative luminance (WCAG 2.2).
fn luminance(colour: [u8; 3]) -> f64 {
    let linear = colour.map(|c| {
        let c = f64::from(c) / 255.0;
        match c <= 0.04045 {
            true => c / 12.92,
            false => ((c + 0.055) / 1.055).powf(2.4),
        }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrasts_are_those_of_wcag_aa() {
        // An example of the standard's own: #767676 on white is 4.54.
        assert!((contrast([0x76; 3], [255; 3]) - 4.54).abs() < 0.01);
        for colours in [LIGHT, DARK] {
            let paper = parsed(colours.paper);
            for text in [colours.ink, colours.muted] {
                assert!(contrast(parsed(text), paper) >= 4.5, "{text}");
            }
            for series in colours.series {
                assert!(contrast(parsed(series), paper) >= 3.0, "{series}");
            }
            for (_, end) in SHADES {
                for level in 0..=LEVELS {
                    let colour = mixed(paper, end, level as f64 / LEVELS as f64);
                    let text = if text_on(colour) == "#000" {
                        [0; 3]
                    } else {
                        [255; 3]
                    };
                    assert!(contrast(colour, text) >= 4.5, "level {level}");
                }
            }
        }
    }

    #[test]
    fn many_lines_have_different_classes() {
        let classes: std::collections::BTreeSet<String> = (0..20).map(line_class).collect();
        assert_eq!(classes.len(), 20);
    }

    #[test]
    fn only_nothing_has_level_0() {
        assert_eq!([0.0, 0.001, 0.1, 0.95, 1.0].map(level), [0, 1, 1, 10, 10]);
    }
}
