//! Compares training with the reference: the logits, the running statistics, and the gradient. The gradient of each
//! parameter, times a random direction, must be the slope of the loss in that direction.

use engine::{Engine as _, FusedError, ImagePixels, Images, Isa, Layered, RunningStatistics};

use crate::common::{Case, Map, Output, Random, assert_close};
use crate::reference::Network;
use crate::{networks, tiles};

struct Batch {
    shape: (usize, usize, usize),
    pixels: Vec<f32>,
    masks: Vec<Vec<f32>>,
    /// The gradient of the loss with respect to the logits.
    slopes: Vec<f32>,
}

impl Batch {
    fn new(case: &Case, random: &mut Random, shape: (usize, usize, usize)) -> Self {
        let (count, height, width) = shape;
        let keep = |m: f32| if m < -0.4 { 0.0 } else { 1.5 };
        let masks = case.plan.random_layers().map(|layer| {
            let factors = random.numbers(count * layer.width, 1.0).into_iter();
            factors.map(keep).collect()
        });
        let masks = masks.collect();
        Batch {
            shape,
            masks,
            pixels: random.numbers(count * height * width * 3, 2.0),
            slopes: random.numbers(count * case.plan.classes(), 1.0),
        }
    }

    fn images(&self) -> Images<'_> {
        let (count, height, width) = self.shape;
        Images {
            count,
            height,
            width,
            pixels: ImagePixels::F32(&self.pixels),
        }
    }

    /// Runs a training step. Returns the logits, the updated statistics and the gradient.
    fn step(&self, case: &Case, engine: &Layered, images: Images<'_>) -> [Vec<f32>; 3] {
        let parameters = &case.parameters;
        let mut statistics = case.statistics.clone();
        let mut logits = vec![f32::NAN; self.slopes.len()];
        let mut gradient = vec![f32::NAN; parameters.len()];
        let running = RunningStatistics {
            values: &mut statistics,
            momentum: case.plan.batch_norm.momentum,
        };
        let record = engine
            .forward(parameters, running, images, &self.masks, &mut logits)
            .unwrap();
        engine
            .backward(
                record,
                parameters,
                images,
                &self.masks,
                &self.slopes,
                &mut gradient,
            )
            .unwrap();
        [logits, statistics, gradient]
    }

    fn reference(&self, case: &Case, parameters: &[f64]) -> Output {
        let network = Network {
            plan: &case.plan,
            parameters,
            statistics: case.statistics.iter().copied().map(f64::from).collect(),
            training: true,
            masks: &self.masks,
        };
        network.run(Map {
            images: self.shape.0,
            height: self.shape.1,
            width: self.shape.2,
            channels: 3,
            values: self.pixels.iter().copied().map(f64::from).collect(),
        })
    }

    fn loss(&self, case: &Case, parameters: &[f64]) -> f64 {
        let logits = self.reference(case, parameters).logits;
        let pairs = logits.iter().zip(&self.slopes);
        pairs.map(|(logit, slope)| logit * f64::from(*slope)).sum()
    }
}

/// For each parameter, a direction, and the slope of the reference's loss in it.
fn slopes(case: &Case, batch: &Batch, random: &mut Random) -> Vec<(Vec<f64>, f64)> {
    let exact: Vec<f64> = case.parameters.iter().copied().map(f64::from).collect();
    let mut found = Vec::new();
    for segment in case.plan.parameters.segments() {
        let length = segment.range.len();
        let direction: Vec<f64> = (random.numbers(length, 1.0).iter())
            .map(|&x| f64::from(x) / (length as f64).sqrt())
            .collect();
        // So short that few values cross a kink of an activation.
        let step = 1e-6;
        let at = |distance: f64| {
            let mut moved = exact.clone();
            for (value, slope) in moved[segment.range.clone()].iter_mut().zip(&direction) {
                *value += distance * slope;
            }
            batch.loss(case, &moved)
        };
        let slope = (at(step) - at(-step)) / (2.0 * step);
        found.push((direction, slope));
    }
    found
}

#[test]
fn a_training_step_is_the_references() {
    let mut random = Random(21);
    for plan in networks::all() {
        let case = Case::new(plan, &mut random);
        let batch = Batch::new(&case, &mut random, (2, 21, 25));
        let exact: Vec<f64> = case.parameters.iter().copied().map(f64::from).collect();
        let expected = batch.reference(&case, &exact);
        let slopes = slopes(&case, &batch, &mut random);
        for isa in Isa::available() {
            for threads in [1, 2, 5] {
                let what = format!("{}, {isa}, {threads} threads", case.plan.name);
                let engine = case.engine::<Layered>(isa, threads);
                // The second step uses the memory of the first.
                let first = batch.step(&case, &engine, batch.images());
                let [logits, statistics, gradient] = batch.step(&case, &engine, batch.images());
                assert_eq!(first[2], gradient, "{what}");
                assert_close(&logits, &expected.logits, 1e-3, &what);
                assert_close(&statistics, &expected.statistics, 1e-4, &what);
                for (segment, (direction, slope)) in
                    case.plan.parameters.segments().iter().zip(&slopes)
                {
                    let part = &gradient[segment.range.clone()];
                    let pairs = part.iter().zip(direction);
                    let found: f64 = pairs.map(|(g, d)| f64::from(*g) * d).sum();
                    let scale: f64 = part.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
                    // The direction's length is about 0.58.
                    let tolerance = 2e-3 * (scale / part.len() as f64).sqrt() + 1e-4;
                    assert!(
                        (found - slope).abs() < tolerance,
                        "{}: {found} instead of {slope}, more than {tolerance} away; {what}",
                        segment.name
                    );
                }
            }
        }
    }
}

/// Tolerances of bf16 for logits, statistics and gradient. Activations near a kink have the gradient of the other side.
const BF16: [f64; 3] = [0.02, 1e-3, 0.25];

/// The length of a vector.
fn length(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// With bf16, only the operands of products are rounded, so a step is near that of f32.
#[test]
fn a_step_in_bf16_is_near_that_in_f32() {
    let mut random = Random(24);
    for (plan, shape) in (networks::all().into_iter())
        .flat_map(|plan| [(4, 21, 25), (3, 69, 75)].map(|shape| (plan.clone(), shape)))
    {
        let case = Case::new(plan, &mut random);
        let batch = Batch::new(&case, &mut random, shape);
        let exact = batch.step(
            &case,
            &case.engine::<Layered>(Isa::best(), 2),
            batch.images(),
        );
        let exact = exact.map(|part| part.into_iter().map(f64::from).collect::<Vec<_>>());
        for isa in tiles::with_amx(Isa::best()) {
            for threads in [1, 3] {
                let what = format!("{}, {isa}, {threads} threads, {shape:?}", case.plan.name);
                let engine = case.engine::<Layered>(isa, threads);
                let first = batch.step(&case, &engine, batch.images());
                let found = batch.step(&case, &engine, batch.images());
                assert_eq!(first, found, "{what}");
                for (part, off) in BF16.into_iter().enumerate() {
                    assert_close(&found[part], &exact[part], off, &what);
                }
                // No parameter's gradient is wrong behind larger ones.
                let whole = length(exact[2].iter().copied());
                for segment in case.plan.parameters.segments() {
                    let [own, off] = [0.0, 1.0].map(|factor| {
                        let values = segment
                            .range
                            .clone()
                            .map(|place| exact[2][place] - factor * f64::from(found[2][place]));
                        length(values)
                    });
                    let most = 0.3 * own + 0.005 * whole;
                    assert!(off < most, "{}: {off} of {own}, {what}", segment.name);
                }
            }
        }
    }
}

/// The pixels' bytes give the same step as their values, bit for bit.
#[test]
fn a_step_on_bytes_equals_the_step_on_their_values() {
    let mut random = Random(22);
    let table: [[f32; 256]; 3] =
        std::array::from_fn(|_| std::array::from_fn(|_| 2.0 * random.number()));
    for plan in networks::all() {
        let case = Case::new(plan, &mut random);
        let mut batch = Batch::new(&case, &mut random, (4, 24, 24));
        let bytes: Vec<u8> = (0..batch.pixels.len())
            .map(|i| (i * 89 % 251) as u8)
            .collect();
        for (index, value) in batch.pixels.iter_mut().enumerate() {
            *value = table[index % 3][usize::from(bytes[index])];
        }
        let engine = case.engine::<Layered>(Isa::best(), 2);
        let images = Images {
            pixels: ImagePixels::U8(&bytes, &table),
            ..batch.images()
        };
        let found = batch.step(&case, &engine, images);
        assert_eq!(found, batch.step(&case, &engine, batch.images()));
    }
}

#[test]
fn impossible_batches_are_refused() {
    let mut random = Random(23);
    let case = Case::new(networks::all().remove(0), &mut random);
    let engine = case.engine::<Layered>(Isa::best(), 2);
    let refused = |shape: (usize, usize, usize)| {
        let batch = Batch::new(&case, &mut Random(1), shape);
        let mut statistics = case.statistics.clone();
        let running = RunningStatistics {
            values: &mut statistics,
            momentum: 0.1,
        };
        let mut logits = vec![0.0; batch.slopes.len()];
        let images = batch.images();
        let outcome = engine.forward(&case.parameters, running, images, &[], &mut logits);
        let refused = outcome.err();
        assert_eq!(refused.is_some(), statistics == case.statistics);
        refused
    };
    let one = refused((1, 8, 8));
    assert!(
        matches!(one, Some(FusedError::OneValuePerChannel { .. })),
        "{one:?}"
    );
    assert_eq!(refused((2, 8, 8)), None);
}
