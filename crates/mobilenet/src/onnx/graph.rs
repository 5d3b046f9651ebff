//! A graph in the making.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{self, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};

/// Nodes in the order they run, and the numbers they use.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<NodeProto>,
    tensors: Vec<TensorProto>,
}

/// One side of an input or an output.
#[derive(Clone, Copy)]
pub(super) enum Dimension {
    /// As long as the caller likes; equal names are equally long.
    Any(&'static str),
    /// Always so long.
    Of(usize),
}

impl Graph {
    /// Appends an operator. Its one output goes by the node's own name, which comes back.
    pub(super) fn node(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.nodes.push(NodeProto {
            name: name.into(),
            op_type: operator.into(),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![name.into()],
            attribute: attributes,
            ..NodeProto::default()
        });
        name.into()
    }

    /// Adds numbers under a name, which comes back.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.tensors.push(TensorProto {
            name: name.into(),
            dims: shape.iter().map(|&length| length as i64).collect(),
            data_type: DataType::Float.into(),
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..TensorProto::default()
        });
        name.into()
    }

    pub(super) fn finish(
        self,
        name: &str,
        input: ValueInfoProto,
        output: ValueInfoProto,
    ) -> GraphProto {
        GraphProto {
            name: name.into(),
            node: self.nodes,
            initializer: self.tensors,
            input: vec![input],
            output: vec![output],
            ..GraphProto::default()
        }
    }
}

/// An input or output of the graph.
pub(super) fn value(name: &str, numbers: DataType, shape: &[Dimension]) -> ValueInfoProto {
    let dimension = |dimension: &Dimension| {
        let value = match *dimension {
            Dimension::Any(name) => dimension::Value::DimParam(name.into()),
            Dimension::Of(length) => dimension::Value::DimValue(length as i64),
        };
        tensor_shape_proto::Dimension {
            value: Some(value),
            ..tensor_shape_proto::Dimension::default()
        }
    };
    let tensor = type_proto::Tensor {
        elem_type: numbers.into(),
        shape: Some(TensorShapeProto {
            dim: shape.iter().map(dimension).collect(),
        }),
    };
    let r#type = TypeProto {
        value: Some(type_proto::Value::TensorType(tensor)),
        ..TypeProto::default()
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(r#type),
        ..ValueInfoProto::default()
    }
}

/// An attribute of one integer.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int.into(),
        i: value,
        ..AttributeProto::default()
    }
}

/// An attribute of several integers.
pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints.into(),
        ints: values.iter().map(|&value| value as i64).collect(),
        ..AttributeProto::default()
    }
}

/// An attribute of one word.
pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::String.into(),
        s: value.as_bytes().to_vec(),
        ..AttributeProto::default()
    }
}

/// An attribute of one number.
pub(super) fn float(name: &str, value: f64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Float.into(),
        f: value as f32,
        ..AttributeProto::default()
    }
}
