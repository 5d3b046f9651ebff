//! Tests that ONNX files give the network's results in rten, and that files that do not are
//! deleted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod contents;
mod families;

use candle_core::{Device, Tensor};
use mobilenet::weights::WeightsMetadata;
use mobilenet::{ImageSize, ModelConfig, Network};

/// Largest difference of a logit that these networks, which are small or shallow, have. If the largest logit is above 1, it
/// is relative to that.
const CLOSE: f32 = 1e-5;

/// A network with running statistics that differ from the initial ones. So a missing or misplaced
/// batch normalisation changes the results.
fn network(config: &ModelConfig) -> Network {
    let network = Network::new(config, 5, &Device::Cpu).unwrap();
    let plan = network.plan();
    let arena = plan.parameters.segments().iter().flat_map(fill).collect();
    let statistics = plan.statistics.segments().iter().flat_map(fill).collect();
    network.parameters().set(arena, statistics).unwrap();
    network
}

/// Random values that keep the scale of activations constant from layer to layer, as trained
/// weights do.
fn fill(segment: &engine::Segment) -> impl Iterator<Item = f32> {
    use engine::Role;
    let fan_in = segment.shape[1..].iter().product::<usize>() as f32;
    let (centre, spread) = match segment.role {
        Role::ConvWeight => (0.0, (4.5 / fan_in).sqrt()),
        Role::LinearWeight => (0.0, (3.0 / fan_in).sqrt()),
        Role::Bias => (0.0, 0.1),
        Role::NormWeight => (1.0, 0.2),
        Role::NormBias => (0.0, 0.2),
        Role::RunningMean => (0.0, 0.2),
        Role::Scale => (0.5, 0.3),
        Role::PositionBias => (0.0, 1.0),
        Role::RunningVariance => (1.0, 0.5),
    };
    // A different sequence for each tensor.
    let seed = segment.name.bytes().fold(17u32, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(byte.into())
    });
    (0..segment.range.len() as u32).map(move |index| {
        let mut x = seed ^ index.wrapping_mul(0x9E37_79B9);
        x = (x ^ (x >> 15)).wrapping_mul(0x85EB_CA6B);
        x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
        centre + spread * ((x >> 8) as f32 / (1 << 23) as f32 - 1.0)
    })
}

fn metadata(model: &ModelConfig, image_size: usize) -> WeightsMetadata {
    WeightsMetadata {
        epoch: Some(3),
        score: Some(0.98765),
        temperature: Some(0.4),
        ..WeightsMetadata::new(
            model.clone().into(),
            (0..model.classes)
                .map(|class| format!("\"{class}\" é"))
                .collect(),
            ImageSize::square(image_size as u32),
        )
    }
}

/// Images as bytes `[n, h, w, 3]`. Every pixel has a different colour.
fn pictures(count: usize, height: usize, width: usize) -> Tensor {
    let bytes = count * height * width * 3;
    let pixels: Vec<u8> = (0..bytes)
        .map(|i| (i * i % 251 + i / 97 % 5) as u8)
        .collect();
    Tensor::from_vec(pixels, (count, height, width, 3), &Device::Cpu).unwrap()
}
