//! The confusion matrix as a picture.

use trainer::Evaluation;

use crate::Result;
use crate::escape::shortened;
use crate::picture::{png, png_uri};
use crate::svg::{Anchor, Svg, level, shade};

/// Beyond this number of classes, the picture is a heat map without numbers.
pub(crate) const NUMBERED: usize = 20;
/// The longest side of a heat map, in pixels: with more classes, a pixel stands for several.
const MAX_SIDE: usize = 1000;

/// The shade of a cell. Right answers are shaded by their share of the class; wrong answers by their share of the most
/// frequent error, so that rare errors can be seen.
#[derive(Clone, Copy)]
pub(crate) struct Shades {
    worst: f64,
}

impl Shades {
    pub(crate) fn of(confusion: &[Vec<u64>]) -> Self {
        let rows = confusion.iter().enumerate();
        let shares = rows.flat_map(|(label, row)| {
            let all = row.iter().sum::<u64>().max(1) as f64;
            let others = row
                .iter()
                .enumerate()
                .filter(move |(other, _)| *other != label);
            others.map(move |(_, count)| *count as f64 / all)
        });
        Self {
            worst: shares.fold(0.0, f64::max),
        }
    }

    /// The shade from 0 to 1 of a cell with this share of its row.
    pub(crate) fn share(&self, is_right: bool, share: f64) -> f64 {
        match (is_right, self.worst > 0.0) {
            (true, _) => share,
            (false, true) => share / self.worst,
            (false, false) => 0.0,
        }
    }

    /// The class of the cell's colour.
    pub(crate) fn class(&self, is_right: bool, count: u64, row: u64) -> String {
        let share = self.share(is_right, count as f64 / row.max(1) as f64);
        // At most 8 of 10, so that a full cell does not hide its number's neighbours.
        let level = level(share * 0.8);
        format!("{}{level}", if is_right { "q" } else { "e" })
    }
}

/// The matrix with numbers, or a heat map of many classes.
///
/// # Errors
///
/// [`Error::Picture`](crate::Error::Picture).
pub(crate) fn draw(scores: &Evaluation) -> Result<Svg> {
    match scores.classes.len() <= NUMBERED {
        true => Ok(numbered(scores)),
        false => heat(scores),
    }
}

fn numbered(scores: &Evaluation) -> Svg {
    let classes = scores.classes.len();
    let cell = if classes > 12 { 38.0 } else { 44.0 };
    let names: Vec<String> = scores
        .classes
        .iter()
        .map(|class| shortened(&class.name, 16).into_owned())
        .collect();
    let longest = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(1) as f64;
    let room = longest * super::plot::CHARACTER + 14.0;
    let is_short = longest * super::plot::CHARACTER <= cell - 4.0;
    let (left, top) = (room + 26.0, 30.0);
    let side = cell * classes as f64;
    let below = if is_short { 20.0 } else { room * 0.75 + 8.0 };
    let mut svg = Svg::new(
        (left + side + 16.0).max(300.0),
        top + side + below + 24.0,
        "Confusion matrix",
        &in_words(scores),
    );
    svg.text("h", [left, 16.0], Anchor::Start, "Confusion matrix");
    let shades = Shades::of(&scores.confusion);
    for (label, row) in scores.confusion.iter().enumerate() {
        let y = top + cell * label as f64;
        svg.text(
            "",
            [left - 8.0, y + cell / 2.0 + 4.0],
            Anchor::End,
            &names[label],
        );
        let all: u64 = row.iter().sum();
        for (other, &count) in row.iter().enumerate() {
            let x = left + cell * other as f64;
            let class = shades.class(label == other, count, all);
            svg.rect(&class, [x + 0.5, y + 0.5], [cell - 1.0, cell - 1.0]);
            if label == other {
                svg.rect("box", [x + 1.0, y + 1.0], [cell - 2.0, cell - 2.0]);
            }
            if count > 0 {
                svg.text(
                    &format!("{class} n"),
                    [x + cell / 2.0, y + cell / 2.0 + 4.0],
                    Anchor::Middle,
                    &count.to_string(),
                );
            }
        }
    }
    for (other, name) in names.iter().enumerate() {
        let x = left + cell * (other as f64 + 0.5);
        match is_short {
            true => svg.text("", [x, top + side + 16.0], Anchor::Middle, name),
            false => svg.turned_text("", [x + 4.0, top + side + 14.0], -45, name),
        }
    }
    svg.rect("box", [left, top], [side, side]);
    svg.turned_text("m", [14.0, top + side / 2.0], -90, "true class");
    svg.text(
        "m",
        [left + side / 2.0, top + side + below + 14.0],
        Anchor::Middle,
        "predicted class",
    );
    svg
}

/// The colours of the cells, `[side, side, 3]`, and the number of pixels of a side.
pub(crate) fn pixels(confusion: &[Vec<u64>]) -> (usize, Vec<u8>) {
    let classes = confusion.len();
    let together = classes.div_ceil(MAX_SIDE).max(1);
    let side = classes.div_ceil(together);
    let shades = Shades::of(confusion);
    let mut bytes = vec![255; side * side * 3];
    let mut strongest = vec![0.0; side * side];
    for (label, row) in confusion.iter().enumerate() {
        let all = row.iter().sum::<u64>().max(1) as f64;
        for (other, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            let is_right = label == other;
            // The root shows rare errors among a million cells.
            let share = shades.share(is_right, count as f64 / all).sqrt();
            let pixel = label / together * side + other / together;
            if share > strongest[pixel] {
                strongest[pixel] = share;
                bytes[3 * pixel..][..3].copy_from_slice(&shade(is_right, share));
            }
        }
    }
    (side, bytes)
}

fn heat(scores: &Evaluation) -> Result<Svg> {
    let (side, bytes) = pixels(&scores.confusion);
    let failed = |error: mnist_data::Error| crate::Error::Picture {
        problem: error.to_string(),
    };
    let image = mnist_data::Image::from_rgb(side as u32, side as u32, bytes).map_err(failed)?;
    let (left, top, edge) = (40.0, 30.0, 600.0);
    let mut svg = Svg::new(
        left + edge + 16.0,
        top + edge + 44.0,
        "Confusion matrix",
        &in_words(scores),
    );
    svg.text(
        "h",
        [left, 16.0],
        Anchor::Start,
        &format!("Confusion matrix of {} classes", scores.classes.len()),
    );
    svg.image([left, top], [edge, edge], &png_uri(&png(&image)?));
    svg.rect("box", [left, top], [edge, edge]);
    svg.turned_text(
        "m",
        [22.0, top + edge / 2.0],
        -90,
        "true class, in the order of the classes",
    );
    svg.text(
        "m",
        [left + edge / 2.0, top + edge + 20.0],
        Anchor::Middle,
        "predicted class",
    );
    Ok(svg)
}

/// A wrong answer's classes and the number of images with it.
pub(crate) struct Pair {
    pub(crate) label: usize,
    pub(crate) predicted: usize,
    pub(crate) count: u64,
}

/// The most frequent errors, the most frequent first.
pub(crate) fn pairs(confusion: &[Vec<u64>], most: usize) -> Vec<Pair> {
    let rows = confusion.iter().enumerate();
    let mut pairs: Vec<Pair> = rows
        .flat_map(|(label, row)| {
            let cells = row.iter().enumerate();
            let errors = cells.filter(move |&(predicted, &count)| count > 0 && predicted != label);
            errors.map(move |(predicted, &count)| Pair {
                label,
                predicted,
                count,
            })
        })
        .collect();
    pairs.sort_by(|a, b| {
        b.count
            .cmp(&a.count)
            .then((a.label, a.predicted).cmp(&(b.label, b.predicted)))
    });
    pairs.truncate(most);
    pairs
}

/// The matrix in words: the right answers, and the most frequent errors.
fn in_words(scores: &Evaluation) -> String {
    let name = |class: usize| {
        scores
            .classes
            .get(class)
            .map_or("", |class| &class.name[..])
    };
    let right: u64 = (0..scores.confusion.len())
        .map(|class| scores.confusion[class][class])
        .sum();
    let pairs: Vec<String> = pairs(&scores.confusion, 5)
        .iter()
        .map(|pair| {
            format!(
                "{} taken for {}: {}",
                name(pair.label),
                name(pair.predicted),
                pair.count
            )
        })
        .collect();
    let errors = match pairs.is_empty() {
        true => "There are no errors.".to_owned(),
        false => format!("The most frequent errors: {}.", pairs.join("; ")),
    };
    format!(
        "{right} of {} images are on the diagonal, which is right. {errors}",
        scores.images
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_the_errors_by_number() {
        let confusion = vec![vec![5, 2, 0], vec![2, 9, 4], vec![0, 0, 1]];
        let found: Vec<_> = pairs(&confusion, 2)
            .iter()
            .map(|p| (p.label, p.predicted, p.count))
            .collect();
        assert_eq!(found, [(1, 2, 4), (0, 1, 2)]);
    }

    #[test]
    fn many_classes_become_few_pixels() {
        let classes = 2500;
        let mut confusion = vec![vec![0; classes]; classes];
        confusion[0][0] = 1;
        confusion[2499][0] = 3;
        let (side, bytes) = pixels(&confusion);
        assert!(side <= MAX_SIDE && bytes.len() == side * side * 3);
        let coloured: Vec<usize> = (0..side * side)
            .filter(|p| bytes[3 * p..][..3] != [255; 3])
            .collect();
        assert_eq!(coloured, [0, (side - 1) * side]);
    }
}
