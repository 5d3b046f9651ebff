//! Reads an exported file independently, and tests its metadata and structure.

use std::collections::{BTreeMap, BTreeSet};

use mobilenet::onnx::{OnnxOptions, to_bytes};
use mobilenet::weights::Normalisation;
use mobilenet::{HeadKind, ModelConfig, Variant};
use rten_onnx::onnx::{DataType, ModelProto, ValueInfoProto};
use rten_onnx::protobuf::{Fields, ValueReader};

use crate::{metadata, network};

fn narrow() -> ModelConfig {
    ModelConfig {
        width: 0.25,
        head: HeadKind::Linear,
        ..ModelConfig::new(Variant::SMALL, 3)
    }
}

fn bytes(options: OnnxOptions) -> Vec<u8> {
    let config = narrow();
    to_bytes(&network(&config), &metadata(&config, 64), options).unwrap()
}

fn written(options: OnnxOptions) -> ModelProto {
    ModelProto::parse_buf(&bytes(options)).unwrap()
}

/// Name and type of a value, and the name or length of each dimension.
fn described(value: &ValueInfoProto) -> (&str, DataType, Vec<String>) {
    let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    let sides = tensor.shape.as_ref().unwrap().dim.iter();
    let sides = sides.map(|side| match (side.dim_value, &side.dim_param) {
        (Some(length), None) => length.to_string(),
        (None, Some(name)) => name.clone(),
        both => panic!("{both:?}"),
    });
    let name = value.name.as_deref().unwrap();
    (name, tensor.elem_type.unwrap(), sides.collect())
}

#[test]
fn the_metadata_come_back() {
    let model = written(OnnxOptions::default());
    let [opset] = &model.opset_import[..] else {
        panic!("{:?}", model.opset_import);
    };
    assert_eq!((model.ir_version, opset.version), (Some(8), Some(17)));
    assert_eq!(opset.domain.as_deref().unwrap_or(""), "");
    assert_eq!(model.producer_name.as_deref(), Some("classify"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(model.producer_version.as_deref(), Some(version));
    let properties: BTreeMap<&str, &str> = model
        .metadata_props
        .iter()
        .map(|entry| {
            (
                entry.key.as_deref().unwrap(),
                entry.value.as_deref().unwrap(),
            )
        })
        .collect();
    let expected = metadata(&narrow(), 64);
    let names: Vec<String> = serde_json::from_str(properties["class_names"]).unwrap();
    assert_eq!(names, expected.class_names);
    assert_eq!(properties["model"], "mobilenet_v3_small");
    assert_eq!(properties["image_size"], "64");
    let [mean, std] = ["mean", "std"].map(|key| serde_json::from_str(properties[key]).unwrap());
    assert_eq!(Normalisation { mean, std }, expected.normalisation);
    let framing = ["fit", "crop_pct", "interpolation", "orientation"].map(|key| properties[key]);
    assert_eq!(framing, ["squash", "0.875", "bilinear", "ignore"]);
    assert_eq!(properties["temperature"], "0.4");
    assert_eq!(properties.len(), 10);
}

/// Only calibrated probabilities are divided by the temperature: `check` compares their values with the network's.
#[test]
fn a_temperature_divides_the_logits_before_the_softmax() {
    for bits in 0..4 {
        let options = OnnxOptions {
            softmax: bits & 1 != 0,
            calibrated: bits & 2 != 0,
            ..OnnxOptions::default()
        };
        let graph = written(options).graph.unwrap();
        let divisors = graph.initializer.iter();
        let divisor = divisors.filter(|tensor| tensor.name.as_deref() == Some("temperature"));
        let divides = graph.node.iter().any(|node| {
            node.op_type.as_deref() == Some("Div") && node.input.iter().any(|i| i == "temperature")
        });
        assert_eq!(
            (divisor.count(), divides),
            (usize::from(bits == 3), bits == 3)
        );
    }
    let network = mobilenet::Network::new(&narrow(), 0, &candle_core::Device::Cpu).unwrap();
    let without = mobilenet::weights::WeightsMetadata {
        temperature: None,
        ..metadata(&narrow(), 64)
    };
    let options = OnnxOptions {
        softmax: true,
        calibrated: true,
        ..OnnxOptions::default()
    };
    let refused = mobilenet::onnx::to_bytes(&network, &without, options);
    assert!(
        matches!(refused, Err(mobilenet::Error::OnnxWrite(_))),
        "{refused:?}"
    );
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
                true => (DataType::UINT8, sides(&["batch", "height", "width", "3"])),
                false => (DataType::FLOAT, sides(&["batch", "3", "height", "width"])),
            };
            assert_eq!(described(&graph.input[0]), ("images", numbers, shape));
            let output = if softmax { "probabilities" } else { "logits" };
            assert_eq!(
                described(&graph.output[0]),
                (output, DataType::FLOAT, sides(&["batch", "3"]))
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
        let raw = tensor.raw_data.as_ref().unwrap().borrow();
        let values: Vec<f32> = raw
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        tensors.insert(tensor.name.clone().unwrap(), (shape, values));
    }
    assert_eq!(tensors.len(), graph.initializer.len());
    for (name, tensor) in named {
        // Batch counters are not needed for inference.
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
        let of_it = |op_type: &Option<String>| op_type.as_deref() == Some(operator);
        nodes.iter().filter(|node| of_it(&node.op_type)).count()
    };
    // torchvision's small network has 34 convolutions with a normalisation, and 9 squeeze-excites.
    assert_eq!(
        (count(false, "BatchNormalization"), count(false, "Conv")),
        (34, 34 + 18)
    );
    assert_eq!(
        (count(true, "BatchNormalization"), count(true, "Conv")),
        (0, 34 + 18)
    );
}

/// onnx.checker requires a name for the graph and a unique name for every node.
#[test]
fn the_graph_has_a_name_and_every_node_one_of_its_own() {
    let bytes = bytes(OnnxOptions::default());
    assert_eq!(text(&bytes, &[7, 2]), ["mobilenet_v3_small"]);
    let names = text(&bytes, &[7, 1, 3]);
    let outputs = text(&bytes, &[7, 1, 2]);
    let weights = text(&bytes, &[7, 5, 8]);
    let all: BTreeSet<&String> = names.iter().chain(&outputs).chain(&weights).collect();
    assert_eq!(all.len(), names.len() + outputs.len() + weights.len());
    assert!(names.contains(&"features.0.0/Conv".to_owned()), "{names:?}");
}

/// All texts in a message at this path of onnx.proto3 tags. Each tag leads to a nested message.
fn text(message: &[u8], tags: &[u64]) -> Vec<String> {
    let mut reader = ValueReader::from_buf(message);
    let mut fields = Fields::new(&mut reader, None);
    let mut found = Vec::new();
    while let Some(mut field) = fields.next().unwrap() {
        if field.number() != tags[0] {
            field.skip().unwrap();
        } else if let [_] = tags {
            found.push(field.read_string().unwrap());
        } else {
            found.extend(text(&field.read_bytes().unwrap(), &tags[1..]));
        }
    }
    found
}
