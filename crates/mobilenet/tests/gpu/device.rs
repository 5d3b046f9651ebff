//! The smallest network of every family on the first NVIDIA GPU, compared with the CPU's default executors. Without a GPU
//! these tests say why they do nothing. They fail instead if `GPU_REQUIRED` is set. `GPU_KERNELS` is a folder that keeps
//! compiled kernels.

#![allow(clippy::print_stderr, reason = "a test says why it does nothing")]

use gpu::Storage;
use mobilenet::{Precision, Processor};

use crate::{assert_near, assert_same, smallest, twins};

fn processor() -> Option<Processor> {
    let kernels = std::env::var_os("GPU_KERNELS").map(Into::into);
    match Processor::cuda(0, kernels, |note| eprintln!("{note}")) {
        Ok(processor) => Some(processor),
        Err(reason) => {
            assert!(
                std::env::var_os("GPU_REQUIRED").is_none(),
                "a GPU is required: {reason}"
            );
            eprintln!("nothing is tested: {reason}");
            None
        }
    }
}

#[test]
fn every_family_is_the_cpus_on_a_gpu() {
    let Some(processor) = processor() else {
        return;
    };
    for variant in smallest() {
        let (mut networks, images) = twins(variant);
        networks[1].run_on(&processor, Precision::F32).unwrap();
        assert_same(variant, networks, &images);
        eprintln!("{variant}: f32 agrees");
    }
}

#[test]
fn shorter_types_are_near_on_a_gpu() {
    let Some(processor) = processor() else {
        return;
    };
    for variant in smallest() {
        for (precision, storage) in [
            (Precision::Bf16, Storage::Bf16),
            (Precision::F16, Storage::F16),
        ] {
            let (mut networks, images) = twins(variant);
            networks[1].run_on(&processor, precision).unwrap();
            assert_near(variant, networks, &images, storage);
        }
        eprintln!("{variant}: bf16 and f16 are near");
    }
}
