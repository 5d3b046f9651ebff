//! The deterministic fills of `tests/golden/generate.py`, in Rust: see the README there.

use std::path::Path;

use candle_core::{Device, Tensor};
use engine::{Role, Segment};
use mobilenet::weights::{Normalisation, WeightsMetadata, load, save};
use mobilenet::{ModelConfig, Network, Variant};

use crate::fill::{around, fnv1a, hash};

fn fill(segment: &Segment, variant: Variant, side: usize) -> impl Iterator<Item = f32> {
    let small = side == 32;
    let fan_in = segment.shape[1..].iter().product::<usize>() as f64;
    let conv_gain: f64 = match variant {
        Variant::Large => {
            if small {
                4.75
            } else {
                3.5
            }
        }
        Variant::Small => {
            if small {
                5.75
            } else {
                4.0
            }
        }
    };
    let (centre, spread) = match segment.role {
        Role::ConvWeight => (0.0, (conv_gain / fan_in).sqrt()),
        Role::LinearWeight => (0.0, (3.0 / fan_in).sqrt()),
        Role::Bias => (0.0, 0.1),
        Role::NormWeight => {
            if small {
                (1.0, 0.2)
            } else {
                (0.3, 0.06)
            }
        }
        Role::NormBias => {
            if small {
                (0.0, 0.2)
            } else {
                (0.9, 0.06)
            }
        }
        Role::RunningMean => (0.0, 0.2),
        Role::RunningVariance => {
            if small {
                (1.0, 0.5)
            } else {
                (0.09, 0.045)
            }
        }
    };
    around(centre, spread, &segment.name, segment.range.len())
}

/// A network with every tensor filled by the formula, brought in through a weights file.
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
    let metadata = WeightsMetadata {
        model: config.clone().into(),
        class_names: (0..config.classes).map(|class| class.to_string()).collect(),
        image_size: side,
        normalisation: Normalisation::IMAGENET,
        epoch: None,
        score: None,
    };
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

/// The dot product with Rademacher vector `j`.
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
