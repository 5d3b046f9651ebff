//! A map over an image.

use mnist_data::Image;

use crate::{Error, Result};

/// Images are enlarged by a whole factor until their longer side has at least this many pixels.
pub(crate) const LEAST_SIDE: u32 = 224;
/// The part of the colours that a map uses: the lower end is too dark to be seen over an image.
const COLOURS: std::ops::RangeInclusive<f32> = 0.45..=1.0;
/// The brightness that is left of the image.
const DIMMED: f32 = 0.5;
/// The opacity of the map's maximum.
const OPACITY: f32 = 0.8;

/// matplotlib's colour map "inferno" (van der Walt and Smith 2015) at equal distances. Its lightness rises evenly, so the
/// order of values is kept in grey.
const INFERNO: [[u8; 3]; 17] = [
    [0, 0, 4],
    [11, 7, 36],
    [33, 12, 74],
    [61, 9, 101],
    [87, 16, 110],
    [113, 25, 110],
    [138, 34, 106],
    [163, 44, 97],
    [188, 55, 84],
    [210, 70, 68],
    [228, 90, 49],
    [241, 115, 29],
    [249, 142, 9],
    [252, 172, 17],
    [249, 203, 53],
    [242, 234, 105],
    [252, 255, 164],
];

/// The colour of a value from 0 to 1.
fn colour(value: f32) -> [f32; 3] {
    let at = value.clamp(0.0, 1.0) * (INFERNO.len() - 1) as f32;
    let low = (at as usize).min(INFERNO.len() - 2);
    let share = at - low as f32;
    std::array::from_fn(|c| {
        let [a, b] = [INFERNO[low][c], INFERNO[low + 1][c]].map(f32::from);
        a + (b - a) * share
    })
}

/// The map over the dimmed image. The higher the map, the more opaque and the lighter is its colour. A small image is
/// enlarged with sharp pixels; the map is smoothed (bilinear).
///
/// # Errors
///
/// [`Error::Picture`] if the map has another size than `places` says.
pub fn overlay(image: &Image, places: [usize; 2], map: &[f32]) -> Result<Image> {
    let problem = |problem: String| Error::Picture { problem };
    let [rows, columns] = places;
    if rows * columns != map.len() || map.is_empty() {
        let found = map.len();
        return Err(problem(format!(
            "a map of {rows} × {columns} places has {found} numbers"
        )));
    }
    let factor = LEAST_SIDE.div_ceil(image.width().max(image.height()).max(1));
    let (width, height) = (image.width() * factor, image.height() * factor);
    let (across, down) = (between(width, columns), between(height, rows));
    let pixels = image.to_rgb();
    let mut out = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..height {
        let (above, below, share) = down[y as usize];
        for x in 0..width {
            let (left, right, part) = across[x as usize];
            let along = |row: usize| {
                let [a, b] = [left, right].map(|column| map[row * columns + column]);
                a + (b - a) * part
            };
            let value = along(above) + (along(below) - along(above)) * share;
            let at = (y / factor * image.width() + x / factor) as usize * 3;
            out.extend(blended([pixels[at], pixels[at + 1], pixels[at + 2]], value));
        }
    }
    Image::from_rgb(width, height, out).map_err(|error| problem(error.to_string()))
}

/// A pixel under a value of the map. Half of its colour goes, so that the colours of the map are told from the image's.
fn blended(pixel: [u8; 3], value: f32) -> [u8; 3] {
    let [r, g, b] = pixel.map(f32::from);
    let grey = 0.299 * r + 0.587 * g + 0.114 * b;
    let opacity = OPACITY * value.clamp(0.0, 1.0);
    let (low, high) = (COLOURS.start(), COLOURS.end());
    let over = colour(low + (high - low) * value);
    std::array::from_fn(|c| {
        let under = DIMMED * (grey + f32::from(pixel[c])) / 2.0;
        (under + (over[c] - under) * opacity).round() as u8
    })
}

/// For each of `size` pixels the two of `count` places around it, and the share of the second. The middles of the places
/// are spread evenly over the pixels.
fn between(size: u32, count: usize) -> Vec<(usize, usize, f32)> {
    let last = count - 1;
    let of = |pixel: u32| {
        let at = (pixel as f32 + 0.5) * count as f32 / size as f32 - 0.5;
        let at = at.clamp(0.0, last as f32);
        let first = (at as usize).min(last);
        (first, (first + 1).min(last), at - first as f32)
    };
    (0..size).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(side: u32, value: u8) -> Image {
        Image::from_gray(side, side, vec![value; (side * side) as usize]).unwrap()
    }

    fn lightness(pixel: &[u8]) -> f32 {
        0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2])
    }

    #[test]
    fn the_order_of_values_is_kept_in_grey() {
        for (value, slack) in [(0, 0.0), (90, 0.0), (160, 0.0), (255, 4.0)] {
            let steps = (0..=20).map(|step| blended([value; 3], step as f32 / 20.0));
            let lights: Vec<f32> = steps.map(|pixel| lightness(&pixel)).collect();
            for pair in lights.windows(2) {
                assert!(pair[1] > pair[0] - slack, "{value}: {lights:?}");
            }
            assert!(lights[20] > lights[0] + 60.0, "{value}: {lights:?}");
        }
    }

    #[test]
    fn the_map_lies_over_the_enlarged_image_and_is_smooth() {
        let mut map = vec![0.0; 16];
        map[4 + 2] = 1.0; // row 1, column 2
        let picture = overlay(&grey(32, 80), [4, 4], &map).unwrap();
        assert_eq!((picture.width(), picture.height()), (224, 224));
        let pixels = picture.to_rgb();
        let at = |row: usize, column: usize| lightness(&pixels[(row * 224 + column) * 3..][..3]);
        let lightest =
            (0..224 * 224).max_by(|&a, &b| at(a / 224, a % 224).total_cmp(&at(b / 224, b % 224)));
        let lightest = lightest.unwrap();
        assert!((lightest / 224).abs_diff(84) <= 2 && (lightest % 224).abs_diff(140) <= 2);
        assert!(at(84, 140) > at(84, 120) && at(84, 120) > at(84, 100));
        assert_eq!(at(200, 20), at(20, 20));
        assert!(overlay(&grey(4, 0), [4, 4], &map[1..]).is_err());
    }
}
