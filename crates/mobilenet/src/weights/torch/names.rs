//! The Python names that a pickle may use. All other names are refused.

use safetensors::Dtype;

use crate::weights::tensor_file::escaped;

/// The meaning of a Python name. No name is ever imported or called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    /// A type of dict.
    Dict,
    /// A type of list, tuple or set. All are treated alike.
    Sequence,
    /// A function that rebuilds a tensor. The arguments of both versions start with storage,
    /// offset, shape and strides.
    RebuildTensor,
    /// A function that rebuilds a parameter. The arguments of both versions start with the tensor.
    RebuildParameter,
    /// A function with these arguments: another rebuilding function, the type of the result, and
    /// the arguments for that function.
    RebuildFromType,
    /// A type of storage, with the type of its values.
    Storage(Dtype),
    /// A type or function that contains no tensors itself and is often saved together with weights.
    Inert,
}

/// The module of Python's built-in types, in Python 3 and in Python 2.
const BUILTINS: &[&str] = &["builtins", "__builtin__"];

/// Names that share one meaning: the modules, the names in these modules, and the meaning.
type Names = (&'static [&'static str], &'static [&'static str], Global);

/// Every accepted name except the types of storages. Building one of these types in Python has no
/// side effects, and none of these functions returns a function.
const KNOWN: [Names; 22] = [
    (
        &["torch._utils"],
        &["_rebuild_tensor", "_rebuild_tensor_v2"],
        Global::RebuildTensor,
    ),
    (
        &["torch._utils"],
        &["_rebuild_parameter", "_rebuild_parameter_with_state"],
        Global::RebuildParameter,
    ),
    (
        &["torch._tensor"],
        &["_rebuild_from_type", "_rebuild_from_type_v2"],
        Global::RebuildFromType,
    ),
    (
        &["collections"],
        &["OrderedDict", "defaultdict", "Counter"],
        Global::Dict,
    ),
    (&["collections"], &["deque"], Global::Sequence),
    (BUILTINS, &["dict"], Global::Dict),
    (
        BUILTINS,
        &["list", "tuple", "set", "frozenset"],
        Global::Sequence,
    ),
    (
        BUILTINS,
        &[
            "bool",
            "bytearray",
            "bytes",
            "complex",
            "float",
            "int",
            "long",
            "object",
            "range",
            "slice",
            "str",
            "unicode",
            "xrange",
        ],
        Global::Inert,
    ),
    (&["torch"], &["Size"], Global::Sequence),
    (
        &["torch"],
        &[
            "device",
            "Tensor",
            "float64",
            "float32",
            "float16",
            "bfloat16",
            "int64",
            "int32",
            "int16",
            "int8",
            "uint8",
            "bool",
            "complex64",
            "complex128",
        ],
        Global::Inert,
    ),
    (
        &["torch.nn.parameter"],
        &["Parameter", "Buffer"],
        Global::Inert,
    ),
    (&["torch.serialization"], &["_get_layout"], Global::Inert),
    (&["torch.torch_version"], &["TorchVersion"], Global::Inert),
    (&["argparse"], &["Namespace"], Global::Inert),
    (&["types"], &["SimpleNamespace"], Global::Inert),
    (&["_codecs"], &["encode"], Global::Inert),
    // Builds an object of a given type, which must also be an accepted name.
    (&["copyreg", "copy_reg"], &["_reconstructor"], Global::Inert),
    (
        &["datetime"],
        &["date", "datetime", "time", "timedelta", "timezone"],
        Global::Inert,
    ),
    (
        &["pathlib", "pathlib._local"],
        &[
            "Path",
            "PosixPath",
            "WindowsPath",
            "PurePath",
            "PurePosixPath",
            "PureWindowsPath",
        ],
        Global::Inert,
    ),
    (
        &["numpy"],
        &[
            "dtype",
            "ndarray",
            "bool_",
            "bool",
            "float16",
            "float32",
            "float64",
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "complex64",
            "complex128",
            "str_",
            "bytes_",
        ],
        Global::Inert,
    ),
    (
        &["numpy.core.multiarray", "numpy._core.multiarray"],
        &["_reconstruct", "scalar"],
        Global::Inert,
    ),
    (
        &["numpy.core.numeric", "numpy._core.numeric"],
        &["_frombuffer"],
        Global::Inert,
    ),
];

impl Global {
    /// The meaning of a name.
    ///
    /// # Errors
    /// If the name is not in the list. The error describes the name.
    pub(super) fn named(module: &str, name: &str) -> Result<Self, String> {
        let is_it =
            |(modules, names, _): &&Names| modules.contains(&module) && names.contains(&name);
        let known = KNOWN.iter().find(is_it).map(|(_, _, global)| *global);
        let storage = || storage(name).filter(|_| module == "torch");
        known
            .or_else(|| storage().map(Global::Storage))
            .ok_or_else(|| {
                format!(
                    "it asks for {}.{}; nothing but tensors and plain containers is ever built, \
                     so save the weights alone: torch.save(model.state_dict(), path)",
                    escaped(module),
                    escaped(name)
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
