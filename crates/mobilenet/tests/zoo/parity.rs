//! Compares every feature with timm's.

use candle_core::Device;
use mobilenet::Model as _;
use mobilenet::zoo::{ZooConfig, ZooNetwork};

use crate::fill::images;
use crate::written::{golden, read};

fn values(tensor: &candle_core::Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn check(name: &str) {
    let (case, expected) = read(&golden(name));
    assert_eq!(case.name.name(), name);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    case.write(&path);
    let config = ZooConfig {
        name: case.name,
        classes: 3,
        dropout: 0.0,
    };
    let (network, _) = ZooNetwork::pretrained(&config, &path, 0, &Device::Cpu).unwrap();
    let count = expected.dim(0).unwrap();
    let features = network.features(&images(count, case.image_size)).unwrap();
    assert_eq!(features.dims(), expected.dims(), "{name}");
    assert_eq!(network.feature_count(), expected.dim(1).unwrap(), "{name}");
    let (found, expected) = (values(&features), values(&expected));
    let differences = found.iter().zip(&expected).map(|(f, e)| (f - e).abs());
    let worst = differences.max_by(f32::total_cmp).unwrap(); // NaN counts as the largest
    assert!(worst <= 1e-4, "{name}: features off by {worst:e}");
    // If the features of both images were the same, a constant result would pass the test.
    let (first, second) = expected.split_at(expected.len() / 2);
    let apart = first.iter().zip(second).map(|(a, b)| (a - b).abs());
    let apart = apart.sum::<f32>() / first.len() as f32;
    assert!(apart > 5e-3, "{name}: {apart:e}");
}

macro_rules! parity {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name));
        }
    )*};
}

parity! {
    mobileone_s1
    repvgg_a0
    fastvit_t8
}
