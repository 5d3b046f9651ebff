//! Compares small networks, with the blocks of many families, with the CPU's engine: training and inference, on the
//! first NVIDIA GPU. Without a GPU these tests say why they do nothing. They fail instead if `GPU_REQUIRED` is set.
//! `GPU_KERNELS` is a folder that keeps compiled kernels.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test says why it does nothing, and fails by panicking"
)]

mod batch;

use std::path::Path;
use std::sync::Arc;

use batch::{Batch, Case, each};
use gpu::{Cuda, Gpu, Storage};

/// The GPU with kernels for this type, if there is one.
fn device(storage: Storage) -> Option<Arc<Cuda>> {
    // With a GPU, a failing kernel is an error.
    let kernels = std::env::var_os("GPU_KERNELS");
    let open = || Cuda::open(0, storage, kernels.as_deref().map(Path::new)).unwrap();
    let device = is_there().then(open)?;
    if let Some(note) = device.note() {
        eprintln!("{note}");
    }
    Some(Arc::new(device))
}

fn is_there() -> bool {
    if let Err(reason) = gpu::find(0) {
        assert!(
            std::env::var_os("GPU_REQUIRED").is_none(),
            "a GPU is required: {reason}"
        );
        eprintln!("nothing is tested: {reason}");
        return false;
    }
    true
}

/// Takes two equal steps and one pass of inference. Equal steps must have equal bits.
fn results(device: &Arc<Cuda>, case: &Case, batch: &Batch) -> ([Vec<f32>; 3], [Vec<f32>; 2]) {
    let engine = Gpu::new(Arc::clone(&case.plan), Arc::clone(device))
        .unwrap()
        .unwrap();
    let first = batch.step(case, &engine);
    let inferred = batch.infer(case, &engine);
    let second = batch.step(case, &engine);
    assert!(first == second, "{}: a second step differs", case.plan.name);
    (first, inferred)
}

#[test]
fn f32_is_the_cpus() {
    let Some(device) = device(Storage::F32) else {
        return;
    };
    each((3, 21, 25), |case, batch| {
        let (step, inferred) = results(&device, case, batch);
        batch.check_step(case, &step);
        batch.check_inference(case, &inferred);
    });
}

/// bf16 has 8 bits, f16 11.
#[test]
fn shorter_types_are_near() {
    for storage in [Storage::Bf16, Storage::F16] {
        let Some(device) = device(storage) else {
            return;
        };
        each((2, 21, 25), |case, batch| {
            let (step, inferred) = results(&device, case, batch);
            let what = format!("{}, {}", case.plan.name, storage.name());
            batch.check_short(case, &step, &inferred, storage, &what);
        });
    }
}

/// The driver compiles the kernels that are part of the program. f16's differ from bf16's in conversions only.
#[test]
fn embedded_kernels_are_the_cpus() {
    if !is_there() {
        return;
    }
    for storage in [Storage::F32, Storage::Bf16] {
        let device = Arc::new(Cuda::open_embedded(0, storage).unwrap());
        each((2, 21, 25), |case, batch| {
            let (step, inferred) = results(&device, case, batch);
            let what = format!("{}, embedded {}", case.plan.name, storage.name());
            match storage {
                Storage::F32 => {
                    batch.check_step(case, &step);
                    batch.check_inference(case, &inferred);
                }
                _ => batch.check_short(case, &step, &inferred, storage, &what),
            }
        });
    }
}
