//! The smallest network of each family: rten must give its results.

use mobilenet::ModelConfig;
use mobilenet::onnx::{OnnxOptions, TOLERANCE, check, to_bytes};

use crate::{metadata, network, pictures};

/// Exports a network as it is, and folded with bytes as input.
fn agrees(name: &str, image_size: usize) {
    let config = ModelConfig::new(name.parse().unwrap(), 7);
    let network = network(&config);
    let metadata = metadata(&config, image_size);
    let shown = [pictures(2, image_size, image_size)];
    for with in [false, true] {
        let options = OnnxOptions {
            preprocess: with,
            softmax: with,
            fold_batch_norm: with,
            ..OnnxOptions::default()
        };
        let bytes = to_bytes(&network, &metadata, options).unwrap();
        let found = check(&bytes, &network, &metadata, options, &shown)
            .unwrap_or_else(|error| panic!("{name} {options:?}: {error}"));
        assert_eq!(found.pictures, 2);
        // A network that ignores its images would agree too.
        assert!(found.largest_difference > 0.0, "{name}: {TOLERANCE}");
    }
}

macro_rules! families {
    ($($test:ident: $name:literal, $size:literal;)*) => {
        $(
            #[test]
            fn $test() {
                agrees($name, $size);
            }
        )*

        #[test]
        fn every_family_is_tested() {
            let tested: Vec<&str> = [$($name),*]
                .iter()
                .map(|name| name.parse::<mobilenet::Variant>().unwrap().family())
                .collect();
            let older = ["MobileNetV2", "MobileNetV3"];
            for variant in mobilenet::Variant::all() {
                let family = variant.family();
                assert!(tested.contains(&family) || older.contains(&family), "{family}");
            }
        }
    };
}

families! {
    shufflenet_v2: "shufflenet_v2_x0_5", 64;
    resnet: "resnet18", 48;
    resnext: "resnext50_32x4d", 48;
    se_resnext: "se_resnext50_32x4d", 48;
    regnet_x: "regnet_x_400mf", 64;
    regnet_y: "regnet_y_400mf", 64;
    densenet: "densenet121", 48;
    xception: "xception", 72;
    efficientnet: "efficientnet_b0", 64;
    efficientnet_v2: "efficientnet_v2_b0", 64;
    mobilenet_v4: "mobilenetv4_conv_small", 64;
    convnext: "convnext_atto", 64;
    swin: "swin_t", 76;
}
