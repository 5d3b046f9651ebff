//! What the tests on the shim and on a GPU share: networks, a batch for each, and what an engine makes of it.

// Each test uses a part of this.
#![allow(dead_code)]

#[path = "../../../engine/tests/common/mod.rs"]
pub(crate) mod common;
#[path = "../../../engine/tests/layered/networks.rs"]
pub(crate) mod networks;

use std::sync::Arc;

pub(crate) use common::Case;
use common::{Random, assert_close, distance};
use engine::{Engine, ImagePixels, Images, Isa, Layered, RunningStatistics};
use gpu::Storage;
use half::{bf16, f16};

type Shape = (usize, usize, usize);

pub(crate) struct Batch {
    pub(crate) shape: Shape,
    pub(crate) pixels: Vec<f32>,
    pub(crate) masks: Vec<Vec<f32>>,
    pub(crate) slopes: Vec<f32>,
}

impl Batch {
    pub(crate) fn new(case: &Case, random: &mut Random, shape: Shape) -> Batch {
        let (count, height, width) = shape;
        let keep = |m: f32| if m < -0.4 { 0.0 } else { 1.5 };
        let masks = case.plan.random_layers().map(|layer| {
            let factors = random.numbers(count * layer.width, 1.0).into_iter();
            factors.map(keep).collect()
        });
        Batch {
            masks: masks.collect(),
            pixels: random.numbers(count * height * width * 3, 2.0),
            slopes: random.numbers(count * case.plan.classes(), 1.0),
            shape,
        }
    }

    pub(crate) fn images(&self) -> Images<'_> {
        let (count, height, width) = self.shape;
        Images {
            count,
            height,
            width,
            pixels: ImagePixels::F32(&self.pixels),
        }
    }

    /// Runs a training step. Returns the logits, the updated statistics and the gradient.
    pub(crate) fn step<E: Engine>(&self, case: &Case, engine: &E) -> [Vec<f32>; 3] {
        let mut statistics = case.statistics.clone();
        let mut logits = vec![f32::NAN; self.slopes.len()];
        let mut gradient = vec![f32::NAN; case.parameters.len()];
        let (parameters, masks, images) = (&case.parameters, &self.masks, self.images());
        let running = RunningStatistics {
            values: &mut statistics,
            momentum: 0.1,
        };
        let record = engine
            .forward(parameters, running, images, masks, &mut logits)
            .unwrap();
        engine
            .backward(
                record,
                parameters,
                images,
                masks,
                &self.slopes,
                &mut gradient,
            )
            .unwrap();
        [logits, statistics, gradient]
    }

    /// The logits and the features of inference.
    pub(crate) fn infer<E: Engine>(&self, case: &Case, engine: &E) -> [Vec<f32>; 2] {
        let weights = engine.fold(&case.parameters, &case.statistics).unwrap();
        let (plan, count) = (&case.plan, self.shape.0);
        let mut logits = vec![f32::NAN; count * plan.classes()];
        engine.infer(&weights, self.images(), &mut logits).unwrap();
        let mut features = vec![f32::NAN; count * plan.feature_count()];
        engine
            .features(&weights, self.images(), &mut features)
            .unwrap();
        [logits, features]
    }

    /// Compares a training step in f32 with the CPU's.
    pub(crate) fn check_step(&self, case: &Case, [logits, statistics, gradient]: &[Vec<f32>; 3]) {
        let expected = self.step(case, &cpu(case));
        let name = &case.plan.name;
        assert_close(logits, &wide(&expected[0]), 1e-4, name);
        assert_close(statistics, &wide(&expected[1]), 1e-5, name);
        for segment in case.plan.parameters.segments() {
            let part = &gradient[segment.range.clone()];
            let known = wide(&expected[2][segment.range.clone()]);
            let length = known.iter().map(|x| x * x).sum::<f64>().sqrt();
            let off = distance(wide(part).into_iter(), &known) * length;
            // The gradient of a bias before a normalisation is 0, but for rounding.
            let what = format!("{name}, {}: {off:e} of {length:e}", segment.name);
            assert!(off <= 1e-3 * length + 1e-4, "{what}");
        }
    }

    /// Compares inference in f32 with the CPU's.
    pub(crate) fn check_inference(&self, case: &Case, found: &[Vec<f32>; 2]) {
        let expected = self.infer(case, &cpu(case));
        for (found, expected) in found.iter().zip(&expected) {
            assert_close(found, &wide(expected), 1e-5, &case.plan.name);
        }
    }

    /// Compares a step and inference in a shorter type with the CPU's in f32.
    pub(crate) fn check_short(
        &self,
        case: &Case,
        step: &[Vec<f32>; 3],
        inferred: &[Vec<f32>; 2],
        storage: Storage,
        what: &str,
    ) {
        let exact = (self.step(case, &cpu(case)), self.infer(case, &cpu(case)));
        let round = |x: &f32| match storage {
            Storage::F32 => *x,
            Storage::Bf16 => bf16::from_f32(*x).to_f32(),
            Storage::F16 => f16::from_f32(*x).to_f32(),
        };
        // How far the results move if only the parameters are rounded. Activations are rounded in every layer, too.
        let rounded = Case {
            plan: Arc::clone(&case.plan),
            parameters: case.parameters.iter().map(round).collect(),
            statistics: case.statistics.clone(),
        };
        let moved = (
            self.step(&rounded, &cpu(case)),
            self.infer(&rounded, &cpu(case)),
        );
        for (name, found, moved, exact) in [
            ("inference", &inferred[0], &moved.1[0], &exact.1[0]),
            ("logits", &step[0], &moved.0[0], &exact.0[0]),
            ("gradient", &step[2], &moved.0[2], &exact.0[2]),
        ] {
            let off = |values: &[f32]| distance(wide(values).into_iter(), &wide(exact));
            assert!(
                off(found) <= 6.0 * off(moved),
                "{what}, {name}: {:e} of {:e}",
                off(found),
                off(moved)
            );
        }
    }
}

fn cpu(case: &Case) -> Layered {
    case.engine(Isa::best(), 1)
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// Calls a function for each network, with a batch.
pub(crate) fn each(shape: Shape, check: impl Fn(&Case, &Batch)) {
    let mut random = Random(41);
    for plan in networks::all() {
        let case = Case::new(plan, &mut random);
        let batch = Batch::new(&case, &mut random, shape);
        check(&case, &batch);
    }
}
