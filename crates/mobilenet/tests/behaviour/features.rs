use std::sync::Arc;

use mobilenet::{Composed, HeadKind, ModelConfig, Network};

use crate::{arena, config, images, network, statistics, values};

/// The network twice: with its default executor and with the composed executor.
fn both(config: &ModelConfig) -> [Network; 2] {
    let mut oracle = network(config);
    let plan = Arc::new(oracle.plan().clone());
    oracle.set_executor(Box::new(Composed::new(plan)));
    [network(config), oracle]
}

#[test]
fn training_on_features_equals_training_on_images() {
    for head in [HeadKind::Torchvision, HeadKind::Linear] {
        let config = ModelConfig {
            head,
            dropout: 0.5,
            ..config()
        };
        for mut network in both(&config) {
            let images = images(4, 64);
            let features = network.features(&images).unwrap();
            assert_eq!(features.dims(), [4, network.feature_count()]);
            let mut step = |from_images: bool| {
                let logits = match from_images {
                    true => network.forward_train(&images, 7, true).unwrap(),
                    false => network.forward_train_head(&features, 7).unwrap(),
                };
                let loss = logits.sqr().unwrap().sum_all().unwrap();
                loss.backward().unwrap();
                (
                    values(&logits),
                    values(network.parameters().gradient().unwrap()),
                )
            };
            let expected = step(true);
            assert!(expected.1.iter().any(|&slope| slope != 0.0));
            assert_eq!(step(false), expected, "{head}");
        }
    }
}

#[test]
fn logits_of_features_are_those_of_images() {
    for network in both(&config()) {
        let images = images(3, 64);
        let features = network.features(&images).unwrap();
        let (whole, head) = (network.infer(&images), network.infer_head(&features));
        for (whole, head) in values(&whole.unwrap())
            .into_iter()
            .zip(values(&head.unwrap()))
        {
            assert!((whole - head).abs() < 1e-5, "{whole} and {head}");
        }
    }
}

#[test]
fn features_of_another_width_are_refused() {
    let network = network(&config());
    let features = candle_core::Tensor::zeros((2, 7), candle_core::DType::F32, network.device());
    assert!(network.infer_head(&features.unwrap()).is_err());
}

#[test]
fn a_backbone_is_known_by_all_that_decides_its_features() {
    let key = |network: &Network| network.backbone_key().unwrap();
    let [first, oracle] = both(&config());
    let expected = key(&first);
    assert_eq!(key(&network(&config())), expected);
    // The key depends on the executor, because another executor rounds differently.
    assert_ne!(key(&oracle), expected);
    let other_head = ModelConfig {
        classes: 9,
        dropout: 0.7,
        drop_path: 0.3,
        ..config()
    };
    let same_backbone = network(&other_head);
    let backbone = first.parameters().backbone();
    assert_eq!(
        arena(&same_backbone)[backbone.clone()],
        arena(&first)[backbone.clone()]
    );
    assert_eq!(key(&same_backbone), expected);
    let other_stem = ModelConfig {
        stem_stride: 1,
        ..config()
    };
    assert_ne!(key(&network(&other_stem)), expected);
    let set = |change: fn(&mut [f32], &mut [f32])| {
        let (mut parameters, mut moved) = (arena(&first), statistics(&first));
        change(&mut parameters, &mut moved);
        first.parameters().set(parameters, moved).unwrap();
        key(&first)
    };
    // The key depends on every bit of a weight and of a running statistic.
    assert_ne!(
        set(|parameters, _| parameters[5] = -parameters[5]),
        expected
    );
    assert_eq!(
        set(|parameters, _| parameters[5] = -parameters[5]),
        expected
    );
    assert_ne!(set(|_, statistics| statistics[3] += 0.5), expected);
}
