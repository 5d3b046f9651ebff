use std::path::PathBuf;

use candle_core::{Device, Tensor};
use mobilenet::weights::{WeightsMetadata, describe, load, load_pretrained, save};
use mobilenet::{Error, Framing, ImageSize, ModelConfig, Network, Orientation, Variant};
use tempfile::TempDir;

use crate::{arena, config, images, network, statistics, values};

pub(crate) fn metadata(model: &ModelConfig) -> WeightsMetadata {
    WeightsMetadata {
        epoch: Some(3),
        score: Some(0.98765),
        training: Some(serde_json::json!({ "loss_scaler": { "scale": 0.5 } })),
        ..WeightsMetadata::new(
            model.clone().into(),
            (0..model.classes)
                .map(|class| format!("class {class}"))
                .collect(),
            ImageSize::square(64),
        )
    }
}

/// A folder with `weights.safetensors`, saved from a network after one training step.
pub(crate) fn saved(config: &ModelConfig) -> (TempDir, PathBuf, Network) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut network = network(config);
    network.forward_train(&images(4, 64), 0, false).unwrap();
    save(&path, &network, &metadata(config)).unwrap();
    (folder, path, network)
}

fn refusal<T>(result: mobilenet::Result<T>) -> String {
    result.err().expect("a refusal").to_string()
}

#[test]
fn a_file_brings_everything_back() {
    let (folder, path, network) = saved(&config());
    let (loaded, found) = load(&path, &Device::Cpu).unwrap();
    assert_eq!(found, metadata(&config()));
    assert_eq!(arena(&loaded), arena(&network));
    assert_eq!(statistics(&loaded), statistics(&network));
    assert_eq!(loaded.parameters().batches_tracked(), 1);
    let images = images(2, 64);
    let logits = |network: &Network| values(&network.infer(&images).unwrap());
    assert_eq!(logits(&loaded), logits(&network));
    // Equal models give equal files, and no other file remains in the folder.
    let again = folder.path().join("again.safetensors");
    save(&again, &loaded, &found).unwrap();
    assert_eq!(
        std::fs::read(&path).unwrap(),
        std::fs::read(&again).unwrap()
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    assert_eq!(tensors["classifier.3.weight"].dims(), [3, 256]);
    assert_eq!(
        tensors["features.0.1.num_batches_tracked"].dims(),
        [0usize; 0]
    );
}

#[test]
fn damaged_and_foreign_files_are_refused_by_name() {
    let (folder, path, _) = saved(&config());
    let bytes = std::fs::read(&path).unwrap();
    let bad = folder.path().join("bad.safetensors");
    let foreign = "neither a safetensors file nor one that torch.save wrote";
    let cut = "not a complete safetensors file";
    let text = b"this is no weights file, only some text";
    for (what, content, says) in [
        ("empty", Vec::new(), foreign),
        ("text", text.to_vec(), foreign),
        ("cut in the header", bytes[..100].to_vec(), cut),
        ("cut in the tensors", bytes[..bytes.len() - 1].to_vec(), cut),
        ("longer", [bytes.as_slice(), b"x"].concat(), cut),
    ] {
        std::fs::write(&bad, content).unwrap();
        let error = refusal(load(&bad, &Device::Cpu));
        assert!(
            error.contains(&format!("bad.safetensors: {says}")),
            "{what}: {error}"
        );
    }
    let missing = folder.path().join("missing.safetensors");
    assert!(refusal(load(&missing, &Device::Cpu)).contains("missing.safetensors"));
    let plain = [(
        "weight",
        Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap(),
    )];
    candle_core::safetensors::save(&plain.into_iter().collect(), &bad).unwrap();
    assert!(refusal(load(&bad, &Device::Cpu)).contains("are of no network known here"));
}

#[test]
fn a_file_that_contradicts_itself_is_refused() {
    let (_folder, path, network) = saved(&config());
    let large = ModelConfig {
        name: Variant::LARGE,
        ..config()
    };
    save(&path, &network, &metadata(&large)).unwrap();
    let error = load(&path, &Device::Cpu).err().expect("a refusal");
    assert!(matches!(&error, Error::OtherModel { report, .. } if !report.mismatched.is_empty()));
    let mut two = metadata(&config());
    two.class_names.pop();
    save(&path, &network, &two).unwrap();
    assert!(refusal(load(&path, &Device::Cpu)).contains("2 classes for a model of 3"));
}

#[test]
fn a_file_says_how_images_are_fitted_only_where_it_is_not_the_old_way() {
    let (_folder, path, network) = saved(&config());
    let old = serde_json::to_value(metadata(&config())).unwrap();
    assert!(old.get("framing").is_none() && old.get("orientation").is_none());
    assert_eq!(old["image_size"], 64);
    let fitted = WeightsMetadata {
        image_size: ImageSize {
            height: 160,
            width: 224,
        },
        framing: Framing::TIMM,
        orientation: Orientation::Apply,
        ..metadata(&config())
    };
    save(&path, &network, &fitted).unwrap();
    assert_eq!(describe(&path).unwrap(), Some(fitted.clone()));
    assert_eq!(load(&path, &Device::Cpu).unwrap().1, fitted);
}

#[test]
fn a_head_for_other_classes_stays_fresh_and_is_reported() {
    let (_folder, path, trained) = saved(&config());
    let mut network = network(&ModelConfig {
        classes: 7,
        ..config()
    });
    let fresh = arena(&network);
    let report = load_pretrained(&path, &mut network).unwrap();
    let names: Vec<&str> = report.mismatched.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["classifier.3.bias", "classifier.3.weight"]);
    assert_eq!(
        (
            &report.mismatched[1].file[..],
            &report.mismatched[1].model[..]
        ),
        (&[3, 256][..], &[7, 256][..])
    );
    assert!(report.missing.is_empty() && report.unexpected.is_empty());
    assert!(
        report
            .to_string()
            .contains("classifier.3.bias (file [3], model [7])"),
        "{report}"
    );
    let backbone = network.parameters().backbone();
    assert_eq!(arena(&network)[backbone.clone()], arena(&trained)[backbone]);
    assert_eq!(statistics(&network), statistics(&trained));
    let last = network
        .parameters()
        .segments()
        .last()
        .unwrap()
        .range
        .clone();
    assert_eq!(arena(&network)[last.clone()], fresh[last]);
}

#[test]
fn half_a_backbone_is_refused_and_changes_nothing() {
    let (_folder, path, _) = saved(&ModelConfig {
        width: 0.5,
        ..config()
    });
    let mut network = network(&config());
    let before = arena(&network);
    let error = refusal(load_pretrained(&path, &mut network));
    assert!(error.contains("weights of another model"), "{error}");
    assert!(error.contains("(file ["), "{error}");
    assert_eq!(arena(&network), before);
}

#[test]
fn files_without_batch_counters_load() {
    let (_folder, path, _) = saved(&config());
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    tensors.retain(|name, _| !name.ends_with("num_batches_tracked"));
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let report = load_pretrained(&path, &mut network(&config())).unwrap();
    assert!(report.missing.is_empty(), "{report}");
}

/// Converts the tensors in a file to another type.
fn cast(path: &std::path::Path, dtype: candle_core::DType) {
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let cast = tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_dtype(dtype).unwrap()));
    candle_core::safetensors::save(&cast.collect(), path).unwrap();
}

#[test]
fn files_of_other_numbers_load_and_integers_do_not() {
    use candle_core::DType;
    for (dtype, error) in [(DType::F64, 0.0), (DType::F16, 6e-4), (DType::BF16, 4e-3)] {
        let (_folder, path, trained) = saved(&config());
        cast(&path, dtype);
        let mut network = network(&config());
        load_pretrained(&path, &mut network).unwrap();
        assert_eq!(network.parameters().batches_tracked(), 1, "{dtype:?}");
        for (found, expected) in arena(&network).into_iter().zip(arena(&trained)) {
            // The smallest f16 numbers are subnormal, so their error is absolute, not relative.
            let close = (found - expected).abs() <= error * (expected.abs() + 1e-4);
            assert!(close, "{dtype:?}: {found} for {expected}");
        }
    }
    let (_folder, path, _) = saved(&config());
    cast(&path, DType::I64);
    let mut network = network(&config());
    let before = arena(&network);
    let error = refusal(load_pretrained(&path, &mut network));
    assert!(error.contains("features.0.0.weight holds I64"), "{error}");
    assert_eq!(arena(&network), before);
}

#[test]
fn claimed_sizes_take_no_memory() {
    let (folder, path, network) = saved(&config());
    let bad = folder.path().join("bad.safetensors");
    for length in [1 << 40, u64::MAX] {
        std::fs::write(&bad, [&length.to_le_bytes()[..], &[b'{'; 64]].concat()).unwrap();
        let error = refusal(load(&bad, &Device::Cpu));
        assert!(error.contains("its header should have"), "{error}");
    }
    let shape = r#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
    let header = [&(shape.len() as u64).to_le_bytes()[..], shape.as_bytes()];
    std::fs::write(&bad, header.concat()).unwrap();
    let error = refusal(load(&bad, &Device::Cpu));
    assert!(error.contains("describes 4398046511104 bytes"), "{error}");
    // A network that is a hundred times as large as the file.
    let vast = metadata(&ModelConfig {
        width: 10.0,
        ..config()
    });
    save(&path, &network, &vast).unwrap();
    let error = load(&path, &Device::Cpu).err().expect("a refusal");
    assert!(matches!(error, Error::OtherModel { .. }), "{error}");
}
