//! Compares training with the reference: the logits, the running statistics, and the gradient. The
//! length of the gradient must equal the slope of the loss in its direction.

use engine::{Engine as _, Fused, ImagePixels, Images, RunningStatistics};

use crate::common::{Case, Map, Output, Random, assert_close};
use crate::reference::{Mode, Numbers, forward};
use crate::{Bytes, images, isas, random_plan};

struct Batch {
    shape: (usize, usize, usize),
    pixels: Vec<f32>,
    masks: Vec<Vec<f32>>,
    /// The gradient of the loss with respect to the logits.
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
        let pixels = random.numbers(count * height * width * 3, 2.0);
        Batch::with_pixels(case, random, shape, pixels)
    }

    fn with_pixels(
        case: &Case,
        random: &mut Random,
        shape: (usize, usize, usize),
        pixels: Vec<f32>,
    ) -> Self {
        let count = shape.0;
        let masks = case.plan.random_layers().map(|layer| {
            let numbers = random.numbers(count * layer.width, 1.0);
            let mask = numbers.iter().map(|m| if *m < -0.6 { 0.0 } else { 1.25 });
            mask.collect()
        });
        Batch {
            shape,
            pixels,
            masks: masks.collect(),
            slopes: random.numbers(count * case.plan.classes(), 1.0),
        }
    }

    fn images(&self) -> Images<'_> {
        images(self.shape, &self.pixels)
    }

    /// Runs a training step on `images`. Returns the logits, the updated statistics and the
    /// gradient.
    fn step(&self, case: &Case, fused: &Fused, images: Images<'_>) -> [Vec<f32>; 3] {
        let parameters = &case.parameters;
        let masks = &self.masks;
        let mut statistics = case.statistics.clone();
        let mut logits = vec![f32::NAN; self.slopes.len()];
        let mut gradient = vec![f32::NAN; parameters.len()];
        let running = RunningStatistics {
            values: &mut statistics,
            momentum: case.plan.batch_norm.momentum,
        };
        let record = fused
            .forward(parameters, running, images, masks, &mut logits)
            .unwrap();
        let slopes = &self.slopes;
        fused
            .backward(record, parameters, images, masks, slopes, &mut gradient)
            .unwrap();
        [logits, statistics, gradient]
    }

    fn reference(&self, case: &Case, parameters: &[f32]) -> Output {
        let map = Map {
            images: self.shape.0,
            height: self.shape.1,
            width: self.shape.2,
            channels: 3,
            values: self.pixels.iter().copied().map(f64::from).collect(),
        };
        let statistics = &case.statistics;
        forward(
            &case.plan,
            parameters,
            statistics,
            &map,
            Mode::Train,
            &self.masks,
            Numbers::Exact,
        )
    }
}

const F32: [f64; 3] = [1e-3, 1e-4, 0.02];
const BF16: [f64; 3] = [0.1, 0.02, 0.3];

fn check(random: &mut Random) {
    let case = Case::new(random_plan(random), random);
    let batch = Batch::new(&case, random);
    let expected = batch.reference(&case, &case.parameters);
    // Tolerances of the logits, the statistics and the gradient's length.
    for (isa, [logits_off, statistics_off, slope_off]) in isas(F32, BF16) {
        for threads in [1, 2, 5] {
            let what = format!(
                "{isa}, {threads} threads, {:?}, {:?}",
                batch.shape, case.plan.layers
            );
            let fused = case.engine::<Fused>(isa, threads);
            let [logits, statistics, gradient] = batch.step(&case, &fused, batch.images());
            assert_close(&logits, &expected.logits, logits_off, &what);
            assert_close(&statistics, &expected.statistics, statistics_off, &what);
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

/// The slope of the reference's loss along `gradient`. The step is so short that few values cross a
/// kink of an activation.
fn slope(case: &Case, batch: &Batch, gradient: &[f32]) -> f64 {
    let length = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
    let step = 1e-4 / length;
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
    for _ in 0..25 {
        check(&mut random);
    }
}

/// A byte must give the same result as its value in the table, bit for bit.
#[test]
fn a_step_on_bytes_equals_the_step_on_their_values() {
    let mut random = Random(12);
    for shape in [(3, 33, 33), (5, 9, 14), (4, 16, 16), (2, 31, 10)] {
        let case = Case::new(random_plan(&mut random), &mut random);
        let Bytes {
            bytes,
            table,
            values,
        } = Bytes::new(&mut random, shape);
        let batch = Batch::with_pixels(&case, &mut random, shape, values);
        for (isa, ()) in isas((), ()) {
            for threads in [1, 3] {
                let fused = case.engine::<Fused>(isa, threads);
                let u8 = Images {
                    pixels: ImagePixels::U8(&bytes, &table),
                    ..batch.images()
                };
                let found = batch.step(&case, &fused, u8).map(bits);
                let expected = batch.step(&case, &fused, batch.images()).map(bits);
                assert_eq!(found, expected, "{isa}, {threads} threads, {shape:?}");
            }
        }
    }
}

fn bits(numbers: Vec<f32>) -> Vec<u32> {
    numbers.into_iter().map(f32::to_bits).collect()
}
