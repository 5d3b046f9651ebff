//! Depthwise convolutions and their gradients, against the same sums in f64.

use super::operands::{Reading, Writing};
use super::reference::Geometry;
use super::{Bench, STORAGES, assert_near};
use crate::args::Depthwise;
use crate::device::Storage;

/// Kernels and steps, with the names of the two passes.
const KERNELS: [(usize, usize, [&str; 2]); 5] = [
    (3, 1, ["depthwise_k3_s1", "depthwise_back_k3_s1"]),
    (3, 2, ["depthwise_k3_s2", "depthwise_back_k3_s2"]),
    (5, 1, ["depthwise_k5_s1", "depthwise_back_k5_s1"]),
    (5, 2, ["depthwise_k5_s2", "depthwise_back_k5_s2"]),
    (7, 1, ["depthwise_k7_s1", "depthwise_back_k7_s1"]),
];

fn tiles(size: (usize, usize), images: usize) -> usize {
    images * size.0.div_ceil(8) * size.1.div_ceil(8)
}

fn slices(storage: Storage, width: usize) -> usize {
    width.div_ceil(128 / storage.bytes())
}

fn width8(channels: usize) -> usize {
    channels.next_multiple_of(8)
}

/// Calls a function with each pass's kernel, a geometry, channels, and a number.
fn each(mut check: impl FnMut(&mut Bench, [&'static str; 2], Geometry, usize, usize)) {
    let maps = [(9, 17), (1, 1), (16, 7), (3, 25), (8, 8), (2, 10), (19, 5)];
    for storage in STORAGES {
        let mut index = 0;
        for (kernel, stride, names) in KERNELS {
            for same in [false, true] {
                for channels in [13, 72] {
                    let (size, images) = (maps[index % 7], 1 + index % 3);
                    let g = match same {
                        false => Geometry::centred(images, size, kernel, stride),
                        true => Geometry::same(images, size, kernel, stride),
                    };
                    check(&mut Bench::new(storage), names, g, channels, index);
                    index += 1;
                }
            }
        }
    }
}

#[test]
fn depthwise_products() {
    each(|bench, [name, _], g, channels, index| {
        let (width, taps) = (width8(channels), g.kernel * g.kernel);
        let (reading, writing) = (Reading::number(index), Writing::number(index + 1));
        let x = bench.operand(reading, g.images, g.pixels_in(), width);
        let w = bench.numbers(channels * taps, 1.0);
        let blocks = tiles(g.out, g.images);
        let rows = g.images * g.pixels_out();
        let out = bench.output(writing, rows, width, blocks);
        let args = Depthwise {
            x: x.read,
            w: bench.put_f32(&w),
            out: out.write,
            windows: g.windows(false),
            images: g.images as i32,
            channels: channels as i32,
            width8: width as i32,
            ..Depthwise::default()
        };
        bench.run(name, 128, [blocks, slices(bench.storage, width), 1], &args);
        let mut y = vec![0.0; rows * width];
        g.each(|out, tap, row| {
            for c in 0..channels {
                y[out * width + c] += bench.rounded(x.value(row, c)) * w[c * taps + tap];
            }
        });
        let what = format!(
            "{name} {:?} {channels} {g:?} {reading:?} {writing:?}",
            bench.storage
        );
        bench.check(&out, &y, &what);
    });
}

/// A block takes one tile, or several.
#[test]
fn gradients_of_depthwise_products() {
    for most in [1, 3, usize::MAX] {
        each(|bench, [_, name], g, channels, index| {
            let (width, taps) = (width8(channels), g.kernel * g.kernel);
            let (of_x, of_d) = (
                Reading::number(index + most % 8),
                Reading::number(index + 5),
            );
            let writing = Writing::number(index + most % 4);
            let x = bench.operand(of_x, g.images, g.pixels_in(), width);
            let d = bench.operand(of_d, g.images, g.pixels_out(), width);
            let w = bench.numbers(channels * taps, 1.0);
            let blocks = tiles(g.size, g.images).min(most);
            let rows = g.images * g.pixels_in();
            let out = bench.output(writing, rows, width, blocks);
            let args = Depthwise {
                x: x.read,
                w: bench.put_f32(&w),
                out: out.write,
                gradient: bench.space_f32(blocks * channels * taps),
                d: d.read,
                windows: g.windows(true),
                images: g.images as i32,
                channels: channels as i32,
                width8: width as i32,
            };
            bench.run(name, 128, [blocks, slices(bench.storage, width), 1], &args);
            let (mut of_input, mut of_w) = (vec![0.0; rows * width], vec![0.0; channels * taps]);
            g.each(|out, tap, row| {
                for c in 0..channels {
                    let d = bench.rounded(d.value(out, c));
                    of_input[row * width + c] += d * w[c * taps + tap];
                    of_w[c * taps + tap] += d * x.value(row, c);
                }
            });
            let what = format!(
                "{name} {:?} {channels} {g:?} {of_x:?} {of_d:?} {writing:?}",
                bench.storage
            );
            bench.check(&out, &of_input, &what);
            let mut found = vec![0.0; channels * taps];
            for block in bench.get_f32(args.gradient).chunks(channels * taps) {
                found.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
            }
            assert_near(&found, &of_w, bench.tolerance() / 2.0, &what);
        });
    }
}
