//! The deterministic fills of `tests/golden/generate.py`, in Rust; see the README there.

use std::path::Path;

use candle_core::{Device, Tensor};
use engine::{Role, Segment};
use mobilenet::weights::{WeightsMetadata, load, save};
use mobilenet::{ImageSize, ModelConfig, Network, Variant};

use crate::fill::{around, fnv1a, hash};

/// Centre and spread of a batch normalisation's weight, bias and running variance.
type Norm = [(f64, f64); 3];

/// The gain of the convolutions, and the fills of the batch normalisations.
fn constants(variant: Variant, side: usize) -> (f64, Norm) {
    match (variant, side == 32) {
        (Variant::LARGE, true) => (4.75, [(1.0, 0.2), (0.0, 0.2), (1.0, 0.5)]),
        (Variant::SMALL, true) => (5.75, [(1.0, 0.2), (0.0, 0.2), (1.0, 0.5)]),
        (Variant::V2, true) => (6.0, [(1.5, 0.3), (2.0, 0.5), (2.25, 1.1)]),
        (Variant::LARGE, false) => (3.5, [(0.3, 0.06), (0.9, 0.06), (0.09, 0.045)]),
        (Variant::SMALL, false) => (4.0, [(0.3, 0.06), (0.9, 0.06), (0.09, 0.045)]),
        (_, true) => unreachable!("{variant} has no golden files here"),
        (_, false) => (6.0, [(0.8, 0.16), (3.0, 0.16), (0.64, 0.32)]),
    }
}

fn fill(segment: &Segment, variant: Variant, side: usize) -> impl Iterator<Item = f32> {
    let Segment {
        name, shape, role, ..
    } = segment;
    tensor(name, *role, shape, variant, side)
}

/// The values of a tensor. They depend on its name.
pub(crate) fn tensor(
    name: &str,
    role: Role,
    shape: &[usize],
    variant: Variant,
    side: usize,
) -> impl Iterator<Item = f32> + use<> {
    let fan_in = shape[1..].iter().product::<usize>() as f64;
    let (gain, [weight, bias, variance]) = constants(variant, side);
    let (centre, spread) = match role {
        Role::ConvWeight => (0.0, (gain / fan_in).sqrt()),
        Role::LinearWeight => (0.0, (3.0 / fan_in).sqrt()),
        Role::Bias => (0.0, 0.1),
        Role::NormWeight => weight,
        Role::NormBias => bias,
        Role::RunningMean => (0.0, 0.2),
        Role::RunningVariance => variance,
        Role::Scale | Role::PositionBias => unreachable!("MobileNets have none"),
    };
    around(centre, spread, name, shape.iter().product())
}

/// A network in which the formula fills every tensor. It is loaded from a weights file.
pub(crate) fn network(config: &ModelConfig, side: usize) -> Network {
    let network = Network::new(config, 0, &Device::Cpu).unwrap();
    let plan = network.plan();
    let [arena, statistics] = [&plan.parameters, &plan.statistics].map(|table| {
        let segments = table.segments().iter();
        segments
            .flat_map(|segment| fill(segment, config.name, side))
            .collect()
    });
    network.parameters().set(arena, statistics).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path: &Path = &folder.path().join("formula.safetensors");
    let metadata = WeightsMetadata::new(
        config.clone().into(),
        (0..config.classes).map(|class| class.to_string()).collect(),
        ImageSize::square(side as u32),
    );
    save(path, &network, &metadata).unwrap();
    let (loaded, found) = load(path, &Device::Cpu).unwrap();
    assert_eq!(found, metadata);
    loaded
}

pub(crate) fn labels(batch: usize, classes: usize) -> Tensor {
    let seed = fnv1a("label");
    let labels: Vec<u32> = (0..batch as u32)
        .map(|index| hash(seed, index) % classes as u32)
        .collect();
    Tensor::from_vec(labels, batch, &Device::Cpu).unwrap()
}

/// The dot product of `values` with Rademacher vector `j`.
pub(crate) fn projection(values: &[f32], j: u32) -> f64 {
    let seed = fnv1a("projection");
    (0..)
        .zip(values)
        .map(|(index, &value)| {
            let sign = if hash(seed, index) >> j & 1 == 1 {
                1.0
            } else {
                -1.0
            };
            sign * f64::from(value)
        })
        .sum()
}
