//! Compares small networks, with the blocks of many families, with the CPU's engine: training and inference, on the
//! shim.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../batch/mod.rs"]
mod batch;

use std::sync::Arc;

use batch::common::Random;
use batch::{Batch, Case, each, networks};
use engine::{Engine, Plan, RunningStatistics};
use gpu::{Gpu, Shim, Storage};

fn gpu(plan: &Arc<Plan>, storage: Storage, reverse: bool) -> Gpu<Shim> {
    let device = Arc::new(Shim::new(storage, reverse));
    Gpu::new(Arc::clone(plan), device).unwrap().unwrap()
}

#[test]
fn training_in_f32_is_the_cpus() {
    each((3, 21, 25), |case, batch| {
        let engine = gpu(&case.plan, Storage::F32, false);
        let first = batch.step(case, &engine);
        let found = batch.step(case, &engine);
        let name = &case.plan.name;
        assert!(first == found, "{name}: a second step differs");
        let reversed = batch.step(case, &gpu(&case.plan, Storage::F32, true));
        assert!(reversed == found, "{name}: the order of threads matters");
        batch.check_step(case, &found);
    });
}

#[test]
fn inference_in_f32_is_the_cpus() {
    each((3, 21, 25), |case, batch| {
        let found = batch.infer(case, &gpu(&case.plan, Storage::F32, false));
        batch.check_inference(case, &found);
    });
}

/// bf16 has 8 bits, f16 11.
#[test]
fn shorter_types_are_near() {
    for storage in [Storage::Bf16, Storage::F16] {
        each((2, 21, 25), |case, batch| {
            let engine = gpu(&case.plan, storage, false);
            let found = batch.infer(case, &engine);
            let what = format!("{}, {}", case.plan.name, storage.name());
            let step = batch.step(case, &engine);
            let reversed = batch.step(case, &gpu(&case.plan, storage, true));
            assert!(step == reversed, "{what}: the order of threads matters");
            batch.check_short(case, &step, &found, storage, &what);
        });
    }
}

#[test]
fn a_batch_that_does_not_fit_names_one_that_does() {
    let mut random = Random(43);
    let case = Case::new(networks::all().remove(0), &mut random);
    let shim = Shim::new(Storage::F32, false).with_memory(4 << 20);
    let step = |images| {
        let batch = Batch::new(&case, &mut Random(1), (images, 40, 40));
        let engine = Gpu::new(Arc::clone(&case.plan), Arc::new(shim)).unwrap();
        let running = RunningStatistics {
            values: &mut case.statistics.clone(),
            momentum: 0.1,
        };
        let mut logits = vec![0.0; batch.slopes.len()];
        let outcome = engine.unwrap().forward(
            &case.parameters,
            running,
            batch.images(),
            &batch.masks,
            &mut logits,
        );
        outcome.map(|_| ()).map_err(|e| e.to_string())
    };
    let error = step(100).unwrap_err();
    let largest: usize = error
        .strip_suffix(" images")
        .and_then(|rest| rest.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{error}"));
    assert_eq!(step(largest), Ok(()), "{error}");
    assert!(step(largest + 1).is_err(), "{error}");
}
