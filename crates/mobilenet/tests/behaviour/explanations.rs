//! Grad-CAM maps of every family.

use candle_core::Device;
use mobilenet::{ModelConfig, Network};

use crate::{images, values};

#[test]
fn every_family_is_explained_by_its_last_map_of_seven_places() {
    for (variant, layer) in [
        ("mobilenet_v3_small", "features.3"),
        ("mobilenet_v2", "features.6"),
        ("shufflenet_v2_x0_5", "stage2.3"),
        ("resnet18", "layer2.1"),
        ("efficientnet_b0", "features.3.1"),
        ("regnet_y_400mf", "trunk_output.block2.block2-2"),
        ("densenet121", "features.denseblock2.denselayer12"),
        ("xception", "block2"),
        ("convnext_atto", "features.3.1"),
        ("mobilenetv4_conv_small", "blocks.1.1"),
        ("swin_t", "features.3.1"),
    ] {
        let plan = ModelConfig::new(variant.parse().unwrap(), 3)
            .plan()
            .unwrap();
        let shapes = plan.shapes(64, 64);
        let mut stages = plan.stages();
        stages.retain(|&(index, _)| shapes[index].height >= 7);
        let (index, name) = stages[stages.len() - 1];
        assert_eq!((name, shapes[index].height), (layer, 8), "{variant}");
    }
}

#[test]
fn maps_belong_to_the_networks_own_answers() {
    for (variant, layer) in [
        ("shufflenet_v2_x0_5", "stage2.3"),
        ("convnext_atto", "features.3.1"),
    ] {
        let config = ModelConfig::new(variant.parse().unwrap(), 3);
        let network = Network::new(&config, 4, &Device::Cpu).unwrap();
        let images = images(2, 64);
        let found = network.grad_cam(&images, Some(&[2, 0])).unwrap();
        assert_eq!(found.layer, layer, "{variant}");
        assert_eq!([found.height, found.width], [8, 8], "{variant}");
        assert_eq!(found.classes, [2, 0]);
        let expected = values(&network.infer(&images).unwrap());
        let largest = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        for (a, b) in values(&found.logits).iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-4 * largest, "{variant}: {a} not {b}");
        }
        for map in &found.maps {
            let most = map.iter().copied().fold(0.0, f32::max);
            assert!(map.len() == 64 && (most == 1.0 || most == 0.0), "{variant}");
        }
    }
}
