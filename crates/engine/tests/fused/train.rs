//! Training against the reference: logits, running statistics, and the gradient as a slope.

use engine::NetworkSpec;

use crate::reference::{Map, Mode, Output, forward};
use crate::{Case, Random, assert_close, images, isas, random_spec};

struct Batch {
    shape: (usize, usize, usize),
    pixels: Vec<f32>,
    dropout: Vec<f32>,
    /// The gradient of the logits.
    slopes: Vec<f32>,
}

impl Batch {
    fn new(case: &Case, random: &mut Random) -> Self {
        let shape = (
            random.in_range(3..=7),
            random.in_range(9..=25),
            random.in_range(9..=25),
        );
        let (count, height, width) = shape;
        let numbers = |random: &mut Random, count: usize, scale: f32| -> Vec<f32> {
            (0..count).map(|_| scale * random.number()).collect()
        };
        let masks = numbers(random, count * case.plan.classifier.in_features, 1.0);
        Batch {
            shape,
            pixels: numbers(random, count * height * width * 3, 2.0),
            dropout: masks
                .into_iter()
                .map(|m| if m < -0.6 { 0.0 } else { 1.25 })
                .collect(),
            slopes: numbers(random, count * case.plan.spec.head.classes, 1.0),
        }
    }

    fn reference(&self, case: &Case, parameters: &[f32]) -> Output {
        let map = Map {
            images: self.shape.0,
            height: self.shape.1,
            width: self.shape.2,
            channels: 3,
            values: self.pixels.iter().copied().map(f64::from).collect(),
        };
        let dropout = Some(self.dropout.as_slice());
        let statistics = &case.statistics;
        forward(
            &case.plan,
            parameters,
            statistics,
            &map,
            Mode::Train,
            dropout,
        )
    }
}

const F32: [f64; 3] = [1e-3, 1e-4, 0.02];
const BF16: [f64; 3] = [0.1, 0.02, 0.3];

fn check(spec: &NetworkSpec, random: &mut Random) {
    let case = Case::new(spec, random);
    let batch = Batch::new(&case, random);
    let expected = batch.reference(&case, &case.parameters);
    // How far logits, statistics and the length of the gradient may be off.
    for (isa, [logits_off, statistics_off, slope_off]) in isas(F32, BF16) {
        for threads in [1, 2, 5] {
            let what = format!("{isa}, {threads} threads, {:?}, {spec:?}", batch.shape);
            let fused = case.engine(isa, threads);
            let mut statistics = case.statistics.clone();
            let mut logits = vec![f32::NAN; expected.logits.len()];
            let mut gradient = vec![f32::NAN; case.parameters.len()];
            let images = images(batch.shape, &batch.pixels);
            let dropout = Some(batch.dropout.as_slice());
            let parameters = &case.parameters;
            let record = fused
                .forward(parameters, &mut statistics, images, dropout, &mut logits)
                .unwrap();
            assert_close(&logits, &expected.logits, logits_off, &what);
            assert_close(&statistics, &expected.statistics, statistics_off, &what);
            fused
                .backward(
                    record,
                    parameters,
                    images,
                    dropout,
                    &batch.slopes,
                    &mut gradient,
                )
                .unwrap();
            let slope = slope(&case, &batch, &gradient);
            let length = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
            let off = (slope / length - 1.0).abs();
            assert!(
                off < slope_off,
                "slope {slope}, gradient squared {length}: {what}"
            );
        }
    }
}

/// How the reference's loss climbs along `gradient`.
fn slope(case: &Case, batch: &Batch, gradient: &[f32]) -> f64 {
    let length = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
    let step = 1e-3 / length;
    let loss_at = |distance: f32| -> f64 {
        let moved: Vec<f32> = (case.parameters.iter().zip(gradient))
            .map(|(value, slope)| value + distance * slope)
            .collect();
        let logits = batch.reference(case, &moved).logits;
        let pairs = logits.iter().zip(&batch.slopes);
        pairs.map(|(logit, slope)| logit * f64::from(*slope)).sum()
    };
    (loss_at(step) - loss_at(-step)) / (2.0 * f64::from(step))
}

#[test]
fn a_training_step_is_the_references() {
    let mut random = Random(11);
    for _ in 0..15 {
        let spec = random_spec(&mut random);
        check(&spec, &mut random);
    }
}
