//! Finds near-identical neighbours, such as the frames of a burst or a video.

use std::path::Path;

use crate::sample::Sample;

/// Columns and rows of the reduced image that the hash compares.
const COLUMNS: usize = 9;
const ROWS: usize = 8;
/// Two images count as near-identical if their 64-bit hashes differ in at most this many bits.
const MAX_DISTANCE: u32 = 4;

/// The difference hash of `[height, width, 3]` pixels (Krawetz, "Kind of Like That", 2013). The image is reduced to
/// 9 × 8 gray pixels. A bit is set if the pixel to the right is brighter. An image without pixels has the hash 0.
///
/// ```
/// let rising: Vec<u8> = (0..18).flat_map(|x| [10 * x as u8; 3]).cycle().take(18 * 16 * 3).collect();
/// assert_eq!(mnist_data::difference_hash(&rising, 16, 18), u64::MAX);
/// ```
#[must_use]
pub fn difference_hash(pixels: &[u8], height: usize, width: usize) -> u64 {
    if height == 0 || width == 0 || pixels.len() < height * width * 3 {
        return 0;
    }
    let mut hash = 0;
    for row in 0..ROWS {
        let rows = part(row, ROWS, height);
        let mean = |column: usize| {
            let columns = part(column, COLUMNS, width);
            let count = (rows.len() * columns.len()) as u64;
            let gray = |y: usize, x: usize| {
                let pixel = &pixels[(y * width + x) * 3..][..3];
                // The weights of ITU-R 601, as in Pillow's mode "L".
                let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u64::from);
                299 * red + 587 * green + 114 * blue
            };
            let sum: u64 = rows
                .clone()
                .flat_map(|y| columns.clone().map(move |x| gray(y, x)))
                .sum();
            sum / count
        };
        let means: [u64; COLUMNS] = std::array::from_fn(mean);
        for pair in means.windows(2) {
            hash = hash << 1 | u64::from(pair[1] > pair[0]);
        }
    }
    hash
}

/// The range of pixels that part `index` of `parts` covers, at least one pixel.
fn part(index: usize, parts: usize, pixels: usize) -> std::ops::Range<usize> {
    let start = (index * pixels / parts).min(pixels - 1);
    let end = ((index + 1) * pixels / parts).clamp(start + 1, pixels);
    start..end
}

/// Finds bursts: returns the group of each sample. Neighbours by name in one folder share a group if their difference
/// hashes are nearly equal. A sample without a hash has a group of its own. Names are in natural order: `IMG_9` comes
/// before `IMG_10`.
///
/// A group of more than half of its class is dissolved. In such a class most images look alike, for example drawings on
/// a white background.
#[must_use]
pub fn bursts(samples: &[Sample], hashes: &[Option<u64>]) -> Vec<usize> {
    let mut groups: Vec<usize> = (0..samples.len()).collect();
    if hashes.iter().all(Option::is_none) {
        return groups;
    }
    let folder = |index: usize| samples[index].path().parent().map(Path::to_owned);
    let mut order = groups.clone();
    order.sort_by_cached_key(|&index| {
        let sample = &samples[index];
        (sample.label, folder(index), natural(sample.id()))
    });
    for pair in order.windows(2) {
        let (one, next) = (pair[0], pair[1]);
        let near = samples[one].label == samples[next].label && folder(one) == folder(next);
        let alike = |(a, b): (u64, u64)| (a ^ b).count_ones() <= MAX_DISTANCE;
        let hash = |index: usize| hashes.get(index).copied().flatten();
        if near && hash(one).zip(hash(next)).is_some_and(alike) {
            groups[next] = groups[one];
        }
    }
    dissolve(samples, &mut groups);
    groups
}

/// Splits groups of more than half of their class into single samples again.
fn dissolve(samples: &[Sample], groups: &mut [usize]) {
    let labels = samples.iter().map(|sample| sample.label + 1).max();
    let mut of_class = vec![0_usize; labels.unwrap_or(0)];
    let mut of_group = vec![0_usize; samples.len()];
    for (sample, &group) in samples.iter().zip(groups.iter()) {
        of_class[sample.label] += 1;
        of_group[group] += 1;
    }
    for (index, group) in groups.iter_mut().enumerate() {
        if 2 * of_group[*group] > of_class[samples[index].label] {
            *group = index;
        }
    }
}

/// A key for sorting names in natural order: digits by their value, the rest as text.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (text, number) = rest.split_at(digits);
        let end = number
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(number.len());
        key.push((text.to_owned(), number[..end].parse().unwrap_or(u64::MAX)));
        rest = &number[end..];
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(id: &str, label: usize) -> Sample {
        Sample::new(id.into(), id.into(), label)
    }

    #[test]
    fn the_hash_tells_left_from_right_and_not_light_from_dark() {
        let image = |gray: fn(usize, usize) -> u8| -> Vec<u8> {
            let pixels = (0..32).flat_map(|y| (0..36).map(move |x| gray(y, x)));
            pixels.flat_map(|gray| [gray; 3]).collect()
        };
        let hash = |gray| difference_hash(&image(gray), 32, 36);
        assert_eq!(hash(|_, x| 5 * x as u8), u64::MAX);
        assert_eq!(hash(|_, x| 200 - 5 * x as u8), 0);
        assert_eq!(hash(|_, _| 7), 0);
        // Brightness rises only in the upper half.
        assert_eq!(
            hash(|y, x| if y < 16 { 2 * x as u8 } else { 90 }),
            0xffff_ffff_0000_0000
        );
        assert_eq!(
            hash(|y, x| (x * x % 97 + y) as u8),
            hash(|y, x| (x * x % 97 + y + 40) as u8)
        );
        assert_eq!(difference_hash(&[], 0, 5), 0);
        assert_eq!(difference_hash(&[9, 9, 9], 1, 1), 0);
    }

    #[test]
    fn neighbours_by_natural_name_with_like_hashes_share_a_group() {
        let ids = [
            "a/9.jpg",
            "a/10.jpg",
            "a/11.jpg",
            "a/12.jpg",
            "b/13.jpg",
            "a/x/10.jpg",
        ];
        let samples: Vec<Sample> = ids.iter().map(|id| sample(id, 0)).collect();
        let hashes = [
            Some(0b1111),
            Some(0),
            Some(0b1_1111),
            Some(0),
            Some(0),
            None,
        ];
        let groups = bursts(&samples, &hashes);
        // Images 9 and 10 differ in four bits, 10 and 11 in five, 11 and 12 in five; b is another folder.
        assert_eq!(groups[0], groups[1]);
        let mut others = groups[1..].to_vec();
        others.sort_unstable();
        others.dedup();
        assert_eq!(others.len(), 5, "{groups:?}");
        let classes: Vec<Sample> = (0..2).map(|label| sample("a/1.jpg", label)).collect();
        let groups = bursts(&classes, &[Some(1), Some(1)]);
        assert_ne!(groups[0], groups[1]);
    }

    #[test]
    fn a_class_that_looks_alike_is_no_burst() {
        let class = |count: usize| -> usize {
            let samples: Vec<Sample> = (0..count).map(|n| sample(&format!("a/{n}"), 0)).collect();
            let mut groups = bursts(&samples, &vec![Some(3); count]);
            groups.sort_unstable();
            groups.dedup();
            groups.len()
        };
        assert_eq!([class(2), class(20), class(200)], [2, 20, 200]);
    }
}
