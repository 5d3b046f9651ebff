//! The smallest network of each family: rten must give its results.

use std::collections::HashSet;
use std::sync::Arc;

use mobilenet::onnx::{OnnxOptions, check, to_bytes};
use mobilenet::{Images, ModelConfig, Variant};

use crate::{CLOSE, metadata, network, pictures};

/// Side of the images of networks without a row below.
const SIDE: usize = 64;

/// Exports a network as it is, and folded with bytes as input.
fn agrees(name: &str, image_size: usize) {
    let config = ModelConfig::new(name.parse().unwrap(), 7);
    let network = network(&config);
    let metadata = metadata(&config, image_size);
    let shown = [pictures(2, image_size, image_size)];
    // A network that ignores its images would agree too.
    let table = Arc::new(metadata.normalisation.table());
    let images = Images::bytes(&shown[0], table).unwrap();
    let logits: Vec<Vec<f32>> = network.infer(&images).unwrap().to_vec2().unwrap();
    let pairs = logits[0].iter().zip(&logits[1]);
    let (apart, largest) = pairs.fold((0.0f32, 1.0f32), |(apart, largest), (a, b)| {
        (apart.max((a - b).abs()), largest.max(a.abs()))
    });
    assert!(
        apart > 10.0 * CLOSE * largest,
        "{name}: the logits of two images differ by {apart:e} of {largest:e}"
    );
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
        assert!(
            found.largest_difference <= CLOSE * largest,
            "{name} {options:?}: {found:?} of {largest:e}"
        );
    }
}

/// The smallest network of each family.
fn smallest() -> Vec<Variant> {
    let size = |variant: &Variant| {
        let plan = ModelConfig::new(*variant, 2).plan().unwrap();
        plan.parameters.len()
    };
    let mut networks: Vec<Variant> = Variant::all().collect();
    networks.sort_by_cached_key(size);
    let mut families = HashSet::new();
    networks.retain(|variant| families.insert(variant.family()));
    networks
}

macro_rules! families {
    ($($test:ident: $name:literal, $size:literal;)*) => {
        $(
            #[test]
            fn $test() {
                agrees($name, $size);
            }
        )*

        /// New families need no row.
        #[test]
        fn the_smallest_networks_without_a_row() {
            for variant in smallest() {
                if ![$($name),*].contains(&variant.name()) {
                    agrees(variant.name(), SIDE);
                }
            }
        }
    };
}

// Networks with images of another size, and networks that are not the smallest of their family.
families! {
    resnet: "resnet18", 48;
    resnext: "resnext50_32x4d", 48;
    se_resnext: "se_resnext50_32x4d", 48;
    regnet_x: "regnet_x_400mf", 64;
    densenet: "densenet121", 48;
    xception: "xception", 72;
    efficientnet_v2: "efficientnet_v2_b0", 64;
    swin: "swin_t", 76;
}
