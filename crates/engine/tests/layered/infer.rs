//! Compares inference with the reference: logits and features, for few and for many images.

use engine::{Engine as _, FusedError, ImagePixels, Images, Isa, Layered};

use crate::common::{Case, Map, Random, assert_close};
use crate::reference::Network;
use crate::{networks, tiles};

/// Tolerance of bf16, in which the operands of products are rounded.
const BF16: f64 = 2e-2;

#[test]
fn inference_is_the_references() {
    let mut random = Random(31);
    for plan in networks::all() {
        let case = Case::new(plan, &mut random);
        let parameters: Vec<f64> = case.parameters.iter().copied().map(f64::from).collect();
        let (count, height, width) = (11, 21, 25);
        let pixels = random.numbers(count * height * width * 3, 2.0);
        let network = Network {
            plan: &case.plan,
            parameters: &parameters,
            statistics: case.statistics.iter().copied().map(f64::from).collect(),
            training: false,
            masks: &[],
        };
        let expected = network.run(Map {
            images: count,
            height,
            width,
            channels: 3,
            values: pixels.iter().copied().map(f64::from).collect(),
        });
        let bf16 = tiles::with_amx(Isa::best()).into_iter();
        let f32 = Isa::available().into_iter().map(|isa| (isa, 1e-4));
        for (isa, off) in f32.chain(bf16.map(|isa| (isa, BF16))) {
            let mut first = None;
            for threads in [1, 2, 5] {
                let engine = case.engine::<Layered>(isa, threads);
                let weights = engine.fold(&case.parameters, &case.statistics).unwrap();
                for count in [count, 1, 3] {
                    let what = format!("{}, {isa}, {threads} threads, {count}", case.plan.name);
                    let images = Images {
                        count,
                        height,
                        width,
                        pixels: ImagePixels::F32(&pixels[..count * height * width * 3]),
                    };
                    let classes = case.plan.classes();
                    let mut logits = vec![f32::NAN; count * classes];
                    engine.infer(&weights, images, &mut logits).unwrap();
                    assert_close(&logits, &expected.logits[..count * classes], off, &what);
                    // They depend neither on the threads nor on the other images.
                    let first = first.get_or_insert_with(|| logits.clone());
                    assert_eq!(logits, first[..logits.len()], "{what}");
                    let features = case.plan.feature_count();
                    let mut found = vec![f32::NAN; count * features];
                    engine.features(&weights, images, &mut found).unwrap();
                    assert_close(&found, &expected.features[..count * features], off, &what);
                }
            }
        }
    }
}

/// Large maps are shared by rows and cut into bands; small ones have a single pixel.
#[test]
fn maps_of_other_sizes_are_those_of_f32_in_bf16() {
    let mut random = Random(33);
    for plan in networks::all() {
        let case = Case::new(plan, &mut random);
        for (height, width) in [(8, 8), (69, 75)] {
            let pixels = random.numbers(3 * height * width * 3, 2.0);
            let logits = |isa: Isa, threads: usize, count: usize| {
                let engine = case.engine::<Layered>(isa, threads);
                let weights = engine.fold(&case.parameters, &case.statistics).unwrap();
                let images = Images {
                    count,
                    height,
                    width,
                    pixels: ImagePixels::F32(&pixels[..count * height * width * 3]),
                };
                let mut logits = vec![f32::NAN; count * case.plan.classes()];
                engine.infer(&weights, images, &mut logits).unwrap();
                logits
            };
            let exact = logits(Isa::best(), 2, 3);
            let exact: Vec<f64> = exact.iter().copied().map(f64::from).collect();
            for isa in tiles::with_amx(Isa::best()) {
                let what = format!("{}, {isa}, {height} × {width}", case.plan.name);
                let all = logits(isa, 2, 3);
                assert_close(&all, &exact, BF16, &what);
                for (threads, count) in [(1, 3), (5, 3), (3, 1)] {
                    let found = logits(isa, threads, count);
                    assert_eq!(found, all[..found.len()], "{what}, {threads} threads");
                }
            }
        }
    }
}

#[test]
fn buffers_of_other_lengths_are_refused() {
    let mut random = Random(32);
    let case = Case::new(networks::all().remove(0), &mut random);
    let engine = case.engine::<Layered>(Isa::best(), 2);
    let length = |found: FusedError| matches!(found, FusedError::Length { .. });
    assert!(
        engine
            .fold(&case.parameters[1..], &case.statistics)
            .is_err_and(length)
    );
    let weights = engine.fold(&case.parameters, &case.statistics).unwrap();
    let pixels = vec![0.5; 3 * 16 * 16];
    let images = |height: usize| Images {
        count: 1,
        height,
        width: 16,
        pixels: ImagePixels::F32(&pixels[..3 * 16 * height]),
    };
    let mut logits = vec![0.0; case.plan.classes()];
    assert!(
        engine
            .infer(&weights, images(16), &mut logits[1..])
            .is_err_and(length)
    );
    engine.infer(&weights, images(16), &mut logits).unwrap();
}
