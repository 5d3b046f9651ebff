//! The gradient of a convolution's weights.

use crate::kernels::ahead::fetch_gradient;
use crate::kernels::{Frame, entry_f32};
use crate::memory::{Dst, Src};
use crate::simd::{LANES, Simd};

/// The operands of [`conv_gradient`].
#[derive(Clone, Copy)]
pub(crate) struct ConvGradient<'a> {
    /// The input.
    pub(crate) input: Frame,
    /// For each tap, the distance in values from the input frame's first pixel to the one that the tap reads for the
    /// first output.
    pub(crate) taps: &'a [usize],
    /// Distance in rows of the input's frame from one output row to the next.
    pub(crate) step: usize,
    /// The range of planes of the input.
    pub(crate) planes: (usize, usize),
    /// The gradient of the output.
    pub(crate) output: Frame,
    /// Distance in values from the output frame's first pixel to the first output.
    pub(crate) first: usize,
    /// Output rows of each image.
    pub(crate) rows: usize,
    /// Outputs of each row.
    pub(crate) columns: usize,
    /// The range of channels of the output; its start is a multiple of 16.
    pub(crate) outputs: (usize, usize),
    /// `[outputs][planes][taps][16]`
    pub(crate) gradient: Dst,
    /// Whether to add to the existing values.
    pub(crate) accumulate: bool,
}

entry_f32! {
    /// Computes the gradient of the weights between some outputs and some planes of inputs, summed over all pixels.
    ///
    /// # Safety
    /// The frames hold all pixels, and `gradient` all its values.
    fn conv_gradient(operands: &ConvGradient<'_>) => conv_gradient_kernel
}

#[inline(always)]
unsafe fn conv_gradient_kernel<S: Simd>(s: S, o: &ConvGradient<'_>) {
    let _ = s;
    let widest = (1..=3)
        .rev()
        .find(|width| S::GRADIENT_ROWS[width - 1] > 0)
        .unwrap_or(1);
    let (start, end) = o.outputs;
    let (from, to) = o.planes;
    // Pairs of a plane and a tap.
    let pairs = (to - from) * o.taps.len();
    let mut pair = 0;
    while pair < pairs {
        let width = widest.min(pairs - pair);
        let height = S::GRADIENT_ROWS[width - 1];
        let kernel = match width {
            1 => match height {
                16 => tile::<S, 16, 1>,
                8 => tile::<S, 8, 1>,
                4 => tile::<S, 4, 1>,
                _ => tile::<S, 2, 1>,
            },
            2 => tile::<S, 8, 2>,
            _ => tile::<S, 8, 3>,
        };
        let mut places = [0; 3];
        for (index, place) in places.iter_mut().enumerate().take(width) {
            let (plane, tap) = ((pair + index) / o.taps.len(), (pair + index) % o.taps.len());
            *place = (from + plane) * o.input.stride() + o.taps[tap];
        }
        let mut output = start;
        while output < end {
            let count = height.min(end - output);
            let at = output / LANES * o.output.stride() + output % LANES;
            kernel(&Tile {
                o,
                places,
                d: o.output.start.src().at(at + o.first),
                gradient: o.gradient.at(((output - start) * pairs + pair) * LANES),
                pitch: pairs * LANES,
                count,
            });
            output += count;
        }
        pair += width;
    }
}

struct Tile<'a> {
    o: &'a ConvGradient<'a>,
    /// The places of the inputs in their frame.
    places: [usize; 3],
    d: Src,
    gradient: Dst,
    /// Distance in values from one output to the next in `gradient`.
    pitch: usize,
    /// Number of outputs to store.
    count: usize,
}

unsafe fn tile<S: Simd, const ROWS: usize, const WIDTH: usize>(operands: &Tile<'_>) {
    if ROWS == S::GRADIENT_ROWS[WIDTH - 1] {
        let s = S::new();
        s.vectorize(
            #[inline(always)]
            || tile_kernel::<S, ROWS, WIDTH>(s, operands),
        );
    }
}

#[inline(always)]
unsafe fn tile_kernel<S: Simd, const ROWS: usize, const WIDTH: usize>(s: S, tile: &Tile<'_>) {
    let o = tile.o;
    let mut sums = [[s.zero(); WIDTH]; ROWS];
    fetch_gradient(tile.gradient, tile.pitch, tile.count, WIDTH);
    for image in 0..o.input.images {
        for y in 0..o.rows {
            let at = image * o.input.image() + y * o.step * o.input.pitch();
            let mut a = [o.input.start.src(); WIDTH];
            for vector in 0..WIDTH {
                a[vector] = a[vector].at(at + tile.places[vector]);
            }
            let d = tile.d.at(image * o.output.image() + y * o.output.pitch());
            for x in 0..o.columns {
                let mut values = [s.zero(); WIDTH];
                for vector in 0..WIDTH {
                    values[vector] = s.load(a[vector], x * LANES);
                }
                for row in 0..ROWS {
                    let d = s.broadcast(d, x * LANES + row);
                    for vector in 0..WIDTH {
                        sums[row][vector] = s.mul_add(d, values[vector], sums[row][vector]);
                    }
                }
            }
        }
    }
    // Every index is a constant, so the sums stay in registers.
    for row in 0..ROWS {
        if row >= tile.count {
            break;
        }
        for vector in 0..WIDTH {
            let at = row * tile.pitch + vector * LANES;
            let mut sum = sums[row][vector];
            if o.accumulate {
                sum = s.add(sum, s.load(tile.gradient.src(), at));
            }
            s.store(tile.gradient, at, sum);
        }
    }
}
