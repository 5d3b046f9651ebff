//! A small writer of SVG. The same picture serves as a file, inside a page, and as the source of a PNG.

pub(crate) mod axis;
mod raster;
mod style;

use std::fmt::{Display, Write as _};

use crate::escape::escaped;

pub use raster::{Fonts, rasterise};
use style::FONT_FAMILY;
pub(crate) use style::{fill_class, level, line_class, page_rules, shade};

/// The horizontal anchor of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// The text begins at its position.
    Start,
    /// The text is centred.
    Middle,
    /// The text ends at its position.
    End,
}

/// A picture of `width` × `height` user units, with a title and a description for readers who cannot see it.
///
/// Elements have classes instead of colours. A file contains the colours of the classes for a white background; a page
/// has rules for light and dark.
#[derive(Clone, Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    title: String,
    description: String,
    body: String,
}

/// A number with at most two decimals.
pub(crate) fn short(value: f64) -> impl Display {
    let rounded = (value * 100.0).round() / 100.0;
    // -0 becomes 0.
    if rounded == 0.0 { 0.0 } else { rounded }
}

impl Svg {
    /// An empty picture.
    #[must_use]
    pub fn new(width: f64, height: f64, title: &str, description: &str) -> Self {
        Self {
            width,
            height,
            title: title.to_owned(),
            description: description.to_owned(),
            body: String::new(),
        }
    }

    /// Width in user units.
    #[must_use]
    pub fn width(&self) -> f64 {
        self.width
    }

    /// Height in user units.
    #[must_use]
    pub fn height(&self) -> f64 {
        self.height
    }

    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// The description: the picture's contents in words.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    pub(crate) fn raw(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    pub(crate) fn line(&mut self, class: &str, from: [f64; 2], to: [f64; 2]) {
        let [x1, y1, x2, y2] = [from[0], from[1], to[0], to[1]].map(short);
        self.raw(format_args!(
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        ));
    }

    pub(crate) fn polyline(&mut self, class: &str, points: impl Iterator<Item = [f64; 2]>) {
        let mut text = String::new();
        for [x, y] in points {
            let _ = write!(text, "{},{} ", short(x), short(y));
        }
        self.raw(format_args!(
            r#"<polyline class="{class}" points="{}"/>"#,
            text.trim_end()
        ));
    }

    pub(crate) fn rect(&mut self, class: &str, at: [f64; 2], size: [f64; 2]) {
        let [x, y, w, h] = [at[0], at[1], size[0], size[1]].map(short);
        self.raw(format_args!(
            r#"<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}"/>"#
        ));
    }

    pub(crate) fn text(&mut self, class: &str, at: [f64; 2], anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let [x, y] = at.map(short);
        self.raw(format_args!(
            r#"<text class="{class}" x="{x}" y="{y}" text-anchor="{anchor}">{}</text>"#,
            escaped(text)
        ));
    }

    pub(crate) fn turned_text(&mut self, class: &str, at: [f64; 2], degrees: i32, text: &str) {
        let [x, y] = at.map(short);
        let anchor = if degrees == -90 { "middle" } else { "end" };
        self.raw(format_args!(
            r#"<text class="{class}" transform="translate({x} {y}) rotate({degrees})" text-anchor="{anchor}">{}</text>"#,
            escaped(text)
        ));
    }

    /// A marker of a series: each series has another shape.
    pub(crate) fn marker(&mut self, class: &str, shape: usize, [x, y]: [f64; 2], r: f64) {
        let path = match shape % 4 {
            0 => {
                let [x, y] = [x, y].map(short);
                self.raw(format_args!(
                    r#"<circle class="{class}" cx="{x}" cy="{y}" r="{r}"/>"#
                ));
                return;
            }
            1 => [
                [x - r, y - r],
                [x + r, y - r],
                [x + r, y + r],
                [x - r, y + r],
            ]
            .to_vec(),
            2 => [[x, y - 1.2 * r], [x + 1.2 * r, y + r], [x - 1.2 * r, y + r]].to_vec(),
            _ => [
                [x, y - 1.4 * r],
                [x + 1.4 * r, y],
                [x, y + 1.4 * r],
                [x - 1.4 * r, y],
            ]
            .to_vec(),
        };
        let points: Vec<String> = path
            .iter()
            .map(|[x, y]| format!("{},{}", short(*x), short(*y)))
            .collect();
        self.raw(format_args!(
            r#"<polygon class="{class}" points="{}"/>"#,
            points.join(" ")
        ));
    }

    /// A picture made of pixels, as a data URI, with sharp pixels if it is enlarged.
    pub(crate) fn image(&mut self, at: [f64; 2], size: [f64; 2], uri: &str) {
        let [x, y, w, h] = [at[0], at[1], size[0], size[1]].map(short);
        self.raw(format_args!(
            r#"<image x="{x}" y="{y}" width="{w}" height="{h}" preserveAspectRatio="none" href="{uri}"/>"#
        ));
    }

    /// Pictures side by side as one.
    pub(crate) fn side_by_side(title: &str, pictures: &[Self]) -> Self {
        let height = pictures.iter().map(Self::height).fold(0.0, f64::max);
        let width = pictures.iter().map(Self::width).sum();
        let words: Vec<&str> = pictures.iter().map(Self::description).collect();
        let mut all = Self::new(width, height, title, &words.join(" "));
        let mut left = 0.0;
        for picture in pictures {
            all.add([left, 0.0], picture);
            left += picture.width();
        }
        all
    }

    /// Adds another picture's elements, moved by `at`.
    fn add(&mut self, at: [f64; 2], other: &Self) {
        let [x, y] = at.map(short);
        self.raw(format_args!(r#"<g transform="translate({x} {y})">"#));
        self.body.push_str(&other.body);
        self.raw(format_args!("</g>"));
    }

    /// The picture as a file, for a white background.
    #[must_use]
    pub fn to_file(&self) -> String {
        let (w, h) = (short(self.width), short(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"img\" \
             font-family=\"{FONT_FAMILY}\">\n<title>{}</title>\n<desc>{}</desc>\n<style>{}</style>\n\
             <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n{}</svg>\n",
            escaped(&self.title),
            escaped(&self.description),
            style::file_rules(),
            self.body
        )
    }

    /// The picture as an element of a page with [`page_rules`]. `id` is unique in the page.
    pub(crate) fn to_element(&self, id: &str) -> String {
        let (w, h) = (short(self.width), short(self.height));
        format!(
            "<svg class=\"chart\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" role=\"img\" aria-labelledby=\"{id}-t\" \
             aria-describedby=\"{id}-d\">\n<title id=\"{id}-t\">{}</title>\n<desc id=\"{id}-d\">{}</desc>\n{}</svg>",
            escaped(&self.title),
            escaped(&self.description),
            self.body
        )
    }
}
