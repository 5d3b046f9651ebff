//! What a file says of itself, as a reader of the format finds it.

use std::collections::BTreeMap;

use mobilenet::onnx::{OnnxOptions, to_bytes};
use mobilenet::weights::Normalisation;
use mobilenet::{HeadKind, ModelConfig, Variant};
use prost::Message as _;
use tract_onnx::pb::tensor_shape_proto::dimension::Value;
use tract_onnx::pb::{ModelProto, ValueInfoProto, type_proto};

use crate::{metadata, network};

fn narrow() -> ModelConfig {
    ModelConfig {
        width: 0.25,
        head: HeadKind::Linear,
        ..ModelConfig::new(Variant::Small, 3)
    }
}

fn written(options: OnnxOptions) -> ModelProto {
    let config = narrow();
    let bytes = to_bytes(&network(&config), &metadata(&config, 64), options).unwrap();
    ModelProto::decode(&bytes[..]).unwrap()
}

/// Name, type, and each side's name or length.
fn described(value: &ValueInfoProto) -> (&str, i32, Vec<String>) {
    let type_proto::Value::TensorType(tensor) =
        value.r#type.as_ref().unwrap().value.as_ref().unwrap();
    let sides = tensor.shape.as_ref().unwrap().dim.iter();
    let sides = sides.map(|side| match side.value.as_ref().unwrap() {
        Value::DimValue(length) => length.to_string(),
        Value::DimParam(name) => name.clone(),
    });
    (&value.name, tensor.elem_type, sides.collect())
}

#[test]
fn the_metadata_come_back() {
    let model = written(OnnxOptions::default());
    assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
    assert_eq!(model.producer_name, "classify");
    assert_eq!(model.producer_version, env!("CARGO_PKG_VERSION"));
    let properties: BTreeMap<&str, &str> = model
        .metadata_props
        .iter()
        .map(|entry| (entry.key.as_str(), entry.value.as_str()))
        .collect();
    let expected = metadata(&narrow(), 64);
    let names: Vec<String> = serde_json::from_str(properties["class_names"]).unwrap();
    assert_eq!(names, expected.class_names);
    assert_eq!(properties["model"], "mobilenet_v3_small");
    assert_eq!(properties["image_size"], "64");
    let [mean, std] = ["mean", "std"].map(|key| serde_json::from_str(properties[key]).unwrap());
    assert_eq!(Normalisation { mean, std }, expected.normalisation);
    assert_eq!(properties.len(), 5);
}

#[test]
fn inputs_and_outputs_are_free_in_batch_and_size() {
    for preprocess in [false, true] {
        for softmax in [false, true] {
            let graph = written(OnnxOptions {
                preprocess,
                softmax,
                ..OnnxOptions::default()
            });
            let graph = graph.graph.unwrap();
            let sides = |sides: &[&str]| sides.iter().map(|&side| side.to_owned()).collect();
            let (numbers, shape) = match preprocess {
                true => (2, sides(&["batch", "height", "width", "3"])),
                false => (1, sides(&["batch", "3", "height", "width"])),
            };
            assert_eq!(described(&graph.input[0]), ("images", numbers, shape));
            let output = if softmax { "probabilities" } else { "logits" };
            assert_eq!(
                described(&graph.output[0]),
                (output, 1, sides(&["batch", "3"]))
            );
            assert_eq!((graph.input.len(), graph.output.len()), (1, 1));
        }
    }
}

#[test]
fn weights_lie_there_under_torchvisions_names() {
    let network = network(&narrow());
    let named = network.parameters().named().unwrap();
    let graph = written(OnnxOptions::default()).graph.unwrap();
    let mut tensors = BTreeMap::new();
    for tensor in &graph.initializer {
        let shape: Vec<usize> = tensor.dims.iter().map(|&side| side as usize).collect();
        let values = tensor.raw_data.chunks_exact(4);
        let values: Vec<f32> = values
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        tensors.insert(tensor.name.clone(), (shape, values));
    }
    assert_eq!(tensors.len(), graph.initializer.len());
    for (name, tensor) in named {
        // Inference does not count batches.
        if name.ends_with("num_batches_tracked") {
            continue;
        }
        let (shape, values) = tensors.remove(&name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(shape, tensor.dims(), "{name}");
        assert_eq!(
            values,
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            "{name}"
        );
    }
    assert!(tensors.is_empty(), "{:?}", tensors.keys());
}

#[test]
fn folding_leaves_no_batch_normalisation() {
    let count = |fold_batch_norm, operator: &str| {
        let options = OnnxOptions {
            fold_batch_norm,
            ..OnnxOptions::default()
        };
        let nodes = written(options).graph.unwrap().node;
        nodes.iter().filter(|node| node.op_type == operator).count()
    };
    // torchvision's small network: 34 convolutions with a normalisation, 9 squeeze-excites.
    assert_eq!(
        (count(false, "BatchNormalization"), count(false, "Conv")),
        (34, 34 + 18)
    );
    assert_eq!(
        (count(true, "BatchNormalization"), count(true, "Conv")),
        (0, 34 + 18)
    );
}
