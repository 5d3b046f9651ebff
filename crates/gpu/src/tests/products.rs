//! Matrix products and the gradients of their weights.

use super::operands::{Operand, Reading, Writing};
use super::reference::Geometry;
use super::{Bench, STORAGES, assert_near};
use crate::args::{Product, Weight};

/// Groups, and the outputs and the input channels of each.
const SIZES: [(usize, usize, usize); 6] = [
    (1, 8, 8),
    (1, 72, 200),
    (3, 24, 8),
    (1, 136, 40),
    (2, 64, 72),
    (4, 8, 24),
];

/// Values as the tensor cores get them.
fn rounded(bench: &Bench, operand: &Operand) -> Vec<f64> {
    let mut values = operand.values.clone();
    bench.round(&mut values);
    values
}

/// Products of weights `[groups, n, k]`. `each` calls a function for each row of the result, tap, and row of `x`.
fn product(
    (x, w): (&[f64], &[f64]),
    (groups, n, channels): (usize, usize, usize),
    (rows, taps): (usize, usize),
    each: impl Fn(&mut dyn FnMut(usize, usize, usize)),
) -> Vec<f64> {
    let mut y = vec![0.0; rows * groups * n];
    each(&mut |row, tap, from| {
        for (j, y) in y[row * groups * n..][..groups * n].iter_mut().enumerate() {
            let x = &x[(from * groups + j / n) * channels..][..channels];
            let w = &w[(j * taps + tap) * channels..][..channels];
            *y += x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
        }
    });
    y
}

/// Compares a product with the loops. The geometry is missing if it has one tap.
fn check_product(
    bench: &mut Bench,
    index: usize,
    size: (usize, usize, usize),
    pixels: (usize, usize),
    windows: Option<(Geometry, bool)>,
) {
    let (groups, n, channels) = size;
    let mut reading = Reading::number(index);
    let mut writing = Writing::number(index + 3);
    let (images, per_image) = pixels;
    // Zeros around a map are not read, so the coefficients do not change them.
    if index % 4 == 3 && windows.is_none() {
        reading.broadcast = true;
    }
    if index % 6 == 5 && writing.addend != Some(true) {
        writing.wide = true;
    }
    let (taps, rows) = match windows {
        Some((g, true)) => (g.kernel * g.kernel, images * g.pixels_in()),
        Some((g, false)) => (g.kernel * g.kernel, images * g.pixels_out()),
        None => (1, images * per_image),
    };
    let x = bench.operand(reading, images, per_image, groups * channels);
    let w = bench.values(groups * n * taps * channels, 1.0);
    let out = bench.output(writing, rows, groups * n, rows.div_ceil(128));
    let args = Product {
        x: x.read,
        w: bench.put(&w),
        out: out.write,
        windows: windows.map_or_else(Default::default, |(g, transposed)| g.windows(transposed)),
        rows: rows as i32,
        n: n as i32,
        k: (taps * channels) as i32,
        channels: channels as i32,
        unused: 0,
    };
    let name = match windows {
        Some(_) => "product_windowed",
        None => "product_pointwise",
    };
    let grid = [rows.div_ceil(128) * n.div_ceil(64), groups, 1];
    bench.run(name, 128, grid, &args);
    let values = rounded(bench, &x);
    let y = product((&values, &w), size, (rows, taps), |visit| match windows {
        Some((g, true)) => g.each(|out, tap, from| visit(from, tap, out)),
        Some((g, false)) => g.each(visit),
        None => (0..rows).for_each(|row| visit(row, 0, row)),
    });
    let what = format!(
        "{name} {:?} {index} {size:?} {reading:?} {writing:?} {windows:?}",
        bench.storage
    );
    bench.check(&out, &y, &what);
}

#[test]
fn pointwise_products() {
    for storage in STORAGES {
        for (index, size) in SIZES.into_iter().cycle().take(12).enumerate() {
            let pixels = [(1, 1), (3, 43), (2, 64), (5, 7), (1, 131)][index % 5];
            check_product(&mut Bench::new(storage), index, size, pixels, None);
        }
    }
}

/// Windows with padding on one side only, maps of one pixel, and steps that leave pixels out.
fn geometries() -> [Geometry; 8] {
    [
        Geometry::centred(2, (7, 5), 3, 1),
        Geometry::same(3, (6, 9), 3, 2),
        Geometry::same(1, (1, 1), 3, 2),
        Geometry::centred(2, (9, 4), 1, 2),
        Geometry::same(2, (5, 8), 4, 4),
        Geometry::centred(1, (5, 8), 7, 2),
        Geometry::same(5, (2, 3), 5, 2),
        Geometry::same(2, (13, 2), 2, 2),
    ]
}

#[test]
fn windowed_products() {
    let sizes = [(1, 8, 8), (2, 24, 16), (1, 72, 24), (3, 8, 40)];
    for storage in STORAGES {
        for (index, g) in geometries().into_iter().enumerate() {
            let size = sizes[index % 4];
            let (inputs, outputs) = (g.pixels_in(), g.pixels_out());
            let forward = Some((g, false));
            check_product(
                &mut Bench::new(storage),
                index,
                size,
                (g.images, inputs),
                forward,
            );
            let back = Some((g, true));
            check_product(
                &mut Bench::new(storage),
                index + 3,
                size,
                (g.images, outputs),
                back,
            );
        }
    }
}

fn check_weight(
    bench: &mut Bench,
    index: usize,
    size: (usize, usize, usize),
    images: usize,
    rows_per_split: usize,
    windows: Result<Geometry, usize>,
) {
    let (groups, n, channels) = size;
    let (taps, before, after) = match windows {
        Ok(g) => (g.kernel * g.kernel, g.pixels_in(), g.pixels_out()),
        Err(pixels) => (1, pixels, pixels),
    };
    let rows = images * after;
    let mut of_x = Reading::number(index + 1);
    of_x.broadcast = index % 4 == 2;
    let x = bench.operand(of_x, images, before, groups * channels);
    let d = bench.operand(Reading::number(index + 4), images, after, groups * n);
    let k = taps * channels;
    let splits = rows.div_ceil(rows_per_split);
    let args = Weight {
        d: d.read,
        x: x.read,
        out: bench.space_f32(splits * groups * n * k),
        windows: windows.map_or_else(|_| Default::default(), |g| g.windows(false)),
        rows: rows as i32,
        n: n as i32,
        k: k as i32,
        channels: channels as i32,
        rows_per_split: rows_per_split as i32,
    };
    let name = match windows {
        Ok(_) => "weight_windowed",
        Err(_) => "weight_pointwise",
    };
    let grid = [n.div_ceil(64) * k.div_ceil(64), groups, splits];
    bench.run(name, 128, grid, &args);
    let (x, d) = (rounded(bench, &x), rounded(bench, &d));
    let mut expected = vec![0.0; splits * groups * n * k];
    let mut visit = |row: usize, tap: usize, from: usize| {
        let split = row / rows_per_split;
        for j in 0..groups * n {
            let to = ((split * groups * n + j) * taps + tap) * channels;
            let x = &x[(from * groups + j / n) * channels..][..channels];
            let d = d[row * groups * n + j];
            for (to, x) in expected[to..][..channels].iter_mut().zip(x) {
                *to += d * x;
            }
        }
    };
    match windows {
        Ok(g) => g.each(visit),
        Err(_) => (0..rows).for_each(|row| visit(row, 0, row)),
    }
    let what = format!("{name} {:?} {index} {size:?} {windows:?}", bench.storage);
    // Nothing is rounded after the products.
    assert_near(
        &bench.get_f32(args.out),
        &expected,
        bench.tolerance() / 2.0,
        &what,
    );
}

#[test]
fn gradients_of_pointwise_weights() {
    for storage in STORAGES {
        for (index, size) in SIZES.into_iter().cycle().take(8).enumerate() {
            let (images, pixels, split) =
                [(1, 1, 32), (3, 35, 64), (2, 32, 32), (5, 7, 64)][index % 4];
            let bench = &mut Bench::new(storage);
            check_weight(bench, index, size, images, split, Err(pixels));
        }
    }
}

#[test]
fn gradients_of_windowed_weights() {
    let sizes = [(1, 8, 8), (2, 24, 16), (1, 72, 24), (3, 8, 40)];
    for storage in STORAGES {
        for (index, g) in geometries().into_iter().enumerate() {
            let bench = &mut Bench::new(storage);
            check_weight(bench, index, sizes[index % 4], g.images, 32, Ok(g));
        }
    }
}
