//! Swin's attention within shifted windows, as torchvision's `shifted_window_attention` computes it.

use candle_core::Tensor;
use engine::Attention;

use super::pass::Pass;
use crate::run::operators::{OUTSIDE, gather, softmax};

/// Added to the score of two places that were not neighbours before the shift.
const APART: f32 = -100.0;

impl Pass<'_> {
    /// Attention among the pixels of each window of a map `[n, h, w, c]`.
    pub(super) fn attention(&self, layer: &Attention, x: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let windows = Windows {
            side: layer.window,
            rows: Axis::new(layer, height),
            columns: Axis::new(layer, width),
        };
        let (area, heads) = (layer.window.pow(2), layer.heads);
        let count = windows.count();
        let pixels = windows.pixels();
        let rows = gather(x, pixels.clone())?;
        let parts = (self.linear(&layer.qkv, &rows)?)
            .reshape((batch * count, area, 3, heads, channels / heads))?
            .permute((2, 0, 3, 1, 4))?;
        let [query, key, value] = [0, 1, 2].map(|part| parts.get(part)?.contiguous());
        let (query, key, value) = (query?, key?, value?);
        let query = (query * (1.0 / ((channels / heads) as f64).sqrt()))?;
        let mut scores = self.product(&query, &key.t()?.contiguous()?)?;
        let index = Tensor::new(relative_positions(layer.window), x.device())?;
        let bias = (self.weights[layer.table].index_select(&index, 0)?)
            .t()?
            .reshape((1, heads, area, area))?;
        scores = scores.broadcast_add(&bias)?;
        if let Some(mask) = windows.mask() {
            let mask = Tensor::from_vec(mask, (1, count, 1, area, area), x.device())?;
            let shape = scores.shape().clone();
            scores = scores.reshape((batch, count, heads, area, area))?;
            scores = scores.broadcast_add(&mask)?.reshape(shape)?;
        }
        let mixed = self.product(&softmax(&scores)?, &value)?;
        let rows =
            (mixed.transpose(1, 2)?.contiguous()?).reshape((batch, count * area, channels))?;
        let rows = gather(&rows, inverse(&pixels, height * width))?;
        self.linear(&layer.project, &rows)?
            .reshape((batch, height, width, channels))
    }
}

/// The windows along one side of a map.
#[derive(Clone, Copy)]
struct Axis {
    /// Pixels of the map.
    size: usize,
    /// Pixels with padding, a multiple of the window.
    padded: usize,
    /// Side of a window.
    window: usize,
    /// Number of pixels by which the padded map is shifted towards the start.
    shift: usize,
}

impl Axis {
    fn new(layer: &Attention, size: usize) -> Axis {
        let padded = size.next_multiple_of(layer.window);
        let shift = if padded > layer.window {
            layer.shift
        } else {
            0
        };
        Axis {
            size,
            padded,
            window: layer.window,
            shift,
        }
    }

    /// Number of windows.
    fn count(self) -> usize {
        self.padded / self.window
    }

    /// The pixel of the map at a place of the shifted map, unless it is padding.
    fn pixel(self, place: usize) -> Option<usize> {
        Some((place + self.shift) % self.padded).filter(|&pixel| pixel < self.size)
    }

    /// The part of the shifted map in which a place lies. Places of one window are neighbours if their parts are equal.
    fn part(self, place: usize) -> usize {
        match self.shift {
            0 => 0,
            shift if place >= self.padded - shift => 2,
            _ => usize::from(place >= self.padded - self.window),
        }
    }
}

/// The windows of a shifted map.
struct Windows {
    side: usize,
    rows: Axis,
    columns: Axis,
}

impl Windows {
    fn count(&self) -> usize {
        self.rows.count() * self.columns.count()
    }

    /// The places (row, column) of the shifted map, window by window, row by row.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let (side, columns) = (self.side, self.columns.count());
        (0..self.count()).flat_map(move |window| {
            let (top, left) = (window / columns * side, window % columns * side);
            (0..side * side).map(move |place| (top + place / side, left + place % side))
        })
    }

    /// The index of the pixel at each place.
    fn pixels(&self) -> Vec<u32> {
        let pixel = |(row, column)| {
            let (row, column) = (self.rows.pixel(row)?, self.columns.pixel(column)?);
            Some((row * self.columns.size + column) as u32)
        };
        let pixels = self.places().map(|place| pixel(place).unwrap_or(OUTSIDE));
        pixels.collect()
    }

    /// For each window, what is added to the score of each pair of places. `None` if nothing is shifted.
    fn mask(&self) -> Option<Vec<f32>> {
        if self.rows.shift + self.columns.shift == 0 {
            return None;
        }
        let part = |(row, column)| (self.rows.part(row), self.columns.part(column));
        let parts: Vec<_> = self.places().map(part).collect();
        let mut mask = Vec::with_capacity(parts.len() * self.side.pow(2));
        for window in parts.chunks_exact(self.side.pow(2)) {
            for a in window {
                mask.extend(window.iter().map(|b| if a == b { 0.0 } else { APART }));
            }
        }
        Some(mask)
    }
}

/// For each pair of places in a window, the row of the table of biases.
fn relative_positions(side: usize) -> Vec<u32> {
    let mut index = Vec::with_capacity(side.pow(4));
    for a in 0..side * side {
        for b in 0..side * side {
            let rows = a / side + side - 1 - b / side;
            let columns = a % side + side - 1 - b % side;
            index.push((rows * (2 * side - 1) + columns) as u32);
        }
    }
    index
}

/// The place of each of `count` pixels.
fn inverse(pixels: &[u32], count: usize) -> Vec<u32> {
    let mut places = vec![OUTSIDE; count];
    for (place, &pixel) in pixels.iter().enumerate() {
        if pixel != OUTSIDE {
            places[pixel as usize] = place as u32;
        }
    }
    places
}
