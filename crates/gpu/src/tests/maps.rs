//! Element-wise passes, means over pixels, moved channels, images, merged patches.

use super::operands::{Operand, Reading, Writing};
use super::{Bench, STORAGES, assert_near};
use crate::args::{Gather, Image, Map, Merge, Pixels, Read};

/// Images, pixels, channels, and rows of a block.
const MAPS: [(usize, usize, usize, usize); 6] = [
    (1, 1, 8, 64),
    (3, 43, 72, 16),
    (2, 16, 24, 32),
    (5, 7, 200, 16),
    (4, 9, 64, 64),
    (1, 33, 136, 16),
];

fn grid(rows: usize, per_block: usize, width: usize) -> [usize; 3] {
    [rows.div_ceil(per_block), width.div_ceil(64), 1]
}

#[test]
fn maps() {
    for storage in STORAGES {
        for index in 0..24 {
            let bench = &mut Bench::new(storage);
            let (images, pixels, width, per_block) = MAPS[index % 6];
            let (rows, mut reading) = (images * pixels, Reading::number(index));
            reading.broadcast = index % 4 == 1;
            let mut writing = Writing::number(index + index / 6);
            writing.wide = index % 11 == 3 && writing.addend != Some(true);
            writing.unwritten = index % 8 == 6 && writing.addend != Some(true);
            writing.wide &= !writing.unwritten;
            writing.sums |= writing.unwritten;
            let x = bench.operand(reading, images, pixels, width);
            let y = (index % 3 == 1)
                .then(|| bench.operand(Reading::number(index + 5), images, pixels, width));
            let out = bench.output(writing, rows, width, rows.div_ceil(per_block));
            let args = Map {
                x: x.read,
                y: y.as_ref().map_or_else(Read::default, |y| y.read),
                out: out.write,
                rows: rows as i32,
                width8: width as i32,
                rows_per_block: per_block as i32,
                unused: 0,
            };
            bench.run("map", 128, grid(rows, per_block, width), &args);
            let mut sum = x.values.clone();
            if let Some(y) = &y {
                sum.iter_mut().zip(&y.values).for_each(|(sum, y)| *sum += y);
            }
            let what = format!("map {index} {storage:?} {reading:?} {writing:?}");
            bench.check(&out, &sum, &what);
        }
    }
}

/// All activations at their corners, and what becomes of NaN and of large numbers.
#[test]
fn activations_at_corners() {
    let corners = [0.0, -0.0, 3.0, -3.0, 6.0, 30000.0, -30000.0, f64::NAN];
    for storage in STORAGES {
        for act in 0..8 {
            let bench = &mut Bench::new(storage);
            let reading = Reading {
                act,
                ..Reading::PLAIN
            };
            let x = bench.operand_of(reading, &corners, 1, 1, 8);
            let ones = bench.operand_of(Reading::PLAIN, &[1.0; 8], 1, 1, 8);
            for (x, back) in [(&x, false), (&ones, true)] {
                let mut out = bench.output(Writing::PLAIN, 1, 8, 1).write;
                if back {
                    (out.z, out.ldz) = bench.put_rows(&corners, 8);
                    out.dact = act as i32;
                }
                let args = Map {
                    x: x.read,
                    out,
                    rows: 1,
                    width8: 8,
                    rows_per_block: 64,
                    ..Map::default()
                };
                bench.run("map", 128, [1, 1, 1], &args);
                let found = &bench.get(out.y)[..8];
                // Those of torch.
                let expected = match (act, back) {
                    (0, false) => corners,
                    (0, true) => [1.0; 8],
                    (1, false) => [0.0, 0.0, 3.0, 0.0, 6.0, 3e4, 0.0, f64::NAN],
                    (1, true) => [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0],
                    (2, false) => [0.0, 0.0, 3.0, 0.0, 6.0, 6.0, 0.0, f64::NAN],
                    (2, true) => [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
                    (3, false) => [0.0, 0.0, 3.0, 0.0, 6.0, 3e4, 0.0, f64::NAN],
                    (3, true) => [0.5, 0.5, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0],
                    (4, false) => [0.0, 0.0, 2.8577, -0.1423, 5.9852, 3e4, 0.0, f64::NAN],
                    (4, true) => [0.5, 0.5, 1.0881, -0.0881, 1.0123, 1.0, 0.0, f64::NAN],
                    (5, false) => [0.0, 0.0, 2.99595, -0.00405, 6.0, 3e4, 0.0, f64::NAN],
                    (5, true) => [0.5, 0.5, 1.0119, -0.0119, 1.0, 1.0, 0.0, f64::NAN],
                    (6, false) => [0.5, 0.5, 0.9526, 0.0474, 0.9975, 1.0, 0.0, f64::NAN],
                    (6, true) => [0.25, 0.25, 0.0452, 0.0452, 0.0025, 0.0, 0.0, f64::NAN],
                    (_, false) => [0.5, 0.5, 1.0, 0.0, 1.0, 1.0, 0.0, f64::NAN],
                    (_, true) => [1.0 / 6.0, 1.0 / 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
                };
                let what = format!("{storage:?}, activation {act}, {back}");
                for (f, e) in found.iter().zip(&expected) {
                    let near = (f - e).abs() <= 1e-4 + 0.005 * e.abs();
                    assert!(
                        near || (f.is_nan() && e.is_nan()),
                        "{what}: {found:?}, not {expected:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn sums_over_pixels() {
    for storage in STORAGES {
        for index in 0..12 {
            let bench = &mut Bench::new(storage);
            let (images, pixels, width, _) = MAPS[index % 6];
            let x = bench.operand(Reading::number(index), images, pixels, width);
            let y = (index % 2 == 0)
                .then(|| bench.operand(Reading::number(index + 3), images, pixels, width));
            let mut writing = Writing::number(index);
            writing.sums = false;
            let out = bench.output(writing, images, width, 1);
            let alpha = 1.0 / pixels as f32;
            let args = Pixels {
                x: x.read,
                y: y.as_ref().map_or_else(Read::default, |y| y.read),
                out: out.write,
                pixels: pixels as i32,
                width8: width as i32,
                alpha,
                unused: 0,
            };
            bench.run("pixels", 128, [images, width.div_ceil(64), 1], &args);
            let mut sums = vec![0.0; images * width];
            for (at, value) in x.values.iter().enumerate() {
                let other = y.as_ref().map_or(1.0, |y| y.values[at]);
                let to = at / width / pixels * width + at % width;
                sums[to] += value * other * f64::from(alpha);
            }
            bench.check(&out, &sums, &format!("pixels {index} {storage:?}"));
        }
    }
}

#[test]
fn moved_channels() {
    for storage in STORAGES {
        for (index, map) in MAPS.into_iter().enumerate() {
            let bench = &mut Bench::new(storage);
            let (images, pixels, width, per_block) = map;
            let (rows, from) = (images * pixels, 40);
            let x = bench.operand(Reading::number(index + 1), images, pixels, from);
            let map: Vec<i32> = (0..width)
                .map(|_| bench.below(from + 5) as i32 - 5)
                .map(|c| c.max(-1))
                .collect();
            let out = bench.output(
                Writing::number(index + 2),
                rows,
                width,
                rows.div_ceil(per_block),
            );
            let args = Gather {
                x: x.read,
                out: out.write,
                channels: bench.put_i32(&map),
                rows: rows as i32,
                width8: width as i32,
                rows_per_block: per_block as i32,
                unused: 0,
            };
            bench.run("gather", 128, grid(rows, per_block, width), &args);
            let value = |at: usize| match map[at % width] {
                ..0 => 0.0,
                channel => x.value(at / width, channel as usize),
            };
            let expected: Vec<f64> = (0..rows * width).map(value).collect();
            bench.check(&out, &expected, &format!("gather {index} {storage:?}"));
        }
    }
}

#[test]
fn images() {
    for storage in STORAGES {
        for rows in [1, 130] {
            for with_table in [true, false] {
                let bench = &mut Bench::new(storage);
                let bytes: Vec<u8> = (0..3 * rows).map(|_| bench.below(256) as u8).collect();
                let numbers = bench.numbers(3 * rows, 2.0);
                let table = bench.numbers(3 * 256, 2.0);
                let (pixels, at) = match with_table {
                    true => (bench.put_bytes(&bytes), bench.put_f32(&table)),
                    false => (bench.put_f32(&numbers), 0),
                };
                let args = Image {
                    pixels,
                    table: at,
                    out: bench.space(8 * rows),
                    rows: rows as i32,
                    unused: 0,
                };
                bench.run("image", 128, [rows.div_ceil(128), 1, 1], &args);
                let value = |at: usize| match at % 8 {
                    c @ 0..3 if with_table => table[c * 256 + usize::from(bytes[at / 8 * 3 + c])],
                    c @ 0..3 => numbers[at / 8 * 3 + c],
                    _ => 0.0,
                };
                let expected: Vec<f64> = (0..8 * rows).map(value).collect();
                let tolerance = bench.tolerance() / 2.0;
                assert_near(&bench.get(args.out), &expected, tolerance, "image");
            }
        }
    }
}

/// The numbers of a merged map from those of a map: torchvision's order.
fn merged(x: &Operand, images: usize, (height, width): (usize, usize)) -> Vec<f64> {
    let mut y = Vec::new();
    for image in 0..images {
        for (row, column) in (0..height.div_ceil(2))
            .flat_map(|row| (0..width.div_ceil(2)).map(move |column| (row, column)))
        {
            for (down, across) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let (r, c) = (2 * row + down, 2 * column + across);
                let inside = r < height && c < width;
                let at = (image * height + r) * width + c;
                y.extend((0..x.width).map(|i| if inside { x.value(at, i) } else { 0.0 }));
            }
        }
    }
    y
}

#[test]
fn merged_patches() {
    for storage in STORAGES {
        for (index, size) in [(1usize, 1usize), (4, 6), (5, 3), (2, 7)]
            .into_iter()
            .enumerate()
        {
            let bench = &mut Bench::new(storage);
            let (images, channels) = (1 + index % 3, [8, 24][index % 2]);
            let (pixels, after) = (size.0 * size.1, size.0.div_ceil(2) * size.1.div_ceil(2));
            let args = Merge {
                height: size.0 as i32,
                width: size.1 as i32,
                channels: channels as i32,
                ..Merge::default()
            };
            let mut writing = Writing::number(index + 2);
            writing.sums = false;
            let x = bench.operand(Reading::number(index + 4), images, pixels, channels);
            let out = bench.output(writing, images * after, 4 * channels, 1);
            let forward = Merge {
                x: x.read,
                out: out.write,
                rows: (images * after) as i32,
                ..args
            };
            let blocks = (images * after * 4 * channels / 8).div_ceil(128);
            bench.run("merge", 128, [blocks, 1, 1], &forward);
            bench.check(&out, &merged(&x, images, size), &format!("merge {size:?}"));
            // The transposed form is the transposed matrix: each number goes where it came from.
            let d = bench.operand(Reading::number(index + 3), images, after, 4 * channels);
            let out = bench.output(writing, images * pixels, channels, 1);
            let back = Merge {
                x: d.read,
                out: out.write,
                rows: (images * pixels) as i32,
                transposed: 1,
                ..args
            };
            let blocks = (images * pixels * channels / 8).div_ceil(128);
            bench.run("merge", 128, [blocks, 1, 1], &back);
            let places = Operand {
                values: (1..=images * pixels * channels).map(|x| x as f64).collect(),
                width: channels,
                read: x.read,
            };
            let mut expected = vec![0.0; images * pixels * channels];
            for (to, value) in merged(&places, images, size).into_iter().zip(&d.values) {
                if to > 0.0 {
                    expected[to as usize - 1] = *value;
                }
            }
            bench.check(&out, &expected, &format!("merge {size:?}, transposed"));
        }
    }
}
