//! Tests that NaN propagates to the logits, as in torch.

use engine::{Engine as _, Fused, Role, RunningStatistics};

use crate::common::{Case, Random};
use crate::{images, isas, random_plan};

/// Sets each tensor of a random network to NaN in turn. Every image must get a NaN logit, in
/// inference and in training.
#[test]
fn nan_in_any_tensor_reaches_every_image() {
    let mut random = Random(21);
    for round in 0..8 {
        let plan = random_plan(&mut random);
        let mut case = Case::new(plan, &mut random);
        let shape = (3, random.in_range(5..=20), random.in_range(5..=20));
        let (count, height, width) = shape;
        let pixels: Vec<f32> = (0..count * height * width * 3)
            .map(|_| random.number())
            .collect();
        let classes = case.plan.classes();
        let is_nan = |logits: &[f32]| {
            let mut rows = logits.chunks(classes);
            rows.all(|row| row.iter().any(|logit| logit.is_nan()))
        };
        for (isa, ()) in isas((), ()) {
            let fused = case.engine::<Fused>(isa, 1 + round % 3);
            let plan = case.plan.clone();
            let mut logits = vec![0.0; count * classes];
            for segment in plan.parameters.segments() {
                // The centre weight of a kernel: on small feature maps, no other weight is used.
                let taps: usize = segment.shape.iter().skip(2).product();
                let at = segment.range.start + taps / 2;
                let sound = std::mem::replace(&mut case.parameters[at], f32::NAN);
                let what = format!("{isa}, {} of {:?}", segment.name, plan.layers);
                let folded = fused.fold(&case.parameters, &case.statistics).unwrap();
                fused
                    .infer(&folded, images(shape, &pixels), &mut logits)
                    .unwrap();
                assert!(is_nan(&logits), "inference, {what}");
                logits.fill(0.0);
                let mut statistics = case.statistics.clone();
                let running = RunningStatistics {
                    values: &mut statistics,
                    momentum: 0.1,
                };
                let images = images(shape, &pixels);
                fused
                    .forward(&case.parameters, running, images, &[], &mut logits)
                    .unwrap();
                assert!(is_nan(&logits), "training, {what}");
                case.parameters[at] = sound;
            }
            for segment in plan.statistics.segments() {
                let bad = match segment.role {
                    Role::RunningVariance => -1.0,
                    _ => f32::NAN,
                };
                let at = segment.range.start;
                let sound = std::mem::replace(&mut case.statistics[at], bad);
                let folded = fused.fold(&case.parameters, &case.statistics).unwrap();
                fused
                    .infer(&folded, images(shape, &pixels), &mut logits)
                    .unwrap();
                let what = format!("{isa}, {} of {:?}", segment.name, plan.layers);
                assert!(is_nan(&logits), "{what}");
                case.statistics[at] = sound;
            }
        }
    }
}
