//! What the pickle of a file of tensors can say.

use safetensors::Dtype;

use super::fault::shown;

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
    /// An object that is of no interest.
    Opaque,
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
            Value::Opaque => "an object",
        }
    }
}

/// The containers of a pickle.
#[derive(Debug, Default)]
pub(super) struct Objects<'a> {
    /// Lists and tuples.
    pub(super) sequences: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    /// The tuple of each persistent id, in the order they were met.
    pub(super) storages: Vec<usize>,
}

/// The names from Python's modules that mean something here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    /// Arguments of a command line, which some keep beside their weights.
    Namespace,
    /// Both versions begin with storage, offset, shape and strides.
    RebuildTensor,
    RebuildParameter,
    Size,
    /// A type of storage, with that of its numbers.
    Storage(Dtype),
    /// A type of numbers by itself, as configurations hold it.
    Numbers,
}

impl Global {
    /// What a name means.
    ///
    /// # Errors
    /// What is wrong with it, if it is none of these.
    pub(super) fn named(module: &str, name: &str) -> Result<Self, String> {
        let found = match (module, name) {
            ("collections", "OrderedDict") => Some(Global::OrderedDict),
            ("argparse", "Namespace") => Some(Global::Namespace),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => {
                Some(Global::RebuildTensor)
            }
            ("torch._utils", "_rebuild_parameter") => Some(Global::RebuildParameter),
            ("torch", "Size") => Some(Global::Size),
            ("torch", name) => storage(name)
                .map(Global::Storage)
                .or_else(|| is_numbers(name).then_some(Global::Numbers)),
            _ => None,
        };
        found.ok_or_else(|| {
            format!(
                "it asks for {}.{}; nothing but tensors and plain containers is ever built, so \
                 save the weights alone: torch.save(model.state_dict(), path)",
                shown(module),
                shown(name)
            )
        })
    }
}

fn storage(name: &str) -> Option<Dtype> {
    let dtype = match name.strip_suffix("Storage")? {
        "Float" => Dtype::F32,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Double" => Dtype::F64,
        "Long" => Dtype::I64,
        "Int" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" => Dtype::I8,
        "Byte" => Dtype::U8,
        "Bool" => Dtype::BOOL,
        _ => return None,
    };
    Some(dtype)
}

fn is_numbers(name: &str) -> bool {
    matches!(
        name,
        "float32"
            | "float16"
            | "bfloat16"
            | "float64"
            | "int64"
            | "int32"
            | "int16"
            | "int8"
            | "uint8"
            | "bool"
    )
}
