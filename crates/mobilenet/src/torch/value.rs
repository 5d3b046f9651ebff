//! What the pickle of a file of tensors can say.

use super::names::Global;

/// What a pickle can build, and all that it can.
///
/// Containers are places in [`Objects`]: a value is a few bytes that copy freely, so what a pickle
/// repeats takes no memory, what contains itself is harmless, and nothing nested is dropped by
/// recursion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number of more than 64 bits: two's complement, its least byte first.
    Long(&'a [u8]),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    List(usize),
    Tuple(usize),
    Dict(usize),
    /// A storage, by the tuple of its persistent id.
    Storage(usize),
    /// A tensor, by the tuple it is rebuilt from.
    Tensor(usize),
    Global(Global),
    /// What a name that is [inert](Global::Inert) would make.
    Object(usize),
}

impl Value<'_> {
    /// What it is, for messages.
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
    /// What each object is made from, and the state it is given then.
    pub(super) objects: Vec<[Value<'a>; 2]>,
    /// The tuple of each persistent id, in the order they were met.
    pub(super) storages: Vec<usize>,
}
