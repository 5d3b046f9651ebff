//! Normalisations over channels.

use super::operands::{Reading, Writing};
use super::reference::slopes;
use super::{Bench, STORAGES, assert_near};
use crate::args::LayerNorm;

const EPSILON: f64 = 1e-5;

fn moments(x: &[f64]) -> (f64, f64) {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

fn normalised(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let (mean, deviation) = moments(x);
    let coefficients = weight.iter().zip(bias);
    (x.iter().zip(coefficients))
        .map(|(x, (weight, bias))| (x - mean) * deviation * weight + bias)
        .collect()
}

#[test]
fn layer_norms_and_gradients() {
    let sizes = [(1, 8), (9, 13), (5, 72), (2, 264), (37, 20), (3, 1)];
    for storage in STORAGES {
        for (index, (rows, channels)) in sizes.into_iter().enumerate() {
            let bench = &mut Bench::new(storage);
            let width = usize::next_multiple_of(channels, 8);
            // Channels beyond the layer's own hold anything.
            let x = bench.operand(Reading::number(2 * index), 1, rows, width);
            let d = bench.operand(Reading::number(index + 1), 1, rows, width);
            let mut writing = Writing::number(index);
            writing.sums = false;
            let out = bench.output(writing, rows, width, 1);
            let (weight, bias) = (bench.numbers(channels, 1.5), bench.numbers(channels, 1.0));
            let per_block = 16;
            let blocks = rows.div_ceil(per_block);
            let args = LayerNorm {
                x: x.read,
                d: d.read,
                out: out.write,
                weight: bench.put_f32(&weight),
                bias: bench.put_f32(&bias),
                moments: bench.space_f32(2 * rows),
                sums: bench.space_f32(blocks * 2 * width),
                rows: rows as i32,
                channels: channels as i32,
                width8: width as i32,
                rows_per_block: per_block as i32,
                epsilon: EPSILON as f32,
                unused: 0,
            };
            let what = format!("{storage:?}, {rows} rows of {channels}");
            let grid = [rows.div_ceil(4), 1, 1];
            bench.run("layer_norm", 128, grid, &args);
            let row = |values: &[f64], row: usize| values[row * width..][..channels].to_vec();
            let (mut y, mut of_x) = (vec![0.0; rows * width], vec![0.0; rows * width]);
            let (mut known, mut sums) = (Vec::new(), vec![0.0; 2 * width]);
            for r in 0..rows {
                let (x, d) = (row(&x.values, r), row(&d.values, r));
                let (mean, deviation) = moments(&x);
                known.extend([mean, deviation]);
                y[r * width..][..channels].copy_from_slice(&normalised(&x, &weight, &bias));
                let loss = |x: &[f64]| -> f64 {
                    let y = normalised(x, &weight, &bias);
                    y.iter().zip(&d).map(|(y, d)| y * d).sum()
                };
                of_x[r * width..][..channels].copy_from_slice(&slopes(&x, 1e-5, loss));
                for c in 0..channels {
                    sums[c] += d[c];
                    sums[width + c] += d[c] * (x[c] - mean) * deviation;
                }
            }
            let found = bench.get_f32(args.moments);
            if channels > 1 {
                // One number has no variance.
                assert_near(&found, &known, 2e-5, &format!("{what}: moments"));
            }
            bench.check(&out, &y, &what);
            let again = bench.output(writing, rows, width, 1);
            let without = LayerNorm {
                out: again.write,
                moments: 0,
                ..args
            };
            bench.run("layer_norm", 128, grid, &without);
            bench.check(&again, &y, &format!("{what}, without moments"));
            let mut writing = Writing::number(index + 2);
            writing.sums = false;
            let out = bench.output(writing, rows, width, 1);
            let back = LayerNorm {
                out: out.write,
                ..args
            };
            if channels > 1 {
                bench.run("layer_norm_input", 128, grid, &back);
                bench.check(&out, &of_x, &format!("{what}: gradient"));
            }
            let grid = [blocks, width.div_ceil(64), 1];
            bench.run("layer_norm_weight", 128, grid, &args);
            let mut found = vec![0.0; 2 * width];
            for block in bench.get_f32(args.sums).chunks(2 * width) {
                found.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
            }
            for half in [0, width] {
                let (found, sums) = (&found[half..][..channels], &sums[half..][..channels]);
                assert_near(found, sums, 3e-4, &format!("{what}: sums"));
            }
        }
    }
}
