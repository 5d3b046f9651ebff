//! A sheet of images with the predictions beneath them.

use mnist_data::Image;

use crate::Result;
use crate::chart::CHARACTER;
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

/// The side of the square that an image is fitted into.
const PICTURE: f64 = 128.0;
const MARGIN: f64 = 14.0;
/// The space between an image and the next one.
const GAP: f64 = 24.0;
const LINE: f64 = 16.0;
/// The most characters in a line beneath an image.
const MOST: usize = 30;
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
    let captions: Vec<Vec<String>> = items.iter().map(caption).collect();
    let lines = captions.iter().map(Vec::len).max().unwrap_or(0);
    let longest = captions
        .iter()
        .flatten()
        .map(|line| line.chars().count())
        .max();
    let cell = [
        PICTURE.max(CHARACTER * longest.unwrap_or(0) as f64) + GAP,
        PICTURE + 8.0 + LINE * lines as f64 + GAP / 2.0,
    ];
    let mut svg = Svg::new(
        2.0 * MARGIN + cell[0] * columns as f64,
        2.0 * MARGIN + (cell[1] * rows as f64).max(LINE),
        "Predictions",
        &description(items),
    );
    for (index, (item, caption)) in items.iter().zip(&captions).enumerate() {
        let (row, column) = (index / columns, index % columns);
        let centre = MARGIN + cell[0] * (column as f64 + 0.5);
        let top = MARGIN + cell[1] * row as f64;
        draw(&mut svg, item, [centre, top])?;
        for (number, line) in caption.iter().enumerate() {
            let at = [centre, top + PICTURE + 20.0 + LINE * number as f64];
            let class = if number == 0 { "" } else { "m" };
            svg.text(class, at, Anchor::Middle, line);
        }
    }
    if items.is_empty() {
        svg.text("m", [MARGIN, MARGIN + 12.0], Anchor::Start, "No images.");
    }
    Ok(svg)
}

/// The lines beneath an image: the predicted class with its probability, which stands on a line of its own if the class
/// has a long name, and the true class if it is another one.
fn caption(item: &SheetItem) -> Vec<String> {
    let mark = match item.is_right() {
        None => "",
        Some(true) => "✓ ",
        Some(false) => "✗ ",
    };
    let percent = format!("({:.1} %)", 100.0 * item.probability);
    let whole = format!("{mark}{} {percent}", item.predicted);
    let mut lines = match whole.chars().count() <= MOST {
        true => vec![whole],
        false => {
            let name = shortened(&item.predicted, MOST - mark.chars().count());
            vec![format!("{mark}{name}"), percent]
        }
    };
    if let (Some(false), Some(truth)) = (item.is_right(), &item.truth) {
        const TRUE: &str = "true: ";
        lines.push(format!("{TRUE}{}", shortened(truth, MOST - TRUE.len())));
    }
    lines
}

/// Draws an image with its frame.
fn draw(svg: &mut Svg, item: &SheetItem, [centre, top]: [f64; 2]) -> Result<()> {
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
        [at[0] - 2.0, at[1] - 2.0],
        [size[0] + 4.0, size[1] + 4.0],
    );
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
        let two_columns = 2.0 * MARGIN + 2.0 * (PICTURE + GAP);
        assert_eq!(svg.width(), two_columns);
        let png = rasterise(&svg, 1.0, &Fonts::embedded()).unwrap();
        let drawn = Image::decode(&png, "sheet.png".as_ref()).unwrap();
        assert_eq!(f64::from(drawn.width()), two_columns);
        assert!(sheet(&[], 4).unwrap().to_file().contains("No images."));
    }

    #[test]
    fn long_names_take_more_room_and_are_cut_in_the_end() {
        let of = |name: &str, truth| {
            let item = item(name, Some(truth));
            (caption(&item), sheet(&[item], 1).unwrap().width())
        };
        let (short, narrow) = of("dog", "dog");
        assert_eq!(short, ["✓ dog (50.0 %)"]);
        let (long, wide) = of("golden retriever", "a");
        assert_eq!(long, ["✗ golden retriever (50.0 %)", "true: a"]);
        assert!(wide > narrow, "{wide} {narrow}");
        let name = "Cypripedium calceolus subspecies";
        let (cut, _) = of(name, name);
        assert_eq!(cut, ["✓ Cypripedium calceolus subsp…", "(50.0 %)"]);
        assert_eq!(of("a", name).0[1], "true: Cypripedium calceolus s…");
    }
}
