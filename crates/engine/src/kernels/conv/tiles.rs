//! Tiles of outputs of a convolution.

use super::tile_rows::{rows_at_once, rows_on_tiles};
use crate::kernels::activation::activate_tile;
use crate::kernels::ahead::{NextPanel, Pixels, fetch_operands, fetch_pixels};
use crate::kernels::epilogue::add_sums;
use crate::kernels::product::{UNROLL, column, steps, tiles};
use crate::kernels::tile_memory::TileMemory;
use crate::kernels::{Before, Frame, Sums, entry_ranks};
use crate::memory::{Dst, Planes, Src};
use crate::simd::{LANES, Simd};
use crate::spec::Activation;

/// One panel of a convolution over a frame.
#[derive(Clone, Copy)]
pub(crate) struct ConvTiles<'a> {
    pub(crate) frame: Frame,
    /// For each tap, the distance in values from the frame's first pixel to the pixel that the tap reads for the
    /// first output.
    pub(crate) taps: &'a [usize],
    /// Distance in rows of the frame from one output row to the next.
    pub(crate) step: usize,
    /// The range of the frame's ranks that the panel reads. A rank is one channel in f32; see [`super::ranks`].
    pub(crate) ranks: (usize, usize),
    /// `[taps][ranks][width * 16]`
    pub(crate) weights: Src,
    /// The panel's first plane of outputs.
    pub(crate) plane: usize,
    /// Number of planes of outputs: 1 to 3.
    pub(crate) width: usize,
    /// Output rows of each image.
    pub(crate) rows: usize,
    /// Outputs of each row.
    pub(crate) columns: usize,
    pub(crate) target: Planes,
    pub(crate) place: Place,
}

/// The pixels of a target that receive outputs.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The first output's pixel.
    pub(crate) first: usize,
    /// Distances in pixels between images, rows and columns of the output.
    pub(crate) image: usize,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

/// The operations on outputs before they are stored, in this order. Operands have the shape of the target.
#[derive(Clone, Copy)]
pub(crate) struct ConvEpilogue {
    /// A bias for each channel, padded to whole planes.
    pub(crate) bias: Option<Src>,
    /// Added before the activation.
    pub(crate) shortcut: Option<Planes>,
    pub(crate) activation: Activation,
    /// Multiplies by the derivative of this activation.
    pub(crate) before: Option<Before>,
    /// A factor for each channel. The sums are computed before it.
    pub(crate) scale: Option<Src>,
    /// Added last. The sums are computed after it, unless there is a scale.
    pub(crate) addend: Option<Planes>,
    /// The second sum adds up the products with these values. With `None` it adds up squares.
    pub(crate) sums_with: Option<Planes>,
}

impl ConvEpilogue {
    pub(crate) const NONE: ConvEpilogue = ConvEpilogue {
        bias: None,
        shortcut: None,
        activation: Activation::Identity,
        before: None,
        scale: None,
        addend: None,
        sums_with: None,
    };
}

entry_ranks! {
    /// Computes one panel's outputs for all images of the frame. Adds the outputs and their squares, or products, to
    /// the sums.
    ///
    /// # Safety
    /// The frame holds all pixels that the taps read; on tiles, 15 more are readable. The target and the epilogue's operands
    /// hold all pixels of the place, in the panel's planes.
    fn conv_tiles(operands: &ConvTiles<'_>, epilogue: &ConvEpilogue, sums: Option<&mut Sums>)
        => conv_tiles_kernel
}

/// Sums over rows of outputs, of one panel: three planes of values, and three of products.
type Totals = [f32; 6 * LANES];

#[inline(always)]
unsafe fn conv_tiles_kernel<S: Simd>(
    s: S,
    o: &ConvTiles<'_>,
    epilogue: &ConvEpilogue,
    mut sums: Option<&mut Sums>,
) {
    let tiles = match o.width {
        1 => &Tiles::<S, 1>::TABLE,
        2 => &Tiles::<S, 2>::TABLE,
        _ => &Tiles::<S, 3>::TABLE,
    };
    let mut memory = S::TILES.then(TileMemory::take);
    if let Some(memory) = &mut memory {
        let planes = o.ranks.0 / LANES..o.ranks.1 / LANES;
        let stride = o.frame.stride();
        let steps = o.taps.iter();
        memory
            .set_steps(steps.flat_map(|tap| planes.clone().map(move |plane| tap + plane * stride)));
    }
    let rows_at_once = if S::TILES { rows_at_once(o) } else { 1 };
    let blocks = o.columns.div_ceil(S::TILE_ROWS[o.width - 1]);
    let start = o.frame.start.src();
    let (from, to) = o.ranks;
    let length = o.taps.len() * (to - from) * o.width * LANES;
    let calls = o.taps.len() * (to.div_ceil(LANES) - from / LANES);
    let tiles_in_all = o.frame.images * o.rows * blocks;
    let mut next = NextPanel::new(o.weights, length, tiles_in_all * calls);
    for image in 0..o.frame.images {
        for y in (0..o.rows).step_by(rows_at_once) {
            let a = start.at(image * o.frame.image() + y * o.step * o.frame.pitch());
            let first = o.place.first + image * o.place.image + y * o.place.row;
            let mut totals: Totals = [0.0; 6 * LANES];
            let tile = Tile {
                conv: o,
                epilogue,
                a,
                next,
                pixel: first,
                totals: sums.is_some().then(|| Dst::of(&mut totals)),
            };
            if let Some(memory) = &memory {
                rows_on_tiles(s, memory, &tile, rows_at_once.min(o.rows - y));
            } else {
                let mut x = 0;
                for block in 1..=blocks {
                    let end = o.columns * block / blocks;
                    tiles[end - x - 1](&Tile {
                        a: a.at(x * LANES),
                        next,
                        pixel: first + x * o.place.column,
                        ..tile
                    });
                    next = next.after(calls);
                    x = end;
                }
            }
            if let Some(sums) = &mut sums {
                // A few rows are summed separately first, so that rounding errors do not grow with the image.
                let totals = Src::of(&totals);
                for vector in 0..o.width {
                    let first = s.load(totals, vector * LANES);
                    let second = s.load(totals, (3 + vector) * LANES);
                    sums.add(s, (o.plane + vector) * LANES, first, second);
                }
            }
        }
    }
    if let Some(memory) = memory {
        memory.give_back();
    }
}

#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    pub(super) conv: &'a ConvTiles<'a>,
    pub(super) epilogue: &'a ConvEpilogue,
    pub(super) a: Src,
    pub(super) next: NextPanel,
    /// The pixel of the first output.
    pub(super) pixel: usize,
    pub(super) totals: Option<Dst>,
}

tiles!();

#[inline(always)]
unsafe fn tile_kernel<S: Simd, const ROWS: usize, const WIDTH: usize>(s: S, tile: &Tile<'_>) {
    let conv = tile.conv;
    let mut first = [s.zero(); WIDTH];
    if let Some(bias) = tile.epilogue.bias {
        for vector in 0..WIDTH {
            first[vector] = s.load(bias, (conv.plane + vector) * LANES);
        }
    }
    let mut sums = [first; ROWS];
    let stride = conv.frame.stride();
    let (start, end) = conv.ranks;
    let pitch = WIDTH * LANES;
    let mut b = conv.weights;
    let mut next = tile.next;
    if let Some(before) = &tile.epilogue.before {
        let pixels = Pixels {
            plane: conv.plane,
            width: WIDTH,
            first: tile.pixel,
            rows: ROWS,
            step: conv.place.column,
        };
        fetch_operands(before, tile.epilogue.addend, &pixels);
    }
    for &tap in conv.taps {
        let mut rank = start;
        while rank < end {
            let mut k = rank % LANES;
            let count = (LANES - k).min(end - rank);
            let a = tile.a.at(tap + rank / LANES * stride);
            rank += count;
            next.fetch();
            if rank < end {
                fetch_pixels::<S, ROWS>(a, stride);
            }
            let last = k + count;
            while k + UNROLL <= last {
                steps::<S, ROWS, WIDTH, UNROLL>(s, &mut sums, a, k, b, pitch);
                b = b.at(UNROLL * pitch);
                k += UNROLL;
            }
            while k < last {
                steps::<S, ROWS, WIDTH, 1>(s, &mut sums, a, k, b, pitch);
                b = b.at(pitch);
                k += 1;
            }
        }
    }
    // The sums stay in registers only if every index into them is a constant.
    finish::<S, ROWS>(&column::<S, ROWS, WIDTH>(&sums, 0), tile, 0);
    if WIDTH > 1 {
        finish::<S, ROWS>(&column::<S, ROWS, WIDTH>(&sums, 1), tile, 1);
    }
    if WIDTH > 2 {
        finish::<S, ROWS>(&column::<S, ROWS, WIDTH>(&sums, 2), tile, 2);
    }
}

/// Stores a column of a tile. The tiles of all widths share it: a column has the depth of many pixels, so a call costs
/// nothing in comparison.
#[inline(never)]
pub(super) unsafe fn finish<S: Simd, const ROWS: usize>(
    column: &[S::Vector; ROWS],
    tile: &Tile<'_>,
    vector: usize,
) {
    let s = S::new();
    s.vectorize(
        #[inline(always)]
        || finish_kernel::<S, ROWS>(s, *column, tile, vector),
    );
}

#[inline(always)]
unsafe fn finish_kernel<S: Simd, const ROWS: usize>(
    s: S,
    mut column: [S::Vector; ROWS],
    tile: &Tile<'_>,
    vector: usize,
) {
    let epilogue = tile.epilogue;
    let plane = tile.conv.plane + vector;
    let step = tile.conv.place.column;
    add_pixels(s, epilogue.shortcut, plane, tile, &mut column);
    activate_tile(s, epilogue.activation, &mut column);
    if let Some(before) = epilogue.before {
        column = before.derived(s, plane, tile.pixel, step, column);
    }
    if epilogue.scale.is_none() {
        add_pixels(s, epilogue.addend, plane, tile, &mut column);
    }
    if let Some(totals) = tile.totals {
        let with = epilogue.sums_with.map(
            #[inline(always)]
            |with| with.plane(plane).row(tile.pixel).src(),
        );
        let totals = [vector, 3 + vector].map(
            #[inline(always)]
            |vector| totals.at(vector * LANES),
        );
        add_sums(s, totals, with, step, &column);
    }
    if let Some(scale) = epilogue.scale {
        let scale = s.load(scale, plane * LANES);
        for row in 0..ROWS {
            column[row] = s.mul(column[row], scale);
        }
        add_pixels(s, epilogue.addend, plane, tile, &mut column);
    }
    let target = tile.conv.target.plane(plane).row(tile.pixel).start;
    for row in 0..ROWS {
        s.store_pixel(target, row * step, column[row]);
    }
}

/// Adds the values of `from` at a tile's pixels, if there are any.
#[inline(always)]
unsafe fn add_pixels<S: Simd, const ROWS: usize>(
    s: S,
    from: Option<Planes>,
    plane: usize,
    tile: &Tile<'_>,
    column: &mut [S::Vector; ROWS],
) {
    if let Some(from) = from {
        let from = from.plane(plane).row(tile.pixel).src();
        let step = tile.conv.place.column;
        for row in 0..ROWS {
            column[row] = s.add(column[row], s.load_pixel(from, row * step));
        }
    }
}
