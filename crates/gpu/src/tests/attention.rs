//! Attention within windows, and its gradient.

use super::reference::slopes;
use super::{Bench, STORAGES, assert_near};
use crate::args::Attention;
use crate::device::Storage;

/// An attention's numbers, as in `Attention` of the kernels.
#[derive(Clone, Copy, Debug)]
struct Case {
    images: usize,
    size: (usize, usize),
    heads: usize,
    /// Numbers of a head.
    each: usize,
    side: usize,
    shift: (usize, usize),
    has_bias: bool,
}

/// The row of the map or nothing, and the part of the map: those lie apart.
type Place = (Option<usize>, (usize, usize));

impl Case {
    fn channels(&self) -> usize {
        self.heads * self.each
    }

    fn rows(&self) -> usize {
        self.images * self.size.0 * self.size.1
    }

    /// Rows and columns of windows.
    fn windows(&self) -> (usize, usize) {
        (
            self.size.0.div_ceil(self.side),
            self.size.1.div_ceil(self.side),
        )
    }

    /// Windows of all images.
    fn blocks(&self) -> usize {
        self.images * self.windows().0 * self.windows().1
    }

    fn table(&self) -> usize {
        (2 * self.side - 1).pow(2) * self.heads
    }

    /// Each window's places.
    fn places(&self) -> Vec<Vec<Place>> {
        let (down, across) = self.windows();
        let (height, width) = (down * self.side, across * self.side);
        // torchvision fills a map with numbers of parts: of everything, the last window, and the last `shift`.
        let part = |at: usize, size: usize, shift: usize| match shift {
            0 => 0,
            _ if at < size - self.side => 0,
            _ if at < size - shift => 1,
            _ => 2,
        };
        let mut windows = vec![Vec::new(); self.blocks()];
        for image in 0..self.images {
            for y in 0..height {
                for x in 0..width {
                    let (from_y, from_x) =
                        ((y + self.shift.0) % height, (x + self.shift.1) % width);
                    let inside = from_y < self.size.0 && from_x < self.size.1;
                    let row = (image * self.size.0 + from_y) * self.size.1 + from_x;
                    let parts = (part(y, height, self.shift.0), part(x, width, self.shift.1));
                    let window = (image * down + y / self.side) * across + x / self.side;
                    windows[window].push((inside.then_some(row), parts));
                }
            }
        }
        windows
    }

    /// The results for some windows, from queries, keys and values, those of padding, and the table.
    fn forward(
        &self,
        windows: &[Vec<Place>],
        qkv: &[f64],
        padding: &[f64],
        table: &[f64],
    ) -> Vec<f64> {
        let (channels, side) = (self.channels(), self.side);
        let mut mixed = vec![0.0; self.rows() * channels];
        for window in windows {
            for head in 0..self.heads {
                let vector = |row: Option<usize>, which: usize| {
                    let first = which * channels + head * self.each;
                    match row {
                        Some(row) => &qkv[row * 3 * channels + first..][..self.each],
                        None => &padding[first..][..self.each],
                    }
                };
                for (i, (to, part)) in window.iter().enumerate() {
                    let Some(to) = *to else { continue };
                    let score = |(j, (from, other)): (usize, &Place)| {
                        let down = side - 1 + i / side - j / side;
                        let across = side - 1 + i % side - j % side;
                        let bias = table[(down * (2 * side - 1) + across) * self.heads + head];
                        let (q, k) = (vector(Some(to), 0), vector(*from, 1));
                        let dot: f64 = q.iter().zip(k).map(|(q, k)| q * k).sum();
                        let masked = if part == other { 0.0 } else { -100.0 };
                        (dot / (self.each as f64).sqrt() + bias + masked).exp()
                    };
                    let weights: Vec<f64> = window.iter().enumerate().map(score).collect();
                    let sum: f64 = weights.iter().sum();
                    let mixed = &mut mixed[to * channels + head * self.each..][..self.each];
                    for (weight, (from, _)) in weights.iter().zip(window) {
                        for (mixed, v) in mixed.iter_mut().zip(vector(*from, 2)) {
                            *mixed += weight / sum * v;
                        }
                    }
                }
            }
        }
        mixed
    }
}

const CASES: [Case; 5] = [
    Case {
        images: 2,
        size: (5, 4),
        heads: 2,
        each: 8,
        side: 3,
        shift: (1, 1),
        has_bias: true,
    },
    // A window larger than the map.
    Case {
        images: 1,
        size: (3, 2),
        heads: 3,
        each: 8,
        side: 4,
        shift: (0, 0),
        has_bias: true,
    },
    // Without padding, and with a shift along one side only.
    Case {
        images: 1,
        size: (2, 6),
        heads: 1,
        each: 16,
        side: 2,
        shift: (0, 1),
        has_bias: false,
    },
    // Padding without a bias.
    Case {
        images: 1,
        size: (4, 1),
        heads: 2,
        each: 4,
        side: 3,
        shift: (2, 0),
        has_bias: false,
    },
    // The largest that the kernel has space for, but for one number.
    Case {
        images: 1,
        size: (9, 10),
        heads: 2,
        each: 32,
        side: 8,
        shift: (4, 3),
        has_bias: true,
    },
];

#[test]
fn attention_and_its_gradient() {
    for storage in STORAGES {
        for case in CASES {
            let bench = &mut Bench::new(storage);
            let (rows, channels, blocks) = (case.rows(), case.channels(), case.blocks());
            let qkv = bench.values(rows * 3 * channels, 1.5);
            let mut padding = bench.numbers(3 * channels, 1.0);
            let table = bench.numbers(case.table(), 1.0);
            let d = bench.values(rows * channels, 1.0);
            let mut args = Attention {
                qkv: bench.put(&qkv),
                mixed: bench.space(rows * channels),
                d: bench.put(&d),
                d_qkv: bench.space(rows * 3 * channels),
                bias: 0,
                table: bench.put_f32(&table),
                d_table: bench.space_f32(blocks * case.table()),
                d_bias: bench.space_f32(blocks * 3 * channels),
                height: case.size.0 as i32,
                width: case.size.1 as i32,
                channels: channels as i32,
                heads: case.heads as i32,
                side: case.side as i32,
                shift_rows: case.shift.0 as i32,
                shift_columns: case.shift.1 as i32,
                unused: 0,
            };
            if case.has_bias {
                args.bias = bench.put_f32(&padding);
            } else {
                padding.fill(0.0);
            }
            let grid = [blocks / case.images, case.heads, case.images];
            bench.run("attention", 64, grid, &args);
            let what = format!("{storage:?} {case:?}");
            let places = case.places();
            let expected = case.forward(&places, &qkv, &padding, &table);
            assert_near(&bench.get(args.mixed), &expected, bench.tolerance(), &what);
            bench.run("attention_input", 64, grid, &args);
            let tables = bench.get_f32(args.d_table);
            let biases = bench.get_f32(args.d_bias);
            let total = |parts: &[f64], width: usize| -> Vec<f64> {
                (0..width)
                    .map(|at| parts.iter().skip(at).step_by(width).sum())
                    .collect()
            };
            let found = [
                bench.get(args.d_qkv),
                total(&biases, 3 * channels),
                total(&tables, case.table()),
            ];
            let loss = |[qkv, padding, table]: [&[f64]; 3]| -> f64 {
                let mixed = case.forward(&places, qkv, padding, table);
                mixed.iter().zip(&d).map(|(mixed, d)| mixed * d).sum()
            };
            let at = [&qkv, &padding, &table];
            for which in 0..3 {
                let part = format!("{what}, gradient {which}");
                if case.side > 5 || storage != Storage::F32 {
                    check_directions(bench, at, which, &found[which], &loss, &part);
                    continue;
                }
                let expected = slopes(at[which], 1e-4, |moved| {
                    let mut all = at.map(Vec::as_slice);
                    all[which] = moved;
                    loss(all)
                });
                assert_near(&found[which], &expected, 2.0 * bench.tolerance(), &part);
            }
        }
    }
}

/// Compares the slopes along some directions.
fn check_directions(
    bench: &mut Bench,
    at: [&Vec<f64>; 3],
    which: usize,
    found: &[f64],
    loss: &dyn Fn([&[f64]; 3]) -> f64,
    what: &str,
) {
    let len = found.len();
    for _ in 0..3 {
        let direction = bench.numbers(len, 1.0);
        let side = |step: f64| {
            let moved: Vec<f64> = (at[which].iter().zip(&direction))
                .map(|(x, d)| x + step * d)
                .collect();
            let mut all = at.map(Vec::as_slice);
            all[which] = &moved;
            loss(all)
        };
        let expected = (side(1e-4) - side(-1e-4)) / 2e-4;
        let slope: f64 = found.iter().zip(&direction).map(|(f, d)| f * d).sum();
        let length = found.iter().map(|x| x * x).sum::<f64>().sqrt();
        let near = (slope - expected).abs() <= bench.tolerance() * length;
        assert!(near, "{what}: {slope} instead of {expected}");
    }
}
