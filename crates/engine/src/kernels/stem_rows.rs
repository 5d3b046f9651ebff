//! Some rows of the first convolution of one image, with bias and activation.

use std::ops::Range;

use super::activation::{activate, for_activation};
use super::entry;
use super::image_rows::inside;
use super::stem::{Pixels, Stem, TAPS, TILE, forward_tile};
use crate::memory::{Planes, Src};
use crate::simd::{LANES, Simd};
use crate::spec::Activation;

entry! {
    /// Writes output rows `rows` of image 0 to `target`, which starts with the first of these rows.
    ///
    /// # Safety
    /// See [`Stem`]; `pixels` holds the image, `bias` is padded to whole planes.
    fn stem_rows(
        operands: &Stem,
        pixels: Pixels<'_>,
        rows: Range<usize>,
        bias: Src,
        activation: Activation,
        target: Planes,
    ) => stem_rows_kernel
}

#[inline(always)]
unsafe fn stem_rows_kernel<S: Simd>(
    s: S,
    o: &Stem,
    pixels: Pixels<'_>,
    rows: Range<usize>,
    bias: Src,
    activation: Activation,
    target: Planes,
) {
    let columns = o.width.div_ceil(o.stride);
    o.clear();
    let mut next = (rows.start * o.stride).saturating_sub(o.zeros.above);
    for (index, y) in rows.enumerate() {
        o.fill_for(pixels, 0, y, &mut next);
        let tap_rows = inside(y, o.stride, 3, o.height, o.zeros.above);
        for plane in 0..o.planes {
            let taps = o.taps.at(plane * TAPS * LANES);
            let bias = s.load(bias, plane * LANES);
            let target = target.plane(plane).row(index * columns).start;
            let mut x = 0;
            while x < columns {
                // The last tile may extend beyond the row; the surplus is not stored.
                let count = TILE.min(columns - x);
                let tile = forward_tile(s, o, y, tap_rows.clone(), x, taps);
                for_activation!(activation, A => for column in 0..TILE {
                    if column < count {
                        let value = activate::<S, A>(s, s.add(tile[column], bias));
                        s.store_pixel(target, x + column, value);
                    }
                });
                x += TILE;
            }
        }
    }
}
