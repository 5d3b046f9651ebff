//! Matrix products of activations and packed weights, with fused prologue and epilogue.
//!
//! `c[m][n] = sum_k a[m][k] * b[k][n]` for a block of rows (pixels), with `a` and `c` in planes. `b` is
//! packed into panels of 1 to 3 vectors (see [`super::pack`]), or read unpacked. A tile of `ROWS x WIDTH`
//! vectors stays in registers over the whole depth. Bias, activation, addend and statistics are applied before the tile
//! is stored.

use super::activation::{activate, activate_tile, activate_values, for_short_activation};
use super::ahead::{NextPanel, NextRows, Pixels, fetch_operands, fetch_pixels};
use super::epilogue::{Epilogue, add_sums};
use super::tile_product::product_on_tiles;
use super::{entry_tiles, put};
use crate::memory::{Planes, Src, planes};
use crate::simd::{LANES, Simd};
use crate::spec::Activation;

/// The operands of [`product`].
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) rows: usize,
    /// Channels of `a`.
    pub(crate) depth: usize,
    /// Channels of `c`.
    pub(crate) columns: usize,
    /// Unused channels of the last rank must be finite, because they are multiplied by 0.
    pub(crate) a: Planes,
    pub(crate) b: Weights,
    pub(crate) c: Planes,
    /// Rows that the caller reads next. The tiles fetch them meanwhile.
    pub(crate) next: NextRows,
}

/// The right factor of a product.
#[derive(Clone, Copy)]
pub(crate) enum Weights {
    /// Packed in panels.
    Packed(Src),
    /// Packed in panels, and so many that they do not stay in the second cache. The weights behind them are read next.
    Followed(Src),
    /// Unpacked, in rows of this many values. Allowed only if a rank is one channel. Up to 15 values after the last
    /// weight are read, but affect only unused channels of `c`.
    Rows(Src, usize),
}

impl Weights {
    /// The weights of the columns from plane `plane` on. A panel must start at that plane. `ranks` is the depth's number of
    /// ranks, see [`Isa::ranks`](crate::isa::Isa::ranks).
    #[inline(always)]
    pub(crate) unsafe fn plane(self, ranks: usize, plane: usize) -> Self {
        match self {
            Weights::Packed(b) => Weights::Packed(b.at(ranks * plane * LANES)),
            Weights::Followed(b) => Weights::Followed(b.at(ranks * plane * LANES)),
            Weights::Rows(b, pitch) => Weights::Rows(b.at(plane * LANES), pitch),
        }
    }
}

/// The widths of a matrix's panels, in vectors. The matrix has `vectors` vectors in total.
#[inline(always)]
pub(super) fn panels<S: Simd>(vectors: usize) -> impl Iterator<Item = (usize, usize)> {
    let widest = (1..=3)
        .rev()
        .find(|width| S::TILE_ROWS[width - 1] > 0)
        .unwrap_or(1);
    let mut next = 0;
    std::iter::from_fn(move || {
        let left = vectors - next;
        // Two panels of two vectors, instead of one of three and one of one.
        let width = if left == 4 && widest == 3 {
            2
        } else {
            left.min(widest)
        };
        let start = next;
        next += width;
        (width > 0).then_some((start, width))
    })
}

entry_tiles! {
    /// # Safety
    /// `a` holds `rows` pixels of `depth` channels, `c` has space for `rows` pixels of `columns`, and `b`
    /// is packed for that depth and number of columns. The epilogue's operands have the shape of `c`.
    fn product(operands: &Product, epilogue: &Epilogue) => product_kernel
}

#[inline(always)]
unsafe fn product_kernel<S: Simd>(s: S, operands: &Product, epilogue: &Epilogue) {
    if S::TILES {
        return product_on_tiles(s, operands, epilogue);
    }
    let &Product { rows, depth, .. } = operands;
    let is_short = epilogue.is_short();
    let tiles = panels::<S>(planes(operands.columns))
        .map(|(_, width)| rows.div_ceil(S::TILE_ROWS[width - 1]))
        .sum();
    let mut next_rows = operands.next.lines(tiles);
    for (plane, width) in panels::<S>(planes(operands.columns)) {
        let tiles = match width {
            1 => &Tiles::<S, 1>::TABLE,
            2 => &Tiles::<S, 2>::TABLE,
            _ => &Tiles::<S, 3>::TABLE,
        };
        let blocks = rows.div_ceil(S::TILE_ROWS[width - 1]);
        let ranks = depth.div_ceil(S::RANK);
        let calls = depth / LANES;
        let (panel, pitch, mut next) = match operands.b.plane(ranks, plane) {
            Weights::Packed(b) => (b, width * LANES, NextPanel::NONE),
            Weights::Followed(b) => {
                let length = ranks * width * LANES;
                (b, width * LANES, NextPanel::new(b, length, blocks * calls))
            }
            Weights::Rows(b, pitch) => (b, pitch, NextPanel::NONE),
        };
        let mut row = 0;
        for block in 1..=blocks {
            // Blocks of nearly equal height, instead of a small one at the end.
            let end = rows * block / blocks;
            next_rows.fetch();
            tiles[end - row - 1](&Tile {
                depth,
                a: operands.a.row(row),
                b: panel,
                pitch,
                next,
                output: Output {
                    row,
                    plane,
                    c: operands.c.plane(plane).row(row),
                    epilogue,
                    is_short,
                },
            });
            next = next.after(calls);
            row = end;
        }
    }
    if epilogue.stream {
        s.settle();
    }
}

struct Tile<'a> {
    depth: usize,
    a: Planes,
    b: Src,
    /// Distance in values from one rank of `b` to the next.
    pitch: usize,
    next: NextPanel,
    output: Output<'a>,
}

/// The place of a tile's results, and what is done before they are stored.
pub(super) struct Output<'a> {
    /// The tile's first row and plane.
    pub(super) row: usize,
    pub(super) plane: usize,
    /// The result from this row and plane on.
    pub(super) c: Planes,
    pub(super) epilogue: &'a Epilogue,
    /// See [`Epilogue::is_short`].
    pub(super) is_short: bool,
}

/// Defines the table `Tiles`, which has the kernel `tile_kernel` compiled for each number of rows of a `Tile`.
macro_rules! tiles {
    () => {
        type TileKernel = unsafe fn(&Tile<'_>);

        struct Tiles<S, const WIDTH: usize>(S);

        impl<S: Simd, const WIDTH: usize> Tiles<S, WIDTH> {
            const TABLE: [TileKernel; 14] = [
                tile::<S, 1, WIDTH>,
                tile::<S, 2, WIDTH>,
                tile::<S, 3, WIDTH>,
                tile::<S, 4, WIDTH>,
                tile::<S, 5, WIDTH>,
                tile::<S, 6, WIDTH>,
                tile::<S, 7, WIDTH>,
                tile::<S, 8, WIDTH>,
                tile::<S, 9, WIDTH>,
                tile::<S, 10, WIDTH>,
                tile::<S, 11, WIDTH>,
                tile::<S, 12, WIDTH>,
                tile::<S, 13, WIDTH>,
                tile::<S, 14, WIDTH>,
            ];
        }

        unsafe fn tile<S: Simd, const ROWS: usize, const WIDTH: usize>(operands: &Tile<'_>) {
            // Tiles that do not fit this instruction set's registers are never requested.
            if !S::TILES && ROWS <= S::TILE_ROWS[WIDTH - 1] {
                let s = S::new();
                s.vectorize(
                    #[inline(always)]
                    || tile_kernel::<S, ROWS, WIDTH>(s, operands),
                );
            }
        }
    };
}
pub(super) use tiles;
tiles!();

#[inline(always)]
unsafe fn tile_kernel<S: Simd, const ROWS: usize, const WIDTH: usize>(s: S, operands: &Tile<'_>) {
    let output = &operands.output;
    let epilogue = output.epilogue;
    let mut first = [s.zero(); WIDTH];
    if let Some(bias) = epilogue.bias {
        for vector in 0..WIDTH {
            first[vector] = s.load(bias, (output.plane + vector) * LANES);
        }
    }
    let mut sums = [first; ROWS];
    let mut next = operands.next;
    if let Some(before) = &epilogue.before {
        let pixels = Pixels {
            plane: output.plane,
            width: WIDTH,
            first: output.row,
            rows: ROWS,
            step: 1,
        };
        fetch_operands(before, epilogue.addend, &pixels);
    }
    let (mut a, b, pitch) = (operands.a.src(), operands.b, operands.pitch);
    let ranks = LANES / S::RANK;
    let whole = operands.depth / LANES;
    let rest = (operands.depth % LANES).div_ceil(S::RANK);
    for plane in 0..whole {
        next.fetch();
        if plane + 1 < whole {
            fetch_pixels::<S, ROWS>(a, operands.a.stride);
        }
        for k in (0..ranks).step_by(UNROLL) {
            let b = b.at((plane * ranks + k) * pitch);
            steps::<S, ROWS, WIDTH, UNROLL>(s, &mut sums, a, k, b, pitch);
        }
        if plane + 1 < whole || rest > 0 {
            a = a.at(operands.a.stride);
        }
    }
    for k in 0..rest {
        let b = b.at((whole * ranks + k) * pitch);
        steps::<S, ROWS, WIDTH, 1>(s, &mut sums, a, k, b, pitch);
    }
    // The sums stay in registers only if every index into them is a constant.
    finish::<S, ROWS>(s, column::<S, ROWS, WIDTH>(&sums, 0), output, 0);
    if WIDTH > 1 {
        finish::<S, ROWS>(s, column::<S, ROWS, WIDTH>(&sums, 1), output, 1);
    }
    if WIDTH > 2 {
        finish::<S, ROWS>(s, column::<S, ROWS, WIDTH>(&sums, 2), output, 2);
    }
}

/// Takes the same vector of every row.
#[inline(always)]
pub(super) fn column<S: Simd, const ROWS: usize, const WIDTH: usize>(
    sums: &[[S::Vector; WIDTH]; ROWS],
    vector: usize,
) -> [S::Vector; ROWS] {
    let mut column = [sums[0][vector]; ROWS];
    for row in 1..ROWS {
        column[row] = sums[row][vector];
    }
    column
}

pub(super) const UNROLL: usize = 4;

/// `STEPS` ranks of the product, from rank `k` of the plane `a` on.
#[inline(always)]
pub(super) unsafe fn steps<S: Simd, const ROWS: usize, const WIDTH: usize, const STEPS: usize>(
    s: S,
    sums: &mut [[S::Vector; WIDTH]; ROWS],
    a: Src,
    k: usize,
    b: Src,
    pitch: usize,
) {
    for step in 0..STEPS {
        let mut weights = [s.zero(); WIDTH];
        for vector in 0..WIDTH {
            weights[vector] = s.load(b, step * pitch + vector * LANES);
        }
        for row in 0..ROWS {
            let value = s.broadcast(a, row * S::PIXEL + k + step);
            for vector in 0..WIDTH {
                sums[row][vector] = s.multiply_ranks(value, weights[vector], sums[row][vector]);
            }
        }
    }
}

/// Applies the epilogue to a column of a tile, and stores it.
#[inline(always)]
pub(super) unsafe fn finish<S: Simd, const ROWS: usize>(
    s: S,
    column: [S::Vector; ROWS],
    output: &Output<'_>,
    vector: usize,
) {
    if output.is_short {
        finish_kernel::<S, ROWS, true>(s, column, output, vector);
    } else {
        // A copy, so that short epilogues stay in registers.
        let values = column;
        finish_long::<S, ROWS>(&values, output, vector);
    }
}

#[inline(never)]
unsafe fn finish_long<S: Simd, const ROWS: usize>(
    column: &[S::Vector; ROWS],
    output: &Output<'_>,
    vector: usize,
) {
    let s = S::new();
    s.vectorize(
        #[inline(always)]
        || finish_kernel::<S, ROWS, false>(s, *column, output, vector),
    );
}

#[inline(always)]
unsafe fn finish_kernel<S: Simd, const ROWS: usize, const SHORT: bool>(
    s: S,
    mut column: [S::Vector; ROWS],
    output: &Output<'_>,
    vector: usize,
) {
    let epilogue = output.epilogue;
    let plane = output.plane + vector;
    if SHORT {
        for_short_activation!(epilogue.activation, A => for row in 0..ROWS {
            column[row] = activate::<S, A>(s, column[row]);
        });
    } else {
        activate_tile(s, epilogue.activation, &mut column);
    }
    if let Some(before) = epilogue.before {
        column = match SHORT {
            true => before.derived_shortly(s, plane, output.row, 1, column),
            false => before.derived(s, plane, output.row, 1, column),
        };
    }
    let addend = epilogue.addend.map(
        #[inline(always)]
        |addend| addend.plane(plane).row(output.row).src(),
    );
    if SHORT || epilogue.scale.is_none() {
        if let Some(addend) = addend {
            for row in 0..ROWS {
                column[row] = s.add(column[row], s.load_pixel(addend, row));
            }
        }
        if !SHORT && epilogue.last != Activation::Identity {
            activate_values(s, epilogue.last, &mut column);
        }
    }
    if let Some(sums) = epilogue.sums {
        let with = sums.with.map(
            #[inline(always)]
            |with| with.plane(plane).row(output.row).src(),
        );
        let totals = [sums.first.at(plane * LANES), sums.second.at(plane * LANES)];
        add_sums(s, totals, with, 1, &column);
    }
    if let (false, Some(scale)) = (SHORT, epilogue.scale) {
        let scale = s.load(scale, plane * LANES);
        for row in 0..ROWS {
            let addend = match addend {
                Some(addend) => s.load_pixel(addend, row),
                None => s.zero(),
            };
            column[row] = s.mul_add(column[row], scale, addend);
        }
    }
    let c = output.c.plane(vector);
    if epilogue.stream {
        for row in 0..ROWS {
            s.stream_pixel(c.start, row, column[row]);
        }
    } else {
        for row in 0..ROWS {
            put(s, c, row, column[row]);
        }
    }
}
