//! Tests of accepted and refused names.

use super::assemble::{Tensor, dict, of_six, text, whole};
use super::{open, refusal};

fn six() -> Vec<u8> {
    Tensor::SIX.pickled()
}

/// The names of the tensors in a dict that has this value as `a` and a tensor as `z`.
fn names(value: &[u8]) -> Vec<String> {
    let bytes = of_six(&dict(&[("a", value.to_vec()), ("z", six())]));
    let file = open(&bytes).unwrap();
    file.names().map(str::to_owned).collect()
}

#[test]
fn no_function_is_called_and_the_error_names_it() {
    let stacked = [&text("os")[..], &text("system"), b"\x93"].concat();
    for function in [b"cos\nsystem\n".to_vec(), stacked] {
        for call in [b'R', 0x81] {
            let call = [&function[..], b"(", &text("rm -rf /"), b"t", &[call]].concat();
            let error = refusal(&of_six(&dict(&[("a", call), ("b", six())])));
            assert!(error.contains("it asks for os.system"), "{error}");
            assert!(error.contains("nothing but tensors and plain"), "{error}");
        }
    }
    for name in [
        "builtins\neval",
        "__builtin__\ngetattr",
        "builtins\n__import__",
        "posix\nsystem",
        "subprocess\nPopen",
        "functools\npartial",
        "operator\nattrgetter",
        "torch.storage\n_load_from_bytes",
        "torch.jit\n_unpickle",
        "torch\nload",
        "torch\nFloat",
        "numpy\nload",
        "collections\nnamedtuple",
        "collections\nFloatStorage",
        "argparse.Namespace\n__init__",
    ] {
        let error = refusal(&of_six(format!("c{name}\n)R").as_bytes()));
        let name = name.replace('\n', ".");
        assert!(error.contains(&format!("it asks for {name};")), "{error}");
    }
    // The name is refused even if the value it stands for is dropped.
    let beside = dict(&[("a", b"cos\nsystem\n0N".to_vec()), ("b", six())]);
    assert!(refusal(&of_six(&beside)).contains("it asks for os.system"));
    assert!(refusal(&of_six(b"(S'ls'\nios\nsystem\n")).contains("operation 0x53"));
    assert!(refusal(&of_six(b"(ios\nsystem\n")).contains("operation 0x69"));
    assert!(refusal(&of_six(b"(cos\nsystem\no")).contains("it asks for os.system"));
    assert!(refusal(&of_six(b"\x82\x01")).contains("operation 0x82"));
}

#[test]
fn names_of_ours_are_not_functions_of_everything() {
    for (call, expected) in [
        (&b"N)R"[..], "it calls None"),
        (b"]}R", "the arguments of a function are not a tuple"),
        (b"cargparse\nNamespace\n)R)R", "it calls an object"),
        (b"ctorch\nFloatStorage\n)R", "it creates a new storage"),
        (
            b"ctorch\nSize\nN\x85R",
            "a list of a value that is not a list",
        ),
        (
            b"cbuiltins\ndict\nK\x01\x85R",
            "a dict of values that are not pairs",
        ),
        (
            b"cbuiltins\ndict\n](K\x01e\x85R",
            "an entry of a dict is not a pair",
        ),
        (
            b"ctorch._utils\n_rebuild_parameter\nN\x85R",
            "not made of a tensor",
        ),
        (
            b"ctorch._tensor\n_rebuild_from_type_v2\n)R",
            "not made of a tensor",
        ),
        (
            b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00h\x00h\x00)\x87R",
            "not one of torch's",
        ),
        (b"cargparse\nNamespace\n)RNa", "it fills an object"),
    ] {
        let error = refusal(&of_six(call));
        let call = call.escape_ascii();
        assert!(error.contains(expected), "{call}: {error}");
    }
}

#[test]
fn inert_objects_are_ignored() {
    for value in [
        &b"cargparse\nNamespace\n)\x81}b"[..],
        b"cargparse\nNamespace\n)}\x92",
        b"ctorch\ndevice\nX\x03\0\0\0cpu\x85R",
        b"ctorch\nfloat16\n",
        b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\0\0\0f8\x89\x88\x87R(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tbC\x08\0\0\0\0\0\0\0\0\x86R",
        b"c_codecs\nencode\nX\0\0\0\0X\x06\0\0\0latin1\x86R",
        b"ccopy_reg\n_reconstructor\ncargparse\nNamespace\nc__builtin__\nobject\nN\x87R",
        b"\x8f(K\x01K\x02\x90",
        b"(K\x01\x91",
        b"c__builtin__\nset\n](K\x01e\x85R",
        b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R",
        b"ccollections\ndeque\n)R(K\x01e",
    ] {
        assert_eq!(names(value), ["z"], "{}", value.escape_ascii());
    }
}

#[test]
fn tensors_are_found_wherever_they_are() {
    let within = |before: &[u8], after: &[u8]| names(&[before, &six(), after].concat());
    assert_eq!(within(b"](", b"e"), ["a.0", "z"]);
    assert_eq!(within(b"K\x01", b"\x86"), ["a.1", "z"]);
    assert_eq!(within(b"\x8f(", b"\x90"), ["a.0", "z"]);
    assert_eq!(within(b"(", b"\x91"), ["a.0", "z"]);
    assert_eq!(within(b"ccollections\ndeque\n)R(", b"e"), ["a.0", "z"]);
    // Finds tensors in the arguments and in the state of an object.
    assert_eq!(within(b"cargparse\nNamespace\n", b"\x85R"), ["a.0", "z"]);
    let state = dict(&[("weight", six())]);
    let namespace = [b"cargparse\nNamespace\n)\x81", &state[..], b"b"].concat();
    assert_eq!(names(&namespace), ["a.weight", "z"]);
    let pairs = [b"](", &text("w")[..], &six(), b"\x86e\x85R"].concat();
    for of in ["builtins\ndict", "collections\nOrderedDict"] {
        assert_eq!(
            names(&[format!("c{of}\n").as_bytes(), &pairs].concat()),
            ["a.w", "z"]
        );
    }
    let parameter = b"ctorch._utils\n_rebuild_parameter_with_state\n(";
    assert_eq!(within(parameter, b"\x88}}tR"), ["a", "z"]);
    let arguments = Tensor::SIX.pickled();
    let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n";
    let arguments = &arguments[rebuild.len()..arguments.len() - 1];
    let of_type = [
        b"ctorch._tensor\n_rebuild_from_type_v2\n(",
        &rebuild[..],
        b"ctorch\nTensor\n",
        arguments,
        b"}tR",
    ];
    assert_eq!(names(&of_type.concat()), ["a", "z"]);
}

#[test]
fn a_list_within_itself_is_entered_once() {
    let own = [b"]q\x00h\x00a", &six()[..], b"a"].concat();
    assert_eq!(names(&own), ["a.1", "z"]);
    let own = b"cargparse\nNamespace\n)\x81q\x00}X\x01\0\0\0xh\x00sb";
    assert_eq!(names(own), ["z"]);
    // If a list can be reached by two paths, the first path gives the name.
    let twice = [b"]q\x00", &six()[..], b"a\x85h\x00\x86"].concat();
    assert_eq!(names(&twice), ["a.0.0.0", "z"]);
    // A dict of weights under two keys is listed under both.
    let weights = [&dict(&[("w", six())])[..], b"q\x00"].concat();
    let bytes = of_six(&dict(&[("a", weights), ("b", b"h\x00".to_vec())]));
    let file = open(&bytes).unwrap();
    assert_eq!(file.names().collect::<Vec<_>>(), ["a.w", "b.w"]);
}

#[test]
fn a_file_of_anything_but_a_dict_is_refused() {
    for (object, expected) in [
        (six(), "it holds a tensor"),
        (b"]".to_vec(), "it holds a list"),
        (b"cargparse\nNamespace\n)R".to_vec(), "it holds an object"),
        (b"}".to_vec(), "a dict without a tensor in it"),
        (
            dict(&[("epoch", whole(3))]),
            "a dict without a tensor in it",
        ),
    ] {
        let error = refusal(&super::assemble::legacy(&object, &[]));
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
