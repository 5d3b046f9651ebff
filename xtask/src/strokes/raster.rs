//! Black-and-white pictures.

/// Ink on a ground that never ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Raster {
    width: usize,
    ink: Vec<bool>,
}

/// Column and row.
pub(super) type Pixel = (usize, usize);

impl Raster {
    pub(super) fn new(width: usize, ink: Vec<bool>) -> Self {
        Self { width, ink }
    }

    /// A grey image, enlarged by bilinear interpolation. What is at least half as bright as white is ink.
    pub(super) fn enlarged(image: &[u8], width: usize, factor: usize) -> Self {
        let height = image.len() / width;
        let value = |x: usize, y: usize| f64::from(image[y * width + x]);
        // The two pixels around a place, and the share of the second.
        let around = |at: usize, side: usize| {
            let place = ((at as f64 + 0.5) / factor as f64 - 0.5).clamp(0.0, side as f64 - 1.0);
            let first = place as usize;
            (first, (first + 1).min(side - 1), place - first as f64)
        };
        let mut ink = Vec::with_capacity(image.len() * factor * factor);
        for y in 0..height * factor {
            let (above, below, down) = around(y, height);
            for x in 0..width * factor {
                let (left, right, across) = around(x, width);
                let along = |y| value(left, y) * (1.0 - across) + value(right, y) * across;
                ink.push(along(above) * (1.0 - down) + along(below) * down >= 127.5);
            }
        }
        Self::new(width * factor, ink)
    }

    /// The ink, row by row.
    pub(super) fn pixels(&self) -> Vec<Pixel> {
        let all = (0..self.ink.len()).filter(|&at| self.ink[at]);
        all.map(|at| (at % self.width, at / self.width)).collect()
    }

    pub(super) fn remove(&mut self, (x, y): Pixel) {
        self.ink[y * self.width + x] = false;
    }

    /// The eight neighbours, clockwise from the upper one: whether they are ink.
    pub(super) fn around(&self, pixel: Pixel) -> [bool; 8] {
        AROUND.map(|step| self.neighbour(pixel, step).is_some())
    }

    /// The lines that go on from a pixel of a thin line. A diagonal neighbour counts only if no straight one leads to it.
    pub(super) fn ways(&self, pixel: Pixel) -> Vec<Pixel> {
        let around = self.around(pixel);
        let leads = |at: usize| {
            let is_diagonal = at % 2 == 1;
            around[at] && !(is_diagonal && (around[at - 1] || around[(at + 1) % 8]))
        };
        let ways = (0..8).filter(|&at| leads(at));
        ways.filter_map(|at| self.neighbour(pixel, AROUND[at]))
            .collect()
    }

    /// The pixel one step further, if it is ink.
    fn neighbour(&self, (x, y): Pixel, (dx, dy): (isize, isize)) -> Option<Pixel> {
        let (x, y) = (x.checked_add_signed(dx)?, y.checked_add_signed(dy)?);
        let is_ink = x < self.width && *self.ink.get(y * self.width + x)?;
        is_ink.then_some((x, y))
    }
}

/// Steps to the neighbours, clockwise from the upper one.
const AROUND: [(isize, isize); 8] = [
    (0, -1),
    (1, -1),
    (1, 0),
    (1, 1),
    (0, 1),
    (-1, 1),
    (-1, 0),
    (-1, -1),
];
