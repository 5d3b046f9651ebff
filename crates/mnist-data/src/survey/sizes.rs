//! Sizes of images, read from their headers.

use std::io::BufReader;
use std::path::Path;

use crate::decode::{MAX_BYTES, MAX_SIDE};
use crate::regular;

/// The sizes of a set of images, as (width, height) in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSizes {
    /// The size of the image with the fewest pixels.
    pub smallest: (u32, u32),
    /// The size of the middle image in the order of pixel counts.
    pub median: (u32, u32),
    /// The size of the image with the most pixels.
    pub largest: (u32, u32),
    /// The median of the shorter sides, in pixels.
    pub shorter_side: u32,
    /// The number of images with a readable header.
    pub images: usize,
}

/// Reads the sizes of images from their headers. Files without a readable header are left out. `None` if no file has
/// one.
pub fn image_sizes(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Option<ImageSizes> {
    let size = |path: &Path| {
        // Only a regular file is read: a pipe would block.
        let (file, _) = regular::open(path, MAX_BYTES).ok()?;
        imagesize::reader_size(BufReader::new(file)).ok()
    };
    let sides = paths.into_iter().filter_map(|path| size(path.as_ref()));
    let sides = sides.filter_map(|size| {
        let side = |side: usize| {
            u32::try_from(side)
                .ok()
                .filter(|side| (1..=MAX_SIDE).contains(side))
        };
        Some((side(size.width)?, side(size.height)?))
    });
    let mut sides: Vec<(u32, u32)> = sides.collect();
    sides.sort_by_key(|&(width, height)| (u64::from(width) * u64::from(height), width));
    let mut shorter: Vec<u32> = sides
        .iter()
        .map(|&(width, height)| width.min(height))
        .collect();
    shorter.sort_unstable();
    Some(ImageSizes {
        smallest: *sides.first()?,
        median: sides[sides.len() / 2],
        largest: *sides.last()?,
        shorter_side: shorter[shorter.len() / 2],
        images: sides.len(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn sides_come_from_headers_and_files_without_one_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let pnm = |name: &str, text: &str| -> PathBuf {
            let path = dir.path().join(name);
            fs::write(&path, text.to_owned() + "pixels").unwrap();
            path
        };
        let files = [
            pnm("a.pgm", "P5\n30 4\n255\n"),
            pnm("b.pgm", "P5\n2 3\n255\n"),
            pnm("c.pgm", "P5\n5 7\n255\n"),
            pnm("d.pgm", "P7"),
            dir.path().join("missing.pgm"),
        ];
        let sizes = image_sizes(&files).unwrap();
        assert_eq!(
            sizes,
            ImageSizes {
                smallest: (2, 3),
                median: (5, 7),
                largest: (30, 4),
                shorter_side: 4,
                images: 3,
            }
        );
        assert_eq!(image_sizes(&files[3..]), None);
    }
}
