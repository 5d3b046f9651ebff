//! Encodes a model. rten's message types do most of the work, but lack a field that ONNX requires:
//! the name of the graph.

use rten_onnx::onnx::{GraphProto, ModelProto};
use rten_onnx::protobuf::{EncodeMessage, MessageWriter, ProtobufError, ValueWriter, WriteValue};

/// The tag of `GraphProto.name` in `onnx.proto3`.
const GRAPH_NAME: u64 = 2;
/// The tag of `ModelProto.graph` in `onnx.proto3`.
const MODEL_GRAPH: u64 = 7;

/// A graph and its name.
struct NamedGraph<'a> {
    name: &'a str,
    graph: &'a GraphProto,
}

impl EncodeMessage for NamedGraph<'_> {
    fn encode_fields<W: WriteValue>(
        &self,
        fields: &mut MessageWriter<W>,
    ) -> Result<(), ProtobufError> {
        fields.write_string(GRAPH_NAME, self.name)?;
        self.graph.encode_fields(fields)
    }
}

/// A model, with the graph in a separate field.
struct Model<'a> {
    model: &'a ModelProto,
    graph: NamedGraph<'a>,
}

impl EncodeMessage for Model<'_> {
    fn encode_fields<W: WriteValue>(
        &self,
        fields: &mut MessageWriter<W>,
    ) -> Result<(), ProtobufError> {
        self.model.encode_fields(fields)?;
        fields.write_message(MODEL_GRAPH, &self.graph)
    }
}

/// Encodes `model`, which must have no graph, together with this graph and its name.
pub(super) fn encode(
    model: &ModelProto,
    name: &str,
    graph: &GraphProto,
) -> Result<Vec<u8>, ProtobufError> {
    let graph = NamedGraph { name, graph };
    let model = Model { model, graph };
    let mut bytes = Vec::new();
    model.encode(ValueWriter::new(&mut bytes))?;
    Ok(bytes)
}
