//! Compares the fused executor with the composed one.

use std::sync::Arc;

use candle_core::Device;
use mobilenet::{
    Composed, Design, Fused, FusedOptions, HeadKind, Images, Isa, ModelConfig, Network, Padding,
    Precision, Variant,
};
use proptest::prelude::*;

use crate::{images, statistics, values};

const MOBILENETS: [Variant; 3] = [Variant::LARGE, Variant::SMALL, Variant::V2];

/// Results of a step: the logits of inference and of training, the statistics and the gradient.
pub(crate) fn step(network: &mut Network, images: &Images, frozen: bool) -> [Vec<f32>; 4] {
    let inferred = values(&network.infer(images).unwrap());
    let logits = network.forward_train(images, 3, frozen).unwrap();
    let batch = logits.dims()[0];
    // Any gradient of the logits will do, if it differs from logit to logit.
    let slopes: Vec<f32> = (0..logits.elem_count())
        .map(|i| ((i * 29 % 17) as f32 - 8.0) / 8.0 / batch as f32)
        .collect();
    let slopes = candle_core::Tensor::from_vec(slopes, logits.shape(), network.device()).unwrap();
    let loss = (&logits * slopes).unwrap().sum_all().unwrap();
    loss.backward().unwrap();
    let gradient = values(network.parameters().gradient().unwrap());
    [inferred, values(&logits), statistics(network), gradient]
}

fn off(found: &[f32], expected: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
    };
    let mut difference = found.iter().zip(expected).map(|(a, b)| a - b);
    norm(&mut difference) / norm(&mut expected.iter().copied()).max(1e-12)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    #[test]
    fn fused_and_composed_agree(
        variant in 0..MOBILENETS.len(),
        width in 0.2_f64..0.9,
        linear in any::<bool>(),
        stem_stride in 1_usize..=2,
        same in any::<bool>(),
        design in 0..Design::ALL.len(),
        classes in 2_usize..40,
        side in 32_usize..70,
        batch in 2_usize..10,
        threads in 1_usize..=4,
        frozen in prop::bool::weighted(0.15),
        seed in 0_u64..1000,
    ) {
        // With a large network, the composed executor takes too long on images at full resolution.
        let side = if stem_stride == 1 { side / 2 + 16 } else { side };
        let variant = MOBILENETS[variant];
        let head = if linear { HeadKind::Linear } else { HeadKind::Torchvision };
        let padding = if same { Padding::Same } else { Padding::Symmetric };
        let config = ModelConfig {
            width,
            head,
            stem_stride,
            padding,
            design: Design::ALL[design],
            ..ModelConfig::new(variant, classes)
        };
        let mut networks = [(); 2].map(|()| {
            Network::new(&config, seed, &candle_core::Device::Cpu).unwrap()
        });
        let plan = Arc::new(networks[0].plan().clone());
        networks[0].set_executor(Box::new(Composed::new(Arc::clone(&plan))));
        let options = FusedOptions { threads: Some(threads), isa: None };
        networks[1].set_executor(Box::new(Fused::new(plan, options).unwrap()));
        let [expected, found] = networks.each_mut().map(|n| step(n, &images(batch, side), frozen));
        // Near a kink of an activation, rounding decides which of two slopes applies. The fewer
        // values there are, the more one such difference changes the result. ReLU6 has two kinks,
        // and MobileNetV2 has no other activation. The golden data test the gradient of MobileNetV2
        // more precisely.
        let gradient_off = if variant == Variant::V2 { 0.1 } else { 5e-3 };
        let tolerances = [1e-4, 1e-3, 1e-4, gradient_off];
        let names = ["inference", "logits", "statistics", "gradient"];
        for (index, (name, tolerance)) in names.into_iter().zip(tolerances).enumerate() {
            let off = off(&found[index], &expected[index]);
            prop_assert!(off <= tolerance, "{name} off by {off:e}");
        }
    }
}

#[test]
fn networks_of_convolutions_run_in_bf16_and_others_refuse_it_by_name() {
    let network = |name: &str| {
        let config = ModelConfig::new(name.parse().unwrap(), 3);
        Network::new(&config, 3, &candle_core::Device::Cpu).unwrap()
    };
    let has_bf16 = Isa::best().with_bf16().is_ok();
    let mut layered = network("shufflenet_v2_x0_5");
    assert_eq!(layered.set_precision(Precision::Bf16).is_ok(), has_bf16);
    assert_eq!(layered.executor(), "layered");
    let error = network("convnext_atto").set_precision(Precision::Bf16);
    let error = error.unwrap_err();
    assert!(error.is_usage());
    let expected = match has_bf16 {
        true => "convnext_atto has other layers: use f32",
        false => "bf16 needs the instructions AVX-512 BF16",
    };
    assert!(error.to_string().contains(expected), "{error}");
}

/// On a processor without bf16 instructions, the error is tested instead.
#[test]
fn bf16_is_near_f32() {
    let config = ModelConfig::new(Variant::LARGE, 10);
    let network = || Network::new(&config, 3, &candle_core::Device::Cpu).unwrap();
    let (mut exact, mut found) = (network(), network());
    if let Err(error) = found.set_precision(Precision::Bf16) {
        assert!(Isa::best().with_bf16().is_err());
        let error = error.to_string();
        assert!(
            error.contains("AVX-512 BF16") && error.contains("f32"),
            "{error}"
        );
        return;
    }
    let [expected, found] = [&mut exact, &mut found].map(|n| step(n, &images(16, 64), false));
    // 8 bits of precision, through 50 layers. torch's autocast has similar errors.
    for (index, tolerance) in [0.1, 0.15, 0.05, 0.4].into_iter().enumerate() {
        let off = off(&found[index], &expected[index]);
        assert!(
            off > 1e-4 && off < tolerance,
            "number {index} is off by {off}"
        );
    }
}

/// bf16 takes the preferred instructions of the processor, and each precision that names instructions takes these.
#[test]
fn a_precision_that_names_instructions_takes_them_or_says_what_is_missing() {
    let config = ModelConfig::new(Variant::SMALL, 3);
    let mut network = Network::new(&config, 3, &Device::Cpu).unwrap();
    let here = Precision::bf16_of_this_processor();
    assert_eq!(here.len(), Isa::best().bf16().len());
    assert_eq!(here.is_empty(), Precision::Bf16.isa().is_err());
    for (precision, needs) in [
        (Precision::Bf16Amx, "AMX-BF16"),
        (Precision::Bf16Avx512, "AVX-512 BF16"),
    ] {
        assert!(precision.is_bf16());
        match network.set_precision(precision) {
            Ok(()) => assert!(here.contains(&precision)),
            Err(error) => {
                assert!(error.is_usage() && !here.contains(&precision));
                let error = error.to_string();
                assert!(error.contains(needs) && error.contains("use "), "{error}");
            }
        }
    }
    if let Some(preferred) = here.first() {
        assert_eq!(preferred.isa().unwrap(), Precision::Bf16.isa().unwrap());
    }
}

/// The gradient of `step`'s loss times `scale`, divided by `scale` again.
fn scaled_gradient(network: &mut Network, images: &Images, slope: f64, scale: f64) -> Vec<f32> {
    let logits = network.forward_train(images, 3, false).unwrap();
    let loss = (logits.sqr().unwrap() * (slope * scale)).unwrap();
    loss.sum_all().unwrap().backward().unwrap();
    let gradient = values(network.parameters().gradient().unwrap());
    gradient.iter().map(|g| g / scale as f32).collect()
}

#[test]
fn f16_is_near_f32_and_a_scaled_loss_keeps_small_gradients() {
    for variant in [Variant::LARGE, Variant::SMALL] {
        let config = ModelConfig {
            width: 0.5,
            dropout: 0.0,
            batch_norm_momentum: 1.0,
            ..ModelConfig::new(variant, 10)
        };
        let network = || Network::new(&config, 3, &Device::Cpu).unwrap();
        let (mut exact, mut half) = (network(), network());
        let plan = Arc::new(half.plan().clone());
        half.set_executor(Box::new(Composed::new(plan).with_f16()));
        assert_ne!(exact.backbone_key().unwrap(), half.backbone_key().unwrap());
        let images = images(8, 32);
        // Before its first step, the results of a network are too small for f16.
        let [expected, found] = [&mut exact, &mut half].map(|network| {
            step(network, &images, false);
            step(network, &images, false)
        });
        // f16 has 11 bits of precision; bf16 has 8.
        for (index, tolerance) in [0.05, 0.1, 0.02, 0.2].into_iter().enumerate() {
            let off = off(&found[index], &expected[index]);
            assert!(
                off > 1e-6 && off < tolerance,
                "{variant}: number {index} is off by {off}"
            );
        }
        let slope = 1e-7;
        let expected = scaled_gradient(&mut exact, &images, slope, 1.0);
        let lost = scaled_gradient(&mut half, &images, slope, 1.0);
        let kept = scaled_gradient(&mut half, &images, slope, 65536.0);
        let (lost, kept) = (off(&lost, &expected), off(&kept, &expected));
        assert!(
            kept < 0.2 && lost > 2.0 * kept,
            "{variant}: {kept} and {lost}"
        );
    }
}

#[test]
fn f16_is_refused_on_a_cpu() {
    let mut network = Network::new(&ModelConfig::new(Variant::SMALL, 3), 0, &Device::Cpu).unwrap();
    let error = network
        .set_precision(Precision::F16)
        .unwrap_err()
        .to_string();
    assert!(error.contains("f16 for CUDA GPUs; use f32"), "{error}");
    let error = "half".parse::<Precision>().unwrap_err();
    assert!(error.contains("\"f16\""), "{error}");
    for precision in Precision::ALL {
        assert_eq!(precision.to_string().parse(), Ok(precision));
    }
}

#[test]
fn a_precision_replaces_an_executor_that_was_given() {
    let mut network = Network::new(&ModelConfig::new(Variant::SMALL, 3), 0, &Device::Cpu).unwrap();
    let own = network.executor();
    let plan = Arc::new(network.plan().clone());
    network.set_executor(Box::new(Composed::new(plan)));
    assert_ne!(network.executor(), own);
    network.set_precision(Precision::F32).unwrap();
    assert_eq!(network.executor(), own);
}
