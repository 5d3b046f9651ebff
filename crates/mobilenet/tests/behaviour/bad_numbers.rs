//! Tests of files with values that cannot be used as weights.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, safetensors};
use mobilenet::weights::{
    Overrides, WeightsMetadata, inspect, load, load_model, load_pretrained, save,
};
use mobilenet::{BadNumbers, Composed, Design, Error, ImageSize, ModelConfig, Network, Variant};

use crate::weights::{metadata, saved};
use crate::{arena, config, images, network, statistics, values};

/// For each kind of tensor: the name of one, an offset of an element, and this element's index.
const PLACES: [(&str, usize, &[usize]); 10] = [
    ("features.0.0.weight", 29, &[1, 0, 0, 2]),
    ("features.0.1.weight", 3, &[3]),
    ("features.0.1.bias", 0, &[0]),
    ("features.0.1.running_mean", 7, &[7]),
    ("features.0.1.running_var", 2, &[2]),
    ("features.1.block.0.0.weight", 4, &[0, 0, 1, 1]),
    ("features.1.block.1.fc1.weight", 5, &[0, 5, 0, 0]),
    ("features.1.block.1.fc2.bias", 1, &[1]),
    ("classifier.0.weight", 144, &[1, 0]),
    ("classifier.3.bias", 2, &[2]),
];

/// The unusable values in a form that can be compared: NaN equals NaN.
fn described(found: &[BadNumbers]) -> Vec<(&str, &[usize], String, usize)> {
    let each = found.iter();
    each.map(|bad| {
        (
            &bad.tensor[..],
            &bad.index[..],
            bad.value.to_string(),
            bad.count,
        )
    })
    .collect()
}

fn found<T>(result: mobilenet::Result<T>) -> Vec<BadNumbers> {
    match result.err().expect("a refusal") {
        Error::BadNumbers { found, .. } => found,
        other => panic!("another refusal: {other}"),
    }
}

/// Overwrites one value of a tensor, and writes all tensors as `dtype`.
fn spoil(
    tensors: &HashMap<String, Tensor>,
    name: &str,
    at: usize,
    value: f32,
    dtype: DType,
    path: &Path,
) {
    let spoilt = tensors.iter().map(|(own, tensor)| {
        let mut tensor = tensor.clone();
        if own == name {
            let mut numbers = values(&tensor);
            numbers[at] = value;
            tensor = Tensor::from_vec(numbers, tensor.dims(), &Device::Cpu).unwrap();
        }
        if tensor.dtype() == DType::F32 {
            tensor = tensor.to_dtype(dtype).unwrap();
        }
        (own.clone(), tensor)
    });
    safetensors::save(&spoilt.collect(), path).unwrap();
}

#[test]
fn a_bad_number_in_any_tensor_is_refused_with_its_place() {
    let (_folder, path, trained) = saved(&config());
    let tensors = safetensors::load(&path, &Device::Cpu).unwrap();
    let sound = arena(&trained);
    for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64] {
        for (name, at, index) in PLACES {
            let variance = name.ends_with("running_var").then_some(-1.0);
            let numbers = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter();
            for value in numbers.chain(variance) {
                spoil(&tensors, name, at, value, dtype, &path);
                let expected = vec![(name, index, value.to_string(), 1)];
                assert_eq!(
                    described(&found(load(&path, &Device::Cpu))),
                    expected,
                    "{dtype:?}"
                );
                if dtype != DType::F32 {
                    continue;
                }
                let mut network = network(&config());
                let before = arena(&network);
                let refused = found(load_pretrained(&path, &mut network));
                assert_eq!(described(&refused), expected, "{dtype:?}");
                assert_eq!(arena(&network), before);
                let shown = inspect(&path, Overrides::default(), &Device::Cpu).unwrap();
                assert_eq!(described(&shown.report.bad_numbers), expected);
                let text = shown.report.to_string();
                assert!(text.contains(&format!("is {value} (1 in all")), "{text}");
            }
        }
    }
    // Small values and 0 are valid.
    spoil(
        &tensors,
        "features.0.1.running_var",
        2,
        0.0,
        DType::F32,
        &path,
    );
    spoil(
        &tensors,
        "features.0.1.running_mean",
        2,
        -1.0,
        DType::F32,
        &path,
    );
    assert_eq!(arena(&load(&path, &Device::Cpu).unwrap().0), sound);
}

/// Tests an f16 file written by `torch.save`.
#[test]
fn bad_numbers_of_a_pytorch_file_are_all_listed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/torch/bad_numbers_legacy.pt");
    let expected: Vec<(&str, &[usize], String, usize)> = [
        ("features.0.0.weight", &[0, 1, 2, 0][..], f32::NAN),
        ("features.0.1.weight", &[3], f32::INFINITY),
        ("features.1.block.0.1.bias", &[0], f32::NEG_INFINITY),
        ("features.1.block.1.fc1.weight", &[1, 2, 0, 0], f32::NAN),
        ("classifier.3.bias", &[1], f32::NAN),
        ("features.1.block.0.1.running_mean", &[2], f32::INFINITY),
        ("features.2.block.1.1.running_var", &[5], -1.0),
    ]
    .map(|(name, index, value)| (name, index, value.to_string(), 1))
    .to_vec();
    let error = load_model(&path, Overrides::default(), &Device::Cpu)
        .err()
        .expect("a refusal");
    let message = error.to_string();
    assert!(
        message.contains("bad_numbers_legacy.pt: features.0.0.weight[0, 1, 2, 0] is NaN"),
        "{message}"
    );
    assert!(message.contains("7 numbers of 7 tensors"), "{message}");
    assert_eq!(described(&found::<()>(Err(error))), expected);
    let shown = inspect(&path, Overrides::default(), &Device::Cpu).unwrap();
    assert_eq!(described(&shown.report.bad_numbers), expected);
}

/// An f64 value beyond the range of f32 becomes infinite.
#[test]
fn a_number_beyond_f32_is_bad() {
    let (_folder, path, _) = saved(&config());
    let mut tensors = safetensors::load(&path, &Device::Cpu).unwrap();
    let bias = Tensor::new(&[0.0, 1e300, 2.0], &Device::Cpu).unwrap();
    tensors.insert("classifier.3.bias".into(), bias);
    safetensors::save(&tensors, &path).unwrap();
    let found = found(load(&path, &Device::Cpu));
    assert_eq!(
        described(&found),
        [("classifier.3.bias", &[1][..], "inf".into(), 1)]
    );
}

#[test]
fn invalid_metadata_are_refused() {
    type Change = fn(&mut WeightsMetadata);
    let model = |change: fn(&mut ModelConfig), metadata: &mut WeightsMetadata| {
        let mut model = config();
        change(&mut model);
        metadata.model = model.into();
    };
    let (_folder, path, network) = saved(&config());
    let refuse = |what: &str, metadata: &WeightsMetadata| {
        save(&path, &network, metadata).unwrap();
        let error = load(&path, &Device::Cpu).err().expect(what).to_string();
        assert!(
            error.contains("weights.safetensors") && error.contains(what),
            "{error}"
        );
    };
    let changes: [(&str, Change); 7] = [
        ("`std` is [0.5, 0.0, 0.5]", |m| {
            m.normalisation.std = [0.5, 0.0, 0.5]
        }),
        ("`std` is [0.5, -1.0, 0.5]", |m| {
            m.normalisation.std = [0.5, -1.0, 0.5]
        }),
        ("`image_size` is 4096", |m| {
            m.image_size = ImageSize::square(4096)
        }),
        ("`image_size` is 0", |m| m.image_size = ImageSize::square(0)),
        ("`image_size` is 64x4096", |m| m.image_size.width = 4096),
        ("`crop_pct` is 1.5", |m| m.framing.crop_pct = 1.5),
        ("`image_size` is 7", |m| m.image_size = ImageSize::square(7)),
    ];
    for (what, change) in changes {
        let mut metadata = metadata(&config());
        change(&mut metadata);
        refuse(what, &metadata);
    }
    type ModelChange = fn(&mut ModelConfig);
    let changes: [(&str, ModelChange); 4] = [
        ("`dropout` is 1.0", |m| m.dropout = 1.0),
        ("`batch_norm_epsilon` is 0.0", |m| {
            m.batch_norm_epsilon = 0.0
        }),
        ("`batch_norm_epsilon` is -1.0", |m| {
            m.batch_norm_epsilon = -1.0
        }),
        ("`batch_norm_momentum` is 2.0", |m| {
            m.batch_norm_momentum = 2.0
        }),
    ];
    for (what, change) in changes {
        let mut metadata = metadata(&config());
        model(change, &mut metadata);
        refuse(what, &metadata);
    }
    let mut of_bytes = metadata(&config());
    of_bytes.normalisation.mean = [130.7; 3];
    refuse("`mean` is [130.7, 130.7, 130.7]", &of_bytes);
    save(&path, &network, &metadata(&config())).unwrap();
    let given = Overrides {
        image_size: Some(ImageSize::square(4096)),
        ..Overrides::default()
    };
    let error = load_model(&path, given, &Device::Cpu)
        .err()
        .expect("a refusal");
    assert!(
        error.to_string().contains("`image_size` is 4096"),
        "{error}"
    );
    // Overrides must not reorder the classes in the file.
    let mut names = metadata(&config()).class_names;
    names.reverse();
    let given = Overrides {
        class_names: Some(names),
        ..Overrides::default()
    };
    let error = load_model(&path, given, &Device::Cpu)
        .err()
        .expect("a refusal");
    assert!(error.to_string().contains("in another order"), "{error}");
}

/// As in torch, a NaN weight makes every logit NaN. (Another test covers the fused engine on every
/// instruction set.)
#[test]
fn candles_operators_do_not_make_a_number_of_nan() {
    for (name, design) in [
        (Variant::SMALL, Design::Torchvision),
        (Variant::SMALL, Design::KuanWang),
        (Variant::V2, Design::Torchvision),
    ] {
        let config = ModelConfig {
            name,
            design,
            ..config()
        };
        let mut network = Network::new(&config, 5, &Device::Cpu).unwrap();
        network.set_executor(Box::new(Composed::new(Arc::new(network.plan().clone()))));
        let sound = arena(&network);
        let segments: Vec<_> = network.parameters().segments().to_vec();
        for segment in segments {
            let mut spoilt = sound.clone();
            // The centre of a kernel: on small feature maps, no other weight is used.
            let taps: usize = segment.shape.iter().skip(2).product();
            spoilt[segment.range.start + taps / 2] = f32::NAN;
            let statistics = statistics(&network);
            network.parameters().set(spoilt, statistics).unwrap();
            let images = images(2, 32);
            let name = &segment.name;
            for logits in [
                network.infer(&images).unwrap(),
                network.forward_train(&images, 0, false).unwrap(),
            ] {
                for row in logits.to_vec2::<f32>().unwrap() {
                    assert!(row.iter().any(|logit| logit.is_nan()), "{name}: {row:?}");
                }
            }
        }
    }
}
