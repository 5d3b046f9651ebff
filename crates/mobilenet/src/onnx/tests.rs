//! Tests every operation in small networks: rten must give the results of the composed executor.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use engine::{Activation, BatchNormSpec, Builder, ConvSpec, Pad, Plan, Role, Segment, Window};
use framing::ImageSize;

use super::{OnnxOptions, check, to_bytes};
use crate::run::parameters::Values;
use crate::weights::WeightsMetadata;
use crate::{Composed, Images, ModelConfig, Network, Variant};

fn builder() -> Builder {
    let batch_norm = BatchNormSpec {
        epsilon: 1e-3,
        momentum: 0.1,
    };
    let mut b = Builder::new("test", batch_norm);
    b.block("all");
    b
}

/// Numbers that keep the scale of values from layer to layer, and differ for every tensor.
fn fill(segment: &Segment) -> impl Iterator<Item = f32> {
    let inputs = segment.shape[1..].iter().product::<usize>() as f32;
    let (centre, spread) = match segment.role {
        Role::ConvWeight | Role::LinearWeight => (0.0, (3.0 / inputs).sqrt()),
        Role::Bias | Role::NormBias | Role::RunningMean => (0.0, 0.3),
        Role::PositionBias => (0.0, 1.0),
        Role::NormWeight | Role::Scale | Role::RunningVariance => (1.0, 0.5),
    };
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

/// Exports a plan for images of this size, with and without folding, and compares the results.
fn agrees(plan: Plan, height: usize, width: usize) {
    let config = ModelConfig::new(Variant::SMALL, plan.classes());
    let [arena, statistics] = [&plan.parameters, &plan.statistics]
        .map(|table| table.segments().iter().flat_map(fill).collect());
    let values = Values {
        arena,
        statistics,
        batches_tracked: 0,
    };
    let composed = Composed::new(Arc::new(plan.clone()));
    let mut network = Network::with_values(&config, plan, values, 1, &Device::Cpu).unwrap();
    network.set_executor(Box::new(composed));
    let metadata = WeightsMetadata::new(
        config.clone().into(),
        (0..config.classes).map(|class| class.to_string()).collect(),
        ImageSize {
            height: height as u32,
            width: width as u32,
        },
    );
    let bytes = 2 * height * width * 3;
    let pixels: Vec<u8> = (0..bytes)
        .map(|i| (i * i % 251 + i / 97 % 5) as u8)
        .collect();
    let images = Tensor::from_vec(pixels, (2, height, width, 3), &Device::Cpu).unwrap();
    let table = Arc::new(metadata.normalisation.table());
    let logits = network.infer(&Images::bytes(&images, table).unwrap());
    let logits = logits.unwrap().flatten_all().unwrap().to_vec1::<f32>();
    let largest = logits.unwrap().iter().fold(1.0f32, |m, x| m.max(x.abs()));
    for fold_batch_norm in [false, true] {
        let options = OnnxOptions {
            fold_batch_norm,
            preprocess: fold_batch_norm,
            ..OnnxOptions::default()
        };
        let file = to_bytes(&network, &metadata, options).unwrap();
        let images = std::slice::from_ref(&images);
        let found = check(&file, &network, &metadata, options, images).unwrap();
        assert_eq!(found.pictures, 2);
        // Single operators agree to rounding.
        assert!(found.largest_difference <= 1e-5 * largest, "{found:?}");
    }
}

#[test]
fn convolutions_pools_and_channels() {
    let window = |kernel, stride, pad, ceil| Window {
        kernel,
        stride,
        pad,
        ceil,
    };
    for (height, width) in [(33, 26), (24, 31)] {
        let mut b = builder();
        let stem = ConvSpec::new(12, 3).stride(2).pad(Pad::Same).bias();
        let x = b.conv("stem", b.image(), stem);
        let x = b.batch_norm("stem_norm", x);
        let x = b.activate(x, Activation::Silu);
        let y = b.conv("wide", x, ConvSpec::new(24, 5).groups(4));
        let y = b.batch_norm("wide_norm", y);
        let y = b.activate(y, Activation::Hardswish);
        let first = b.slice(y, 0, 10);
        let second = b.slice(y, 10, 14);
        let deep = b.conv("deep", second, ConvSpec::new(14, 3).groups(14).bias());
        let joined = b.concat(vec![first, deep, x]);
        let x = b.shuffle(joined, 4);
        // A normalisation that no convolution precedes.
        let x = b.batch_norm("norm", x);
        let x = b.activate(x, Activation::Relu6);
        let pooled = b.global_average(x);
        let factors = b.linear_conv("reduce", pooled, 6);
        let factors = b.activate(factors, Activation::Relu);
        let factors = b.linear("expand", factors, 36);
        let factors = b.activate(factors, Activation::Hardsigmoid);
        let x = b.gate(x, factors);
        let x = b.max_pool(x, window(3, 2, Pad::Zeros(1), false));
        let y = b.max_pool(x, window(3, 2, Pad::Zeros(0), true));
        let y = b.average_pool(y, window(2, 1, Pad::Zeros(0), false));
        let z = b.conv("dilated", y, ConvSpec::new(20, 1));
        let z = b.dropout(z, 0.5);
        let w = b.conv("other", y, ConvSpec::new(20, 3));
        let w = b.activate(w, Activation::Sigmoid);
        let w = b.drop_path(w, 0.5);
        let x = b.add(z, w);
        let x = b.global_average(x);
        b.features(x);
        let x = b.linear("hidden", x, 16);
        let x = b.activate(x, Activation::Gelu);
        let logits = b.linear_without_bias("classifier", x, 5);
        agrees(b.finish(logits).unwrap(), height, width);
    }
}

#[test]
fn channels_last_and_factors() {
    let mut b = builder();
    let x = b.conv(
        "stem",
        b.image(),
        ConvSpec::new(8, 4).stride(4).pad(Pad::Zeros(0)).bias(),
    );
    let mut x = b.layer_norm("stem_norm", x, 1e-6);
    for (block, shape) in [("a", vec![8, 1, 1]), ("b", vec![8])] {
        let y = b.conv(
            format!("{block}.conv"),
            x,
            ConvSpec::new(8, 7).groups(8).bias(),
        );
        let y = b.layer_norm(format!("{block}.norm"), y, 1e-6);
        let y = b.linear(format!("{block}.wide"), y, 32);
        let y = b.activate(y, Activation::Gelu);
        let y = b.linear_conv(format!("{block}.narrow"), y, 8);
        let y = b.scale(format!("{block}.gamma"), y, shape.clone());
        let y = b.drop_path(y, 0.1);
        x = b.add(x, y);
    }
    // A factor in the other layout.
    let x = b.conv("last", x, ConvSpec::new(8, 1));
    let x = b.scale("last_gamma", x, vec![8]);
    let x = b.global_average(x);
    b.features(x);
    let x = b.layer_norm("norm", x, 1e-6);
    let logits = b.linear("head", x, 4);
    agrees(b.finish(logits).unwrap(), 37, 30);
}

#[test]
fn windows_of_attention() {
    // Sides that are multiples of the window, sides that are not, and a side as long as the window.
    for (height, width) in [(64, 64), (60, 39), (16, 44)] {
        let mut b = builder();
        let x = b.conv(
            "stem",
            b.image(),
            ConvSpec::new(12, 4).stride(4).pad(Pad::Zeros(0)).bias(),
        );
        let mut x = b.layer_norm("stem_norm", x, 1e-5);
        for (block, shift) in [("a", 0), ("b", 2)] {
            let y = b.layer_norm(format!("{block}.norm1"), x, 1e-5);
            let y = b.attention(format!("{block}.attn"), y, 3, 4, shift);
            x = b.add(x, y);
            let y = b.layer_norm(format!("{block}.norm2"), x, 1e-5);
            let y = b.linear(format!("{block}.mlp"), y, 12);
            x = b.add(x, y);
        }
        let x = b.merge(x);
        let x = b.layer_norm("merge.norm", x, 1e-5);
        let x = b.linear_without_bias("merge.reduction", x, 24);
        let x = b.attention("c.attn", x, 4, 4, 2);
        let x = b.layer_norm("norm", x, 1e-5);
        let x = b.global_average(x);
        b.features(x);
        let logits = b.linear("head", x, 4);
        agrees(b.finish(logits).unwrap(), height, width);
    }
}
