//! Rows of outputs of a convolution, on the tiles of a matrix unit.

use super::tiles::{ConvTiles, Tile, finish};
use crate::kernels::tile_memory::{ROWS, Target, TileMemory, store_sums};
use crate::memory::Src;
use crate::simd::{LANES, Simd, TILE, TileProduct};

/// The most pixels of rows that share tiles, so that rounding errors of their sums do not grow with the image.
const RUN: usize = 256;

/// Number of rows of outputs that share tiles. The pixels between two rows are computed for nothing, which pays if they are
/// fewer than those that fill each row's last tile.
pub(super) fn rows_at_once(conv: &ConvTiles<'_>) -> usize {
    let pitch = pitch(conv);
    match pitch <= conv.columns.next_multiple_of(LANES) {
        true => (RUN / pitch).max(1),
        false => 1,
    }
}

/// Distance in pixels of the frame from one row of outputs to the next.
fn pitch(conv: &ConvTiles<'_>) -> usize {
    conv.step * conv.frame.pitch() / LANES
}

/// Computes rows of outputs. `tile` is the first one. The last tile may read 15 pixels beyond the rows.
#[inline(always)]
pub(super) unsafe fn rows_on_tiles<S: Simd>(
    s: S,
    memory: &TileMemory,
    tile: &Tile<'_>,
    rows: usize,
) {
    let conv = tile.conv;
    let pitch = pitch(conv);
    let length = (rows - 1) * pitch + conv.columns;
    for start in (0..length).step_by(ROWS) {
        let end = length.min(start + ROWS);
        let height = (end - start).div_ceil(LANES);
        let product = TileProduct {
            a: tile.a.at(start * LANES),
            steps: &memory.steps,
            rows: TILE,
            b: conv.weights,
            pitch: conv.width * LANES,
            columns: LANES,
        };
        let sums = memory.sums();
        // No tap reaches some pixels of an input if the stride is larger than the window.
        if memory.steps.is_empty() {
            sums.fill_zero(height * conv.width * TILE);
        } else {
            s.multiply_tiles(&product, [height, conv.width], sums);
        }
        for vector in 0..conv.width {
            let sums = sums.src().at(vector * height * TILE);
            for row in start / pitch..end.div_ceil(pitch) {
                let first = row * pitch;
                let (from, to) = (start.max(first), end.min(first + conv.columns));
                if from < to {
                    let column = (from - first) * conv.place.column;
                    let tile = Tile {
                        pixel: tile.pixel + row * conv.place.row + column,
                        ..*tile
                    };
                    store_sums::<S>(sums.at((from - start) * LANES), to - from, &tile, vector);
                }
            }
        }
    }
}

impl Target for Tile<'_> {
    #[inline(always)]
    unsafe fn bias(&self, vector: usize) -> Option<Src> {
        let bias = self.epilogue.bias?;
        Some(bias.at((self.conv.plane + vector) * LANES))
    }

    #[inline(always)]
    unsafe fn finish<S: Simd, const COUNT: usize>(
        &self,
        _s: S,
        column: [S::Vector; COUNT],
        row: usize,
        vector: usize,
    ) {
        let tile = Tile {
            pixel: self.pixel + row * self.conv.place.column,
            ..*self
        };
        finish::<S, COUNT>(&column, &tile, vector);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Frame, Place};
    use crate::memory::{Buffer, Planes};

    /// The rows that share tiles, for rows of this many outputs in a frame of these columns and phases.
    fn shared(columns: usize, frame_columns: usize, phases: usize) -> usize {
        let buffer = Buffer::new(0);
        let frame = Frame {
            start: buffer.dst(),
            images: 1,
            rows: columns,
            columns: frame_columns,
            phases,
        };
        rows_at_once(&ConvTiles {
            frame,
            taps: &[],
            step: phases,
            ranks: (0, 0),
            weights: buffer.src(),
            plane: 0,
            width: 1,
            rows: columns,
            columns,
            target: Planes {
                start: buffer.dst(),
                stride: 0,
                pixel: LANES,
            },
            place: Place {
                first: 0,
                image: 0,
                row: 0,
                column: 1,
            },
        })
    }

    #[test]
    fn rows_share_tiles_where_few_pixels_lie_between_them() {
        // Kernels of 3 x 3 on maps of 7, 14, 28 and 56 pixels, and one that fills its tiles.
        let found = [7, 14, 28, 56, 16].map(|columns| shared(columns, columns + 2, 1));
        assert_eq!(found, [28, 16, 8, 4, 1]);
        // A stride of 2 skips whole rows of the frame.
        assert_eq!(shared(7, 8, 2), 1);
        // Longer rows than a run.
        assert_eq!(shared(300, 300, 1), 1);
    }
}
