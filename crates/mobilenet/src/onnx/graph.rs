//! A builder of ONNX graphs.

use std::cell::RefCell;

use rten_onnx::onnx::{
    self, AttributeProto, AttributeType, DataType, GraphProto, NodeProto, TensorProto,
    TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

/// Nodes in the order of execution, and their tensors.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<NodeProto>,
    tensors: Vec<TensorProto>,
}

/// One dimension of an input or an output.
#[derive(Clone, Copy)]
pub(super) enum Dimension {
    /// Any length. Dimensions with the same name have the same length.
    Any(&'static str),
    /// A fixed length.
    Of(usize),
}

impl Graph {
    /// Appends an operator with the single output `name`, and returns that name. The node is named
    /// `name/operator`, because some readers (such as rten) keep nodes and values in one table.
    pub(super) fn node(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.nodes.push(NodeProto {
            name: Some(format!("{name}/{operator}")),
            op_type: Some(operator.into()),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![name.into()],
            attribute: attributes,
            domain: None,
        });
        name.into()
    }

    /// Adds a tensor under this name, and returns the name.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensors.push(TensorProto {
            name: Some(name.into()),
            dims: shape.iter().map(|&length| length as i64).collect(),
            data_type: Some(DataType::FLOAT),
            raw_data: Some(RefCell::new(bytes)),
            ..TensorProto::default()
        });
        name.into()
    }

    /// Adds a tensor of whole numbers under this name, and returns the name.
    pub(super) fn whole(&mut self, name: &str, shape: &[usize], values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensors.push(TensorProto {
            name: Some(name.into()),
            dims: shape.iter().map(|&length| length as i64).collect(),
            data_type: Some(DataType::INT64),
            raw_data: Some(RefCell::new(bytes)),
            ..TensorProto::default()
        });
        name.into()
    }

    pub(super) fn finish(self, input: ValueInfoProto, output: ValueInfoProto) -> GraphProto {
        GraphProto {
            node: self.nodes,
            initializer: self.tensors,
            input: vec![input],
            output: vec![output],
            ..GraphProto::default()
        }
    }
}

/// A description of an input or output of the graph.
pub(super) fn value(name: &str, numbers: DataType, shape: &[Dimension]) -> ValueInfoProto {
    let dimension = |dimension: &Dimension| match *dimension {
        Dimension::Any(name) => onnx::Dimension {
            dim_param: Some(name.into()),
            dim_value: None,
        },
        Dimension::Of(length) => onnx::Dimension {
            dim_param: None,
            dim_value: Some(length as i64),
        },
    };
    let tensor = TypeProtoTensor {
        elem_type: Some(numbers),
        shape: Some(TensorShapeProto {
            dim: shape.iter().map(dimension).collect(),
        }),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor),
            sequence: None,
        }),
    }
}

/// An attribute with one integer.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::INT),
        i: Some(value),
        ..AttributeProto::default()
    }
}

/// An attribute with several integers.
pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::INTS),
        ints: values.iter().map(|&value| value as i64).collect(),
        ..AttributeProto::default()
    }
}

/// An attribute with one string.
pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::STRING),
        s: Some(value.into()),
        ..AttributeProto::default()
    }
}

/// An attribute with one number.
pub(super) fn float(name: &str, value: f64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::FLOAT),
        f: Some(value as f32),
        ..AttributeProto::default()
    }
}
