//! A sheet of images with the predictions beneath them.

use mnist_data::Image;

use crate::Result;
use crate::escape::shortened;
use crate::picture::{png, png_uri, within};
use crate::svg::{Anchor, Svg};

/// An image on a sheet.
#[derive(Clone, Debug)]
pub struct SheetItem {
    /// The image, at most 256 pixels of which are drawn per side.
    pub image: Image,
    /// The predicted class.
    pub predicted: String,
    /// Its probability.
    pub probability: f32,
    /// The true class, if it is known.
    pub truth: Option<String>,
}

impl SheetItem {
    /// Whether the prediction is right; `None` if the true class is unknown.
    #[must_use]
    pub fn is_right(&self) -> Option<bool> {
        Some(*self.truth.as_ref()? == self.predicted)
    }
}

const CELL: f64 = 140.0;
const PICTURE: f64 = 112.0;
const MARGIN: f64 = 12.0;
const LINE: f64 = 16.0;
/// Characters that fit beneath an image.
const FITTING: usize = 19;
/// The most pixels of a side that are kept.
const MAX_SIDE: u32 = 256;

/// Draws images in rows of `columns`, each with the predicted class and its probability. Where the true class is
/// known, a right answer has a tick and a solid frame, a wrong one has a cross, a thick dashed frame and the true class.
///
/// ```
/// use mnist_data::Image;
/// use report::{Fonts, SheetItem, rasterise, sheet};
///
/// let item = SheetItem {
///     image: Image::from_gray(2, 2, vec![0, 255, 255, 0])?,
///     predicted: "seven".into(),
///     probability: 0.98,
///     truth: Some("one".into()),
/// };
/// let svg = sheet(&[item], 4)?;
/// let png = rasterise(&svg, 2.0, &Fonts::embedded())?;
/// assert_eq!(png[..4], *b"\x89PNG");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Picture`](crate::Error::Picture).
pub fn sheet(items: &[SheetItem], columns: usize) -> Result<Svg> {
    let columns = columns.clamp(1, items.len().max(1));
    let rows = items.len().div_ceil(columns);
    let known = items.iter().any(|item| item.truth.is_some());
    let height = PICTURE + 8.0 + LINE * if known { 2.0 } else { 1.0 } + 14.0;
    let mut svg = Svg::new(
        2.0 * MARGIN + CELL * columns as f64,
        2.0 * MARGIN + height * rows as f64,
        "Predictions",
        &description(items),
    );
    for (index, item) in items.iter().enumerate() {
        let (row, column) = (index / columns, index % columns);
        let at = [MARGIN + CELL * column as f64, MARGIN + height * row as f64];
        draw(&mut svg, item, at)?;
    }
    Ok(svg)
}

fn draw(svg: &mut Svg, item: &SheetItem, [left, top]: [f64; 2]) -> Result<()> {
    let centre = left + CELL / 2.0;
    let image = within(item.image.clone(), MAX_SIDE)?;
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let scale = PICTURE / width.max(height);
    let size = [width * scale, height * scale];
    let at = [centre - size[0] / 2.0, top + (PICTURE - size[1]) / 2.0];
    svg.image(at, size, &png_uri(&png(&image)?));
    let frame = match item.is_right() {
        None => "box",
        Some(true) => "frame-right",
        Some(false) => "frame-wrong",
    };
    svg.rect(
        frame,
        [at[0] - 1.5, at[1] - 1.5],
        [size[0] + 3.0, size[1] + 3.0],
    );
    let mark = match item.is_right() {
        None => "",
        Some(true) => "✓ ",
        Some(false) => "✗ ",
    };
    let percent = format!("{:.1} %", 100.0 * item.probability);
    let name = shortened(
        &item.predicted,
        FITTING - 2 - percent.len() - mark.chars().count(),
    );
    let line = top + PICTURE + 8.0 + 12.0;
    svg.text(
        "",
        [centre, line],
        Anchor::Middle,
        &format!("{mark}{name} ({percent})"),
    );
    if let (Some(false), Some(truth)) = (item.is_right(), &item.truth) {
        let name = shortened(truth, FITTING - "true: ".len());
        svg.text(
            "m",
            [centre, line + LINE],
            Anchor::Middle,
            &format!("true: {name}"),
        );
    }
    Ok(())
}

/// The predictions in words.
fn description(items: &[SheetItem]) -> String {
    let line = |item: &SheetItem| {
        let percent = format!("{} with {:.1} %", item.predicted, 100.0 * item.probability);
        match (&item.truth, item.is_right()) {
            (Some(truth), Some(false)) => format!("{percent}, wrong: it is {truth}"),
            (Some(_), _) => format!("{percent}, right"),
            (None, _) => percent,
        }
    };
    let lines: Vec<String> = items.iter().take(100).map(line).collect();
    format!("{} images. Predictions: {}.", items.len(), lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fonts, rasterise};

    fn item(name: &str, truth: Option<&str>) -> SheetItem {
        SheetItem {
            image: Image::from_gray(3, 2, vec![10, 20, 30, 40, 50, 60]).unwrap(),
            predicted: name.to_owned(),
            probability: 0.5,
            truth: truth.map(str::to_owned),
        }
    }

    #[test]
    fn right_and_wrong_differ_by_more_than_colour() {
        let items = [
            item("a", Some("a")),
            item("<b>", Some("a")),
            item("c", None),
        ];
        let svg = sheet(&items, 2).unwrap();
        let text = svg.to_file();
        assert!(text.contains("✓ a (50.0 %)") && text.contains("✗ &lt;b&gt; (50.0 %)"));
        assert!(text.contains("true: a") && !text.contains("<b>"));
        assert!(text.contains("frame-right") && text.contains("frame-wrong"));
        assert!(
            svg.description()
                .contains("<b> with 50.0 %, wrong: it is a")
        );
        let two_columns = 2.0 * MARGIN + 2.0 * CELL;
        assert_eq!(svg.width(), two_columns);
        let png = rasterise(&svg, 1.0, &Fonts::embedded()).unwrap();
        let drawn = Image::decode(&png, "sheet.png".as_ref()).unwrap();
        assert_eq!(f64::from(drawn.width()), two_columns);
        assert!(sheet(&[], 4).unwrap().height() > 0.0);
    }
}
