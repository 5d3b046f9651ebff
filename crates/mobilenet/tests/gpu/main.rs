//! Compares the GPU's engine, on the CPU, with the composed executor: the smallest network of every family. With the feature
//! `cuda`, the same networks also run on a GPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "cuda")]
mod device;

use std::collections::HashSet;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use gpu::{Gpu, Shim, Storage};
use half::{bf16, f16};
use mobilenet::{Composed, Executor, Images, ModelConfig, Native, Network, Variant};

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Two images.
fn images(side: usize) -> Images {
    let pixels: Vec<f32> = (0..2 * side * side * 3)
        .map(|i| ((i * i % 8191) as f32 / 4096.0 - 1.0) * 1.5)
        .collect();
    let pixels = Tensor::from_vec(pixels, (2, side, side, 3), &Device::Cpu).unwrap();
    Images::normalised(&pixels).unwrap()
}

/// The logits of inference, and of training, the statistics, and the gradient.
fn step(network: &mut Network, images: &Images) -> [Vec<f32>; 4] {
    let inferred = values(&network.infer(images).unwrap());
    let pass = network.forward_step(images, 3, false).unwrap();
    let logits = values(pass.logits());
    let slopes: Vec<f32> = (0..logits.len())
        .map(|i| ((i * 29 % 17) as f32 - 8.0) / 16.0)
        .collect();
    let slopes = Tensor::from_vec(slopes, pass.logits().shape(), &Device::Cpu).unwrap();
    pass.backward(&slopes).unwrap();
    let parameters = network.parameters();
    let statistics = values(parameters.statistics().unwrap());
    [
        inferred,
        logits,
        statistics,
        values(parameters.gradient().unwrap()),
    ]
}

fn off(found: &[f32], expected: &[f32]) -> f64 {
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let mut difference = found.iter().zip(expected).map(|(a, b)| f64::from(a - b));
    let mut expected = expected.iter().copied().map(f64::from);
    length(&mut difference) / length(&mut expected).max(1e-12)
}

/// The smallest network of each family.
fn smallest() -> Vec<Variant> {
    let mut networks: Vec<Variant> = Variant::all().collect();
    networks.sort_by_cached_key(|variant| {
        let plan = ModelConfig::new(*variant, 2).plan().unwrap();
        plan.parameters.len()
    });
    let mut families = HashSet::new();
    networks.retain(|variant| families.insert(variant.family()));
    networks
}

/// The shim's rounding differs from the composed executor's. Near a kink of an activation, rounding decides which of two
/// slopes applies, so that gradients differ more in networks whose last maps have few pixels.
const CLOSE: [(&str, f64); 4] = [
    ("inference", 5e-4),
    ("logits", 2e-4),
    ("statistics", 1e-4),
    ("gradient", 5e-2),
];

/// Networks without such kinks agree to rounding.
const SMOOTH: [&str; 4] = [
    "convnext_atto",
    "efficientnet_b0",
    "swin_t",
    "mobilenet_v3_small",
];

/// Networks of every test run. The others take long, and their blocks are tested in the crate `gpu`; with the variable
/// `EVERY_NETWORK`, which `cargo xtask golden-check` sets, all are tested.
const SMALL: [&str; 5] = [
    "convnext_atto",
    "efficientnet_b0",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "swin_t",
];

/// Two equal networks, and images for them.
fn twins(variant: Variant) -> ([Network; 2], Images) {
    let side = if variant.name() == "swin_t" { 32 } else { 64 };
    let config = ModelConfig {
        dropout: 0.2,
        drop_path: 0.0,
        ..ModelConfig::new(variant, 5)
    };
    let mut networks = [(); 2].map(|()| Network::new(&config, 4, &Device::Cpu).unwrap());
    // A first pass makes the running statistics those of a batch, so that inference is no constant.
    let images = images(side);
    for network in &mut networks {
        network.parameters().restart_statistics();
        network.forward_step(&images, 1, false).unwrap();
    }
    (networks, images)
}

/// Fails if the results of two networks differ by more than rounding explains.
fn assert_same(variant: Variant, mut networks: [Network; 2], images: &Images) {
    let [expected, found] = networks.each_mut().map(|network| step(network, images));
    let [a, b] = [0, 1].map(|image| &expected[0][image * 5..][..5]);
    assert!(off(a, b) > 1e-2, "{variant}: inference ignores the images");
    for (index, (what, tolerance)) in CLOSE.into_iter().enumerate() {
        let smooth = index == 3 && SMOOTH.contains(&variant.name());
        let tolerance = if smooth { 1e-4 } else { tolerance };
        let off = off(&found[index], &expected[index]);
        assert!(off <= tolerance, "{variant}, {what}: off by {off:e}");
    }
}

/// Fails if a network in a shorter type differs from one in f32 by much more than rounded parameters explain.
/// Activations are rounded in every layer, too: on the shim, five families differ by 0.8 to 3.4 times as much.
fn assert_near(
    variant: Variant,
    [mut exact, mut short]: [Network; 2],
    images: &Images,
    storage: Storage,
) {
    let expected = step(&mut exact, images);
    let found = step(&mut short, images);
    let ([mut rounded, _], _) = twins(variant);
    let round = |x: f32| match storage {
        Storage::F32 => x,
        Storage::Bf16 => bf16::from_f32(x).to_f32(),
        Storage::F16 => f16::from_f32(x).to_f32(),
    };
    let change = |values: &mut [f32]| values.iter_mut().for_each(|x| *x = round(*x));
    rounded.parameters().change(change).unwrap();
    let moved = step(&mut rounded, images);
    for (index, what) in ["inference", "logits"].into_iter().enumerate() {
        let [found, moved] = [&found, &moved].map(|values| off(&values[index], &expected[index]));
        let storage = storage.name();
        assert!(
            found <= 8.0 * moved,
            "{variant}, {storage}, {what}: off by {found:e}; rounded parameters are off by {moved:e}"
        );
    }
}

/// A network's executor with the kernels on the CPU.
fn shim(network: &Network, storage: Storage) -> Box<dyn Executor> {
    let plan = Arc::new(network.plan().clone());
    let device = Arc::new(Shim::new(storage, false));
    let engine = Gpu::new(Arc::clone(&plan), device).unwrap().unwrap();
    Box::new(Native::with_engine(plan, engine))
}

fn agrees(variant: Variant) {
    let (mut networks, images) = twins(variant);
    let composed = Composed::new(Arc::new(networks[0].plan().clone()));
    networks[0].set_executor(Box::new(composed));
    let shim = shim(&networks[1], Storage::F32);
    networks[1].set_executor(shim);
    assert_same(variant, networks, &images);
}

#[test]
fn every_family_is_the_composed_executors() {
    let mut networks = smallest();
    if std::env::var_os("EVERY_NETWORK").is_none() {
        networks.retain(|network| SMALL.contains(&network.name()));
        assert_eq!(networks.len(), SMALL.len());
    }
    std::thread::scope(|scope| {
        for first in 0..2 {
            let half = networks.iter().skip(first).step_by(2);
            scope.spawn(move || half.for_each(|&variant| agrees(variant)));
        }
    });
}

#[test]
fn bf16_is_near() {
    let variant: Variant = "mobilenet_v3_small".parse().unwrap();
    let (mut networks, images) = twins(variant);
    let shim = shim(&networks[1], Storage::Bf16);
    networks[1].set_executor(shim);
    assert_near(variant, networks, &images, Storage::Bf16);
}
