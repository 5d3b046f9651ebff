//! Maps the rows of a block to images.

use std::ops::Range;

/// A block of rows that may start within an image and span several.
#[derive(Clone, Copy)]
pub(crate) struct Images {
    /// The first row of the block, counted over all images.
    pub(crate) first_row: usize,
    /// Rows (pixels) per image.
    pub(crate) pixels: usize,
}

impl Images {
    /// Each image that overlaps the block's `rows` rows, with its range of these rows.
    #[inline(always)]
    pub(crate) fn spans(self, rows: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let image = (self.first_row + start) / self.pixels;
            let end = ((image + 1) * self.pixels - self.first_row).min(rows);
            let span = start..end;
            start = end;
            (!span.is_empty()).then_some((image, span))
        })
    }
}

/// For output `y`, the range of kernel positions along one axis that fall inside the image. The
/// image has `size` pixels, and `zeros` pixels of padding before them.
#[inline(always)]
pub(super) fn inside(
    y: usize,
    stride: usize,
    kernel: usize,
    size: usize,
    zeros: usize,
) -> Range<usize> {
    let top = y * stride;
    zeros.saturating_sub(top)..kernel.min(size + zeros - top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_cut_at_the_images_borders() {
        let images = Images {
            first_row: 5,
            pixels: 4,
        };
        let spans: Vec<_> = images.spans(8).collect();
        assert_eq!(spans, [(1, 0..3), (2, 3..7), (3, 7..8)]);
        assert_eq!(images.spans(0).count(), 0);
    }
}
