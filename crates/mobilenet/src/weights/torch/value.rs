//! The values that a pickle of tensors can contain.

use super::names::Global;

/// A value that a pickle can build.
///
/// Containers are indices into [`Objects`], so a value has only a few bytes and is cheap to copy. A
/// value may be repeated without more memory, cycles are harmless, and dropping nested values needs
/// no recursion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, in two's complement and little-endian order.
    Long(&'a [u8]),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    List(usize),
    Tuple(usize),
    Dict(usize),
    /// A storage, as the index of the tuple in its persistent id.
    Storage(usize),
    /// A tensor, as the index of the tuple of its rebuilding arguments.
    Tensor(usize),
    Global(Global),
    /// An object of an [inert](Global::Inert) type.
    Object(usize),
}

impl Value<'_> {
    /// Name of the value's type, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a truth value",
            Value::Int(_) | Value::Long(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Dict(_) => "a dict",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
            Value::Global(_) => "a function or type",
            Value::Object(_) => "an object",
        }
    }
}

/// The containers of a pickle.
#[derive(Debug, Default)]
pub(super) struct Objects<'a> {
    /// Lists, tuples and sets.
    pub(super) sequences: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    /// For each object, its arguments and its state. The state is set later.
    pub(super) objects: Vec<[Value<'a>; 2]>,
    /// The tuple of each persistent id, in the order in which the ids appear.
    pub(super) storages: Vec<usize>,
}
