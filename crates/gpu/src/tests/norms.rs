//! Batch normalisations and sums of rows.

use super::reference::slopes;
use super::{Bench, STORAGES, assert_near};
use crate::args::{Clear, Norm, Rows};

#[test]
fn rows_are_added() {
    for (count, width, chunk, add) in [
        (1, 1, 1, 0),
        (7, 300, 3, 0),
        (5, 256, 5, 1),
        (11, 9, 4, 0),
        (3, 260, 9, 1),
    ] {
        let bench = &mut Bench::new(STORAGES[0]);
        let stride = width + 7;
        let rows = bench.numbers(count * stride - 7, 1.0);
        let chunks = count.div_ceil(chunk);
        let old = bench.numbers(chunks * width, 1.0);
        let args = Rows {
            rows: bench.put_f32(&rows),
            out: bench.put_f32(&old),
            count: count as i32,
            width: width as i32,
            chunk: chunk as i32,
            stride: stride as i32,
            add,
            unused: 0,
        };
        bench.run("sum_rows", 256, [width.div_ceil(256), chunks, 1], &args);
        let mut expected: Vec<f64> = old.iter().map(|x| x * f64::from(add)).collect();
        for (index, row) in rows.chunks(stride).enumerate() {
            for (j, x) in row[..width].iter().enumerate() {
                expected[index / chunk * width + j] += x;
            }
        }
        assert_near(&bench.get_f32(args.out), &expected, 1e-6, "sum_rows");
    }
}

#[test]
fn numbers_are_cleared() {
    let bench = &mut Bench::new(STORAGES[0]);
    let args = Clear {
        at: bench.space_f32(300),
        count: 299,
    };
    bench.run("clear", 256, [2, 1, 1], &args);
    let found = bench.get_f32(args.at);
    assert!(found[..299].iter().all(|&x| x == 0.0) && found[299].is_nan());
}

/// A normalisation of `rows` rows, with the sums of `blocks` blocks.
struct Case {
    bench: Bench,
    args: Norm,
    z: Vec<f64>,
    weight: Vec<f64>,
    bias: Vec<f64>,
    running: [Vec<f64>; 2],
}

const EPSILON: f64 = 1e-3;

impl Case {
    fn new(rows: usize, channels: usize, blocks: usize) -> Case {
        let mut bench = Bench::new(STORAGES[0]);
        let width = channels.next_multiple_of(8);
        let z = bench.numbers(rows * width, 2.0);
        let (weight, bias) = (bench.numbers(channels, 1.5), bench.numbers(channels, 1.0));
        let mean = bench.numbers(channels, 1.0);
        let variance: Vec<f64> = (bench.numbers(channels, 1.0).iter())
            .map(|x| f64::from((x + 1.5) as f32))
            .collect();
        let sums = sums(&z, &z, width, blocks);
        let args = Norm {
            sums: bench.put_f32(&sums),
            weight: bench.put_f32(&weight),
            bias: bench.put_f32(&bias),
            running_mean: bench.put_f32(&mean),
            running_variance: bench.put_f32(&variance),
            momentum: bench.put_f32(&[0.1]),
            scale: bench.space_f32(width),
            shift: bench.space_f32(width),
            mean: bench.space_f32(channels),
            deviation: bench.space_f32(channels),
            a: bench.space_f32(width),
            b: bench.space_f32(width),
            c: bench.space_f32(width),
            weight_gradient: bench.space_f32(channels),
            bias_gradient: bench.space_f32(channels),
            before: 0,
            blocks: blocks as i32,
            channels: channels as i32,
            width8: width as i32,
            rows: rows as f32,
            epsilon: EPSILON as f32,
            unused: 0,
        };
        Case {
            bench,
            args,
            z,
            weight,
            bias,
            running: [mean, variance],
        }
    }

    fn width(&self) -> usize {
        self.args.width8 as usize
    }

    fn channels(&self) -> usize {
        self.args.channels as usize
    }

    fn grid(&self) -> [usize; 3] {
        [self.width().div_ceil(64), 1, 1]
    }

    /// One channel of rows.
    fn column(&self, values: &[f64], channel: usize) -> Vec<f64> {
        let column = values.iter().skip(channel).step_by(self.width());
        column.copied().collect()
    }

    fn check(&self, at: u64, width: usize, what: &str, expected: impl Fn(usize) -> f64) {
        let expected: Vec<f64> = (0..width)
            .map(|c| {
                if c < self.channels() {
                    expected(c)
                } else {
                    0.0
                }
            })
            .collect();
        assert_near(&self.bench.get_f32(at), &expected, 1e-5, what);
    }
}

/// The sums of `x` and of `x * y` over every `blocks`-th row.
fn sums(x: &[f64], y: &[f64], width: usize, blocks: usize) -> Vec<f64> {
    let mut sums = vec![0.0; blocks * 2 * width];
    for (index, (x, y)) in x.iter().zip(y).enumerate() {
        let (row, c) = (index / width, index % width);
        sums[row % blocks * 2 * width + c] += x;
        sums[(row % blocks * 2 + 1) * width + c] += x * y;
    }
    sums
}

fn moments(z: &[f64]) -> (f64, f64) {
    let count = z.len() as f64;
    let mean = z.iter().sum::<f64>() / count;
    let variance = z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / count;
    (mean, variance)
}

/// A channel's normalisation.
fn normalised(z: &[f64], weight: f64, bias: f64) -> Vec<f64> {
    let (mean, variance) = moments(z);
    let deviation = 1.0 / (variance + EPSILON).sqrt();
    z.iter()
        .map(|z| (z - mean) * deviation * weight + bias)
        .collect()
}

const CASES: [(usize, usize, usize); 4] = [(2, 8, 1), (9, 3, 4), (30, 70, 7), (12, 130, 12)];

#[test]
fn normalisations_of_a_batch() {
    for (rows, channels, blocks) in CASES {
        let mut case = Case::new(rows, channels, blocks);
        let (grid, args, width) = (case.grid(), case.args, case.width());
        case.bench.run("norm_forward", 64, grid, &args);
        let of = |c: usize| moments(&case.column(&case.z, c));
        let deviation = |c: usize| 1.0 / (of(c).1 + EPSILON).sqrt();
        case.check(args.mean, channels, "mean", |c| of(c).0);
        case.check(args.deviation, channels, "deviation", deviation);
        let scale = |c: usize| case.weight[c] * deviation(c);
        case.check(args.scale, width, "scale", scale);
        let shift = |c: usize| case.bias[c] - of(c).0 * scale(c);
        case.check(args.shift, width, "shift", shift);
        let step = |old: f64, new: f64| old + 0.1 * (new - old);
        let mean = |c: usize| step(case.running[0][c], of(c).0);
        case.check(args.running_mean, channels, "running mean", mean);
        let unbiased = rows as f64 / (rows as f64 - 1.0);
        let variance = |c: usize| step(case.running[1][c], of(c).1 * unbiased);
        case.check(
            args.running_variance,
            channels,
            "running variance",
            variance,
        );

        let d = case.bench.numbers(rows * width, 1.0);
        let of_d = sums(&d, &case.z, width, blocks);
        let args = Norm {
            sums: case.bench.put_f32(&of_d),
            ..args
        };
        case.bench.run("norm_backward", 64, grid, &args);
        let back: Vec<(Vec<f64>, f64, f64)> = (0..channels)
            .map(|c| {
                let (z, d) = (case.column(&case.z, c), case.column(&d, c));
                let loss = |z: &[f64], weight, bias| -> f64 {
                    let y = normalised(z, weight, bias);
                    y.iter().zip(&d).map(|(y, d)| y * d).sum()
                };
                let (weight, bias) = (case.weight[c], case.bias[c]);
                let of_z = slopes(&z, 1e-4, |z| loss(z, weight, bias));
                let of_weight = slopes(&[weight], 1e-3, |w| loss(&z, w[0], bias));
                let of_bias = slopes(&[bias], 1e-3, |b| loss(&z, weight, b[0]));
                (of_z, of_weight[0], of_bias[0])
            })
            .collect();
        case.check(args.weight_gradient, channels, "d weight", |c| back[c].1);
        case.check(args.bias_gradient, channels, "d bias", |c| back[c].2);
        let [a, b, c] = [args.a, args.b, args.c].map(|at| case.bench.get_f32(at));
        for channel in 0..width {
            let (z, d) = (case.column(&case.z, channel), case.column(&d, channel));
            let found = z
                .iter()
                .zip(&d)
                .map(|(z, d)| a[channel] * d + b[channel] * z + c[channel]);
            let none = vec![0.0; rows];
            let expected = back.get(channel).map_or(&none, |back| &back.0);
            // Numbers that are much larger than their difference.
            assert_near(&found.collect::<Vec<_>>(), expected, 3e-4, "d z");
        }
    }
}

#[test]
fn normalisations_by_running_statistics() {
    for (index, (rows, channels, blocks)) in CASES.into_iter().enumerate() {
        let mut case = Case::new(rows, channels, blocks);
        let mut before = vec![0.0; channels];
        if index % 2 == 1 {
            before = case.bench.numbers(channels, 1.0);
            case.args.before = case.bench.put_f32(&before);
        }
        let (grid, args, width) = (case.grid(), case.args, case.width());
        case.bench.run("norm_fixed", 64, grid, &args);
        let scale = |c: usize| case.weight[c] / (case.running[1][c] + EPSILON).sqrt();
        case.check(args.scale, width, "scale", scale);
        let shift = |c: usize| case.bias[c] + (before[c] - case.running[0][c]) * scale(c);
        case.check(args.shift, width, "shift", shift);
    }
}
