//! Compares inference with the reference, and tests its invariants.

use engine::{Engine as _, Folded, Fused, FusedError, ImagePixels, Images, Isa};

use crate::common::{Case, Map, Random, assert_close, distance};
use crate::reference::{Mode, Numbers, forward};
use crate::{Bytes, images, isas, random_plan};

/// Tolerance of f32 compared with f64, through up to seventeen layers.
const TOLERANCE: f64 = 2e-5;
/// Tolerance of bf16: an absolute part, plus a multiple of the error that comes from rounding
/// weights and activations alone. If a logit is a small difference of large values, that error is
/// large.
const BF16_TOLERANCE: (f64, f64) = (1e-2, 4.0);

fn logits(fused: &Fused, folded: &Folded, case: &Case, images: Images<'_>) -> Vec<f32> {
    let mut logits = vec![f32::NAN; images.count * case.plan.classes()];
    fused.infer(folded, images, &mut logits).unwrap();
    logits
}

fn features(fused: &Fused, folded: &Folded, case: &Case, images: Images<'_>) -> Vec<f32> {
    let mut features = vec![f32::NAN; images.count * case.plan.feature_count()];
    fused.features(folded, images, &mut features).unwrap();
    features
}

fn random_pixels(random: &mut Random, (count, height, width): (usize, usize, usize)) -> Vec<f32> {
    (0..count * height * width * 3)
        .map(|_| 2.0 * random.number())
        .collect()
}

/// Compares logits and features of one random network and batch, for every instruction set,
/// with 1, 2 and 3 threads.
fn check(random: &mut Random, shape: (usize, usize, usize)) {
    let case = Case::new(random_plan(random), random);
    let pixels = random_pixels(random, shape);
    let map = Map {
        images: shape.0,
        height: shape.1,
        width: shape.2,
        channels: 3,
        values: pixels.iter().copied().map(f64::from).collect(),
    };
    let parameters = &case.parameters;
    let reference = |numbers| {
        let (plan, statistics) = (&case.plan, &case.statistics);
        forward(plan, parameters, statistics, &map, Mode::Eval, &[], numbers)
    };
    let (expected, rounded) = (reference(Numbers::Exact), reference(Numbers::Bf16));
    let of_bf16 = |rounded: &[f64], expected: &[f64]| {
        let (least, times) = BF16_TOLERANCE;
        least + times * distance(rounded.iter().copied(), expected)
    };
    let near = [
        of_bf16(&rounded.logits, &expected.logits),
        of_bf16(&rounded.features, &expected.features),
    ];
    for (isa, [logits_off, features_off]) in isas([TOLERANCE; 2], near) {
        let mut first = None;
        for threads in 1..=3 {
            let what = format!(
                "{isa}, {threads} threads, {shape:?}, {:?}",
                case.plan.layers
            );
            let fused = case.engine::<Fused>(isa, threads);
            let folded = fused.fold(parameters, &case.statistics).unwrap();
            let batch = images(shape, &pixels);
            let logits = logits(&fused, &folded, &case, batch);
            assert_close(&logits, &expected.logits, logits_off, &what);
            let features = features(&fused, &folded, &case, batch);
            assert_close(&features, &expected.features, features_off, &what);
            let first = first.get_or_insert_with(|| (logits.clone(), features.clone()));
            assert_eq!(*first, (logits, features), "threads change results: {what}");
        }
    }
}

#[test]
fn small_images_of_any_shape() {
    let mut random = Random(1);
    for _ in 0..40 {
        let count = random.in_range(1..=11);
        let shape = (count, random.in_range(1..=19), random.in_range(1..=19));
        check(&mut random, shape);
    }
}

#[test]
fn wide_images() {
    let mut random = Random(2);
    for _ in 0..12 {
        let count = random.in_range(1..=3);
        let shape = (count, random.in_range(20..=45), random.in_range(33..=70));
        check(&mut random, shape);
    }
}

#[test]
fn one_pixel() {
    let mut random = Random(3);
    for count in [1, 2, 9] {
        check(&mut random, (count, 1, 1));
    }
}

/// An image's logits do not depend on its position in the batch or on the other images.
#[test]
fn an_image_does_not_see_its_batch() {
    let mut random = Random(4);
    for (height, width) in [(12, 12), (5, 9), (33, 40), (64, 64)] {
        let case = Case::new(random_plan(&mut random), &mut random);
        let count = 37;
        let pixels = random_pixels(&mut random, (count, height, width));
        let per_image = height * width * 3;
        let classes = case.plan.classes();
        for isa in Isa::available() {
            let fused = case.engine::<Fused>(isa, 2);
            let folded = fused.fold(&case.parameters, &case.statistics).unwrap();
            let shape = (count, height, width);
            let all = logits(&fused, &folded, &case, images(shape, &pixels));
            for (first, count) in [(0, 1), (36, 1), (17, 2), (3, 5), (20, 11), (4, 32)] {
                let some = &pixels[first * per_image..][..count * per_image];
                let some = images((count, height, width), some);
                let some = logits(&fused, &folded, &case, some);
                let expected = &all[first * classes..][..count * classes];
                assert_eq!(
                    some, expected,
                    "{isa}, {height}x{width}, {count} from {first}"
                );
            }
        }
    }
}

#[test]
fn bytes_act_as_their_table_values() {
    let mut random = Random(5);
    let case = Case::new(random_plan(&mut random), &mut random);
    let shape = (3, 11, 14);
    let Bytes {
        bytes,
        table,
        values,
    } = Bytes::new(&mut random, shape);
    for (isa, ()) in isas((), ()) {
        let fused = case.engine::<Fused>(isa, 2);
        let folded = fused.fold(&case.parameters, &case.statistics).unwrap();
        let f32 = images(shape, &values);
        let u8 = Images {
            pixels: ImagePixels::U8(&bytes, &table),
            ..f32
        };
        let expected = logits(&fused, &folded, &case, f32);
        assert_eq!(logits(&fused, &folded, &case, u8), expected, "{isa}");
    }
}

/// One engine runs one network after another, with growing and shrinking shapes.
#[test]
fn memory_is_used_again() {
    let mut random = Random(6);
    let cases: Vec<Case> = (0..3)
        .map(|_| Case::new(random_plan(&mut random), &mut random))
        .collect();
    let fused = cases[0].engine::<Fused>(Isa::best(), 2);
    for shape in [(2, 8, 8), (9, 30, 31), (1, 4, 4), (16, 9, 9), (1, 40, 40)] {
        let pixels = random_pixels(&mut random, shape);
        for case in &cases {
            // An engine can run folded weights of any network, because they contain the layers.
            let fresh = case.engine::<Fused>(Isa::best(), 3);
            let folded = fresh.fold(&case.parameters, &case.statistics).unwrap();
            let expected = logits(&fresh, &folded, case, images(shape, &pixels));
            let actual = logits(&fused, &folded, case, images(shape, &pixels));
            assert_eq!(actual, expected, "{shape:?}");
        }
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let mut random = Random(7);
    let case = Case::new(random_plan(&mut random), &mut random);
    let fused = case.engine::<Fused>(Isa::best(), 1);
    let (parameters, statistics) = (&case.parameters[..], &case.statistics[..]);
    let folded = fused.fold(parameters, statistics).unwrap();
    let length = |what: &'static str, found: usize, expected: usize| FusedError::Length {
        what,
        found,
        expected,
    };
    let short = &parameters[1..];
    let error = fused.fold(short, statistics).unwrap_err();
    assert_eq!(error, length("parameters", short.len(), parameters.len()));
    let error = fused.fold(parameters, &[]).unwrap_err();
    assert_eq!(error, length("statistics", 0, statistics.len()));
    let pixels = vec![0.0; 2 * 4 * 4 * 3];
    let mut output = vec![0.0; 2 * case.plan.classes() + 1];
    let error = fused
        .infer(&folded, images((2, 4, 4), &pixels), &mut output)
        .unwrap_err();
    assert_eq!(error, length("logits", output.len(), output.len() - 1));
    let error = fused
        .infer(&folded, images((2, 4, 5), &pixels), &mut output)
        .unwrap_err();
    assert_eq!(error, length("images", pixels.len(), 120));
    let error = fused
        .infer(&folded, images((0, 4, 5), &[]), &mut [])
        .unwrap_err();
    assert_eq!(error, length("images", 0, 1));
    let mut output = vec![0.0; 2 * case.plan.feature_count() - 1];
    let error = fused
        .features(&folded, images((2, 4, 4), &pixels), &mut output)
        .unwrap_err();
    assert_eq!(error, length("features", output.len(), output.len() + 1));
}
