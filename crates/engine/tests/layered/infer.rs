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
                    let features = case.plan.feature_count();
                    let mut found = vec![f32::NAN; count * features];
                    engine.features(&weights, images, &mut found).unwrap();
                    assert_close(&found, &expected.features[..count * features], off, &what);
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
