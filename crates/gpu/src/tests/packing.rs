//! Weights between the arena and the products.

use super::{Bench, STORAGES, assert_near};
use crate::args::Packing;

/// Groups, the outputs and the inputs of each, how many are merged, and taps.
const SIZES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 8, 8, 1, 1),
    (1, 13, 3, 1, 9),
    (8, 1, 1, 8, 9),
    (12, 2, 4, 4, 9),
    (3, 16, 8, 1, 4),
    (6, 5, 3, 6, 1),
    (4, 24, 40, 2, 1),
];

fn packing(size: (usize, usize, usize, usize, usize)) -> (Packing, usize) {
    let (groups, outputs, inputs, merged, taps) = size;
    let args = Packing {
        outputs: outputs as i32,
        inputs: inputs as i32,
        taps: taps as i32,
        merged: merged as i32,
        n: (merged * outputs).next_multiple_of(8) as i32,
        channels: (merged * inputs).next_multiple_of(8) as i32,
        groups: groups as i32,
        ..Packing::default()
    };
    let packed = groups.div_ceil(merged) * (args.n * args.channels) as usize * taps;
    (args, packed)
}

/// The packed weights of `w`, whose products are `groups / merged`.
fn packed(w: &[f64], scale: &[f64], args: &Packing, transposed: bool, count: usize) -> Vec<f64> {
    let [outputs, inputs, taps, merged] =
        [args.outputs, args.inputs, args.taps, args.merged].map(|x| x as usize);
    let (n, channels) = (args.n as usize, args.channels as usize);
    let mut to = vec![0.0; count];
    for (index, &w) in w.iter().enumerate() {
        let (output, input, tap) = (index / taps / inputs, index / taps % inputs, index % taps);
        let group = output / outputs;
        let (product, part) = (group / merged, group % merged);
        let (j, c) = (part * outputs + output % outputs, part * inputs + input);
        let at = match transposed {
            false => ((product * n + j) * taps + tap) * channels + c,
            true => ((product * channels + c) * taps + tap) * n + j,
        };
        to[at] = w * scale[output];
    }
    to
}

#[test]
fn weights_are_packed() {
    for storage in STORAGES {
        for (index, size) in SIZES.into_iter().enumerate() {
            for transposed in [false, true] {
                let bench = &mut Bench::new(storage);
                let (mut args, count) = packing(size);
                let total = size.0 * size.1;
                let w = bench.numbers(total * size.2 * size.4, 1.0);
                let mut scale = vec![1.0; total];
                if index % 2 == 1 {
                    scale = bench.numbers(total, 2.0);
                    args.scale = bench.put_f32(&scale);
                }
                (args.from, args.to) = (bench.put_f32(&w), bench.space(count));
                args.transposed = transposed.into();
                bench.run("pack_weight", 256, [count.div_ceil(256), 1, 1], &args);
                let expected = packed(&w, &scale, &args, transposed, count);
                let what = format!("{storage:?} {size:?} {transposed}");
                assert_near(
                    &bench.get(args.to),
                    &expected,
                    bench.tolerance() / 2.0,
                    &what,
                );
            }
        }
    }
}

#[test]
fn gradients_are_gathered() {
    for size in SIZES {
        let bench = &mut Bench::new(STORAGES[0]);
        let (mut args, count) = packing(size);
        let splits = 3;
        args.splits = splits;
        let len = size.0 * size.1 * size.2 * size.4;
        let parts: Vec<Vec<f64>> = (0..splits).map(|_| bench.numbers(len, 1.0)).collect();
        let ones = vec![1.0; size.0 * size.1];
        let mut from = Vec::new();
        for part in &parts {
            let mut packed = packed(part, &ones, &args, false, count);
            // What lies between the groups must not matter.
            for (index, x) in packed.iter_mut().enumerate() {
                *x = if *x == 0.0 { index as f64 } else { *x };
            }
            from.extend(packed);
        }
        (args.from, args.to) = (bench.put_f32(&from), bench.space_f32(len));
        bench.run("gather_weight", 256, [len.div_ceil(256), 1, 1], &args);
        let expected: Vec<f64> = (0..len)
            .map(|index| parts.iter().map(|part| part[index]).sum())
            .collect();
        assert_near(
            &bench.get_f32(args.to),
            &expected,
            1e-6,
            &format!("{size:?}"),
        );
    }
}

#[test]
fn gathering_undoes_packing() {
    for size in SIZES {
        let bench = &mut Bench::new(STORAGES[0]);
        let (mut args, count) = packing(size);
        let len = size.0 * size.1 * size.2 * size.4;
        let w = bench.numbers(len, 1.0);
        (args.from, args.to) = (bench.put_f32(&w), bench.space_f32(count));
        bench.run("pack_weight", 256, [count.div_ceil(256), 1, 1], &args);
        (args.from, args.to, args.splits) = (args.to, bench.space_f32(len), 1);
        bench.run("gather_weight", 256, [len.div_ceil(256), 1, 1], &args);
        assert_eq!(bench.get_f32(args.to), w, "{size:?}");
    }
}
