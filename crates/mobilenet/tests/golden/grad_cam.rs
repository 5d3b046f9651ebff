//! Compares Grad-CAM maps with those that torch computes by hooks and autograd.

use std::path::Path;

use candle_core::{Device, Tensor, safetensors::load};
use mobilenet::{HeadKind, Images, ModelConfig, Network, Variant};
use safetensors::SafeTensors;

use crate::{fill, formula, values};

const CLASSES: usize = 10;

fn check(variant: Variant, side: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let path = folder.join(format!("grad_cam_{variant}_{side}.safetensors"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let case = &header.metadata().as_ref().unwrap()["case"];
    let case: serde_json::Value = serde_json::from_str(case).unwrap();
    let answers = load(&path, &Device::Cpu).unwrap();
    let config = ModelConfig {
        dropout: 0.0,
        ..ModelConfig::new(variant, CLASSES)
    };
    let network = formula::network(&config, side);
    let images = fill::images(2, side);

    let logits: Vec<Vec<f32>> = answers["logits"].to_vec2().unwrap();
    let (mut maps, mut largest) = (0, 0_f32);
    for class in 0..answers["maps"].dim(0).unwrap() {
        let found = network.grad_cam(&images, Some(&[class; 2])).unwrap();
        let expected = answers["maps"].get(class).unwrap();
        assert_eq!(case["layer"], found.layer);
        assert_eq!(expected.dims(), [2, found.height, found.width]);
        for (ours, theirs) in found.maps.iter().flatten().zip(values(&expected)) {
            largest = largest.max((ours - theirs).abs());
            maps += 1;
        }
        for (ours, theirs) in values(&found.logits).iter().zip(logits.iter().flatten()) {
            assert!((ours - theirs).abs() < 1e-4, "{variant} at {side} px");
        }
    }
    assert_eq!(maps, answers["maps"].elem_count());
    assert!(
        largest < 1e-4,
        "{variant} at {side} px: a map is off by {largest:e}"
    );

    // Without classes, each image's own prediction is explained.
    let own = network.grad_cam(&images, None).unwrap();
    for (index, row) in logits.iter().enumerate() {
        let predicted = (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        assert_eq!(Some(own.classes[index]), predicted);
    }
    let same = network.grad_cam(&images, Some(&own.classes)).unwrap();
    assert_eq!(own.maps, same.maps);
}

macro_rules! parity {
    ($($name:ident: $variant:ident, $side:literal;)*) => {$(
        #[test]
        fn $name() {
            check(Variant::$variant, $side);
        }
    )*};
}

parity! {
    large_224: LARGE, 224;
    large_32: LARGE, 32;
    small_224: SMALL, 224;
    small_32: SMALL, 32;
    v2_224: V2, 224;
    v2_32: V2, 32;
}

#[test]
fn every_width_head_and_stem_has_maps() {
    for variant in crate::MOBILENETS {
        for (width, head, stem_stride) in [
            (0.35, HeadKind::Linear, 2),
            (0.5, HeadKind::Torchvision, 1),
            (1.0, HeadKind::Linear, 1),
        ] {
            let config = ModelConfig {
                width,
                head,
                stem_stride,
                ..ModelConfig::new(variant, 3)
            };
            let network = Network::new(&config, 1, &Device::Cpu).unwrap();
            let pixels = Tensor::rand(-1f32, 1.0, (3, 40, 56, 3), &Device::Cpu).unwrap();
            let images = Images::normalised(&pixels).unwrap();
            let found = network.grad_cam(&images, None).unwrap();
            assert!(found.height >= 7 && found.width >= 7, "{found:?}");
            for map in &found.maps {
                assert_eq!(map.len(), found.height * found.width);
                let largest = map.iter().copied().fold(0.0, f32::max);
                assert!(largest == 0.0 || largest == 1.0, "{found:?}");
                assert!(map.iter().all(|value| (0.0..=1.0).contains(value)));
            }
        }
    }
}
