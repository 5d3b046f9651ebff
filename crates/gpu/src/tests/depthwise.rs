//! Depthwise convolutions, and the gradients of their inputs and weights.

use super::operands::{Reading, Writing};
use super::reference::Geometry;
use super::{Bench, STORAGES, assert_near};
use crate::args::Depthwise;
use crate::device::Storage;

/// Kernels and steps, with the names of the three passes.
const KERNELS: [(usize, usize, [&str; 3]); 5] = [
    (
        3,
        1,
        [
            "depthwise_k3_s1",
            "depthwise_input_k3_s1",
            "depthwise_weight_k3_s1",
        ],
    ),
    (
        3,
        2,
        [
            "depthwise_k3_s2",
            "depthwise_input_k3_s2",
            "depthwise_weight_k3_s2",
        ],
    ),
    (
        5,
        1,
        [
            "depthwise_k5_s1",
            "depthwise_input_k5_s1",
            "depthwise_weight_k5_s1",
        ],
    ),
    (
        5,
        2,
        [
            "depthwise_k5_s2",
            "depthwise_input_k5_s2",
            "depthwise_weight_k5_s2",
        ],
    ),
    (
        7,
        1,
        [
            "depthwise_k7_s1",
            "depthwise_input_k7_s1",
            "depthwise_weight_k7_s1",
        ],
    ),
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
fn each(mut check: impl FnMut(&mut Bench, [&'static str; 3], Geometry, usize, usize)) {
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
fn depthwise_products_and_gradients_of_inputs() {
    each(|bench, names, g, channels, index| {
        for back in [false, true] {
            let width = width8(channels);
            let index = index + 2 * usize::from(back);
            let (reading, writing) = (Reading::number(index), Writing::number(index + 1));
            let (from, to, size) = match back {
                false => (g.pixels_in(), g.pixels_out(), g.out),
                true => (g.pixels_out(), g.pixels_in(), g.size),
            };
            let taps = g.kernel * g.kernel;
            let x = bench.operand(reading, g.images, from, width);
            let w = bench.numbers(channels * taps, 1.0);
            let blocks = tiles(size, g.images);
            let out = bench.output(writing, g.images * to, width, blocks);
            let args = Depthwise {
                x: x.read,
                w: bench.put_f32(&w),
                out: out.write,
                windows: g.windows(back),
                images: g.images as i32,
                channels: channels as i32,
                width8: width as i32,
                ..Depthwise::default()
            };
            let name = names[usize::from(back)];
            bench.run(name, 128, [blocks, slices(bench.storage, width), 1], &args);
            let mut y = vec![0.0; g.images * to * width];
            g.each(|out, tap, row| {
                let (to, from) = if back { (row, out) } else { (out, row) };
                for c in 0..channels {
                    y[to * width + c] += bench.rounded(x.value(from, c)) * w[c * taps + tap];
                }
            });
            let what = format!(
                "{name} {:?} {channels} {g:?} {reading:?} {writing:?}",
                bench.storage
            );
            bench.check(&out, &y, &what);
        }
    });
}

#[test]
fn gradients_of_depthwise_weights() {
    each(|bench, names, g, channels, index| {
        let (width, taps) = (width8(channels), g.kernel * g.kernel);
        let (of_x, of_d) = (Reading::number(index + 2), Reading::number(index + 5));
        let x = bench.operand(of_x, g.images, g.pixels_in(), width);
        let d = bench.operand(of_d, g.images, g.pixels_out(), width);
        let blocks = tiles(g.out, g.images).min(2);
        let args = Depthwise {
            x: x.read,
            d: d.read,
            gradient: bench.space_f32(blocks * channels * taps),
            windows: g.windows(false),
            images: g.images as i32,
            channels: channels as i32,
            width8: width as i32,
            ..Depthwise::default()
        };
        let grid = [blocks, slices(bench.storage, width), 1];
        bench.run(names[2], 128, grid, &args);
        let mut expected = vec![0.0; channels * taps];
        g.each(|out, tap, row| {
            for c in 0..channels {
                let x = bench.rounded(x.value(row, c));
                expected[c * taps + tap] += x * d.value(out, c);
            }
        });
        let mut found = vec![0.0; channels * taps];
        for block in bench.get_f32(args.gradient).chunks(channels * taps) {
            found.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
        }
        let what = format!("{} {:?} {channels} {g:?}", names[2], bench.storage);
        assert_near(&found, &expected, bench.tolerance() / 2.0, &what);
    });
}
