//! Passes over maps.

use engine::Window;
use engine::program::Value;

use super::{Maker, Place, SumsAt, is_stored};
use crate::args::{At, Clear, Gather, Map, Pixels, Pool, Read, Write};
use crate::device::Launch;

impl Maker<'_> {
    /// Blocks of a pass over a layer's map, each of which writes sums.
    pub(super) fn map_blocks(&self, layer: usize) -> usize {
        blocks(self.rows(layer))
    }

    fn map_grid(&self, layer: usize) -> [usize; 3] {
        grid(self.rows(layer), self.width(layer))
    }

    /// `out = x + y`
    pub(super) fn map(&mut self, x: Read, y: Option<Read>, out: Write, layer: usize) {
        self.map_over(x, y, out, (self.rows(layer), self.width(layer)));
    }

    /// `out = x + y`, for some rows of a width.
    fn map_over(&mut self, x: Read, y: Option<Read>, out: Write, (rows, width): (usize, usize)) {
        let args = Map {
            x,
            y: y.unwrap_or_default(),
            out,
            rows: rows as i32,
            width8: width as i32,
            rows_per_block: rows_per_block(rows) as i32,
            unused: 0,
        };
        let moved = self.read_bytes(&x, rows, width)
            + y.map_or(0, |y| self.read_bytes(&y, rows, width))
            + self.write_bytes(&out, rows, width);
        let launch = Launch::new("map", 128, grid(rows, width), &args);
        self.launches.push(launch.costs(moved, 0));
    }

    /// The sums of rows, and of their products with a value.
    pub(super) fn sum_pass(
        &mut self,
        x: Read,
        with: Option<Place>,
        (rows, width): (usize, usize),
    ) -> SumsAt {
        let blocks = blocks(rows);
        let at = self.floats(blocks * 2 * width);
        let z = with.unwrap_or(Place { at: 0, stride: 0 });
        let out = Write {
            sums: at,
            z: z.at,
            ldz: z.stride as i32,
            ..Write::default()
        };
        self.map_over(x, None, out, (rows, width));
        self.few(SumsAt { at, blocks }, width)
    }

    /// `out[image] = share * sum over the pixels of x * y`, for maps of a layer.
    pub(super) fn pixels(
        &mut self,
        x: Read,
        y: Option<Read>,
        share: f32,
        layer: usize,
        out: Write,
    ) {
        let (rows, width) = (self.rows(layer), self.width(layer));
        let args = Pixels {
            x,
            y: y.unwrap_or_default(),
            out,
            pixels: self.shapes[layer].pixels() as i32,
            width8: width as i32,
            alpha: share,
            unused: 0,
        };
        let moved =
            self.read_bytes(&x, rows, width) + y.map_or(0, |y| self.read_bytes(&y, rows, width));
        let grid = [self.batch.images, width.div_ceil(64), 1];
        let launch = Launch::new("pixels", 128, grid, &args);
        self.launches.push(launch.costs(moved, 0));
    }

    /// `out[c] = x[channels[c]]`, or 0.
    pub(super) fn move_channels(
        &mut self,
        x: Read,
        channels: &[Option<usize>],
        layer: usize,
        out: Write,
    ) {
        let (rows, width) = (self.rows(layer), self.width(layer));
        let mut numbers: Vec<i32> = (channels.iter())
            .map(|channel| channel.map_or(-1, |c| c as i32))
            .collect();
        numbers.resize(width, -1);
        let list = self.constant(numbers.iter().flat_map(|c| c.to_ne_bytes()).collect());
        let args = Gather {
            x,
            out,
            channels: list,
            rows: rows as i32,
            width8: width as i32,
            rows_per_block: rows_per_block(rows) as i32,
            unused: 0,
        };
        let moved = self.read_bytes(&x, rows, channels.iter().flatten().count())
            + self.write_bytes(&out, rows, width);
        let launch = Launch::new("gather", 128, self.map_grid(layer), &args);
        self.launches.push(launch.costs(moved, 0));
    }

    pub(super) fn pool(
        &mut self,
        input: Value,
        window: Window,
        largest: bool,
        layer: usize,
        out: Write,
    ) {
        let (rows, width) = (self.rows(layer), self.width(layer));
        let args = Pool {
            x: self.read(input),
            out,
            windows: self.windows(window, input.z, layer),
            rows: rows as i32,
            width8: width as i32,
            largest: largest.into(),
            rows_per_block: rows_per_block(rows) as i32,
            ..Pool::default()
        };
        let moved = self.read_bytes(&args.x, self.rows(input.z), width)
            + self.write_bytes(&out, rows, width);
        let launch = Launch::new("pool", 128, self.map_grid(layer), &args);
        self.launches.push(launch.costs(moved, 0));
    }

    /// The gradient of a pooling's input.
    pub(super) fn pool_back(
        &mut self,
        input: Value,
        window: Window,
        largest: bool,
        (layer, d): (usize, Read),
        out: Write,
    ) {
        let (rows, width) = (self.rows(input.z), self.width(input.z));
        let args = Pool {
            x: self.read(input),
            d,
            out,
            windows: self.windows(window, input.z, layer).transposed(),
            rows: rows as i32,
            width8: width as i32,
            largest: largest.into(),
            rows_per_block: rows_per_block(rows) as i32,
            unused: 0,
        };
        let moved = self.read_bytes(&d, self.rows(layer), width)
            + self.write_bytes(&out, rows, width)
            + if largest {
                self.read_bytes(&args.x, rows, width)
            } else {
                0
            };
        let launch = Launch::new("pool_input", 128, self.map_grid(input.z), &args);
        self.launches.push(launch.costs(moved, 0));
    }

    /// Data that is written once.
    pub(super) fn constant(&mut self, bytes: Vec<u8>) -> At {
        let at = self.base + self.heap.take_fresh(bytes.len());
        self.ports.constants.push((at, bytes));
        at
    }

    /// Sets f32 numbers to 0.
    pub(super) fn clear(&mut self, at: At, bytes: usize) {
        let count = bytes.div_ceil(4);
        let args = Clear {
            at,
            count: count as u64,
        };
        let launch = Launch::new("clear", 256, [count.div_ceil(256), 1, 1], &args);
        self.launches.push(launch.costs(bytes, 0));
    }

    /// Writes the gradient of a value, from the gradient of what was read.
    pub(super) fn write_gradient(
        &self,
        value: Value,
        target: Place,
        addend: Option<Place>,
    ) -> Write {
        let mut out = self.write(target);
        if let Some(addend) = addend {
            (out.addend, out.lda) = (addend.at, addend.stride as i32);
        }
        if !is_stored(value) {
            let z = self.value(value.z);
            (out.z, out.ldz) = (z.at, z.stride as i32);
            out.dact = crate::args::number(value.activation);
            if let Some(norm) = value.norm.and_then(|layer| self.norms[layer]) {
                (out.scale, out.shift) = (norm.scale, norm.shift);
            }
        }
        out
    }
}

/// Rows of one block of a pass over a map.
pub(super) fn rows_per_block(rows: usize) -> usize {
    (rows / 2048).clamp(64, 1024).next_multiple_of(16)
}

/// Blocks of a pass over some rows.
pub(super) fn blocks(rows: usize) -> usize {
    rows.div_ceil(rows_per_block(rows))
}

pub(super) fn grid(rows: usize, width: usize) -> [usize; 3] {
    [blocks(rows), width.div_ceil(64), 1]
}
