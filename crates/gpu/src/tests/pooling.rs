//! Pooling: largest values and means of windows.

use super::operands::{Reading, Writing};
use super::reference::Geometry;
use super::{Bench, STORAGES};
use crate::args::Pool;

/// For each result and channel, the operand's rows of its window, in order.
fn windows(g: &Geometry) -> Vec<Vec<usize>> {
    let mut windows = vec![Vec::new(); g.images * g.pixels_out()];
    g.each(|out, _, from| windows[out].push(from));
    windows
}

/// The first largest number. NaN is the largest.
fn largest(window: &[usize], value: impl Fn(usize) -> f64) -> usize {
    let mut best = window[0];
    for &row in &window[1..] {
        let (new, old) = (value(row), value(best));
        if new > old || (new.is_nan() && !old.is_nan()) {
            best = row;
        }
    }
    best
}

#[test]
fn pooling_and_its_gradient() {
    let geometries = [
        Geometry::centred(2, (7, 9), 3, 2),
        Geometry::same(1, (6, 5), 2, 2),
        Geometry::centred(3, (4, 5), 3, 1),
        Geometry::same(2, (1, 1), 3, 2),
        Geometry::same(1, (11, 8), 3, 2),
    ];
    for storage in STORAGES {
        for (index, g) in (0..).zip(geometries.into_iter().cycle().take(10)) {
            let is_largest = index % 2 == 0;
            let bench = &mut Bench::new(storage);
            let width = [8, 72, 24][index % 3];
            let (before, after) = (g.images * g.pixels_in(), g.images * g.pixels_out());
            // Few numbers, so that many are the same, and NaN.
            let x: Vec<f64> = (0..before * width)
                .map(|_| match bench.below(40) {
                    39 if index % 4 == 0 => f64::NAN,
                    x => (x % 4) as f64 - 1.0,
                })
                .collect();
            // Means of NaN and in the coefficients' order are rounded differently, so ties only last without scales.
            let reading = Reading {
                act: [0, 1, 3, 2][index % 4],
                ..Reading::PLAIN
            };
            let mut x = bench.operand_of(reading, &x, g.images, g.pixels_in(), width);
            for value in &mut x.values {
                // `f64::max` hides NaN, kernels keep it.
                *value = if value.is_nan() { f64::NAN } else { *value };
            }
            if index % 4 == 0 {
                assert_eq!(reading.act, 0);
            }
            let mut writing = Writing::number(index + 1);
            if index % 4 == 0 {
                // The sums would all be NaN.
                writing.sums = false;
            }
            let out = bench.output(writing, after, width, after.div_ceil(16));
            let mut args = Pool {
                x: x.read,
                out: out.write,
                windows: g.windows(false),
                rows: after as i32,
                width8: width as i32,
                largest: is_largest.into(),
                rows_per_block: 16,
                ..Pool::default()
            };
            let grid = [after.div_ceil(16), width.div_ceil(64), 1];
            bench.run("pool", 128, grid, &args);
            let d = bench.operand(Reading::number(index + 2), g.images, g.pixels_out(), width);
            let mut y = vec![0.0; after * width];
            let mut back = vec![0.0; before * width];
            for (row, window) in windows(&g).iter().enumerate() {
                for c in 0..width {
                    let value = |from: usize| x.value(from, c);
                    let d = d.value(row, c);
                    if is_largest {
                        let best = largest(window, value);
                        y[row * width + c] = value(best);
                        back[best * width + c] += d;
                    } else {
                        let share = 1.0 / window.len() as f64;
                        for &from in window {
                            y[row * width + c] += value(from) * share;
                            back[from * width + c] += d * share;
                        }
                    }
                }
            }
            let what = format!("pool {index} {storage:?} {g:?} {writing:?}");
            bench.check(&out, &y, &what);
            let writing = Writing::number(index + 4);
            let out = bench.output(writing, before, width, before.div_ceil(16));
            args = Pool {
                d: d.read,
                out: out.write,
                windows: g.windows(true),
                rows: before as i32,
                ..args
            };
            let grid = [before.div_ceil(16), width.div_ceil(64), 1];
            bench.run("pool_input", 128, grid, &args);
            bench.check(&out, &back, &format!("{what}: gradient"));
        }
    }
}
