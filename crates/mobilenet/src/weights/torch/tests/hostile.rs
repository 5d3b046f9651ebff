use super::assemble::{Tensor, dict, legacy, of_six, text, tuple, whole};
use super::{fixture_bytes, open, read, refusal};

fn six() -> Vec<u8> {
    Tensor::SIX.pickled()
}

#[test]
fn a_file_by_hand_is_read_and_so_is_a_view_of_a_storage() {
    let bytes = of_six(&dict(&[("a", six())]));
    let mut file = open(&bytes).unwrap();
    assert_eq!(read(&mut file, "a"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let view = [b"(", &text("view")[..], &whole(2), &whole(3), b"t"].concat();
    let part = Tensor {
        view: &view,
        offset: 1,
        shape: &[2],
        strides: &[1],
        ..Tensor::SIX
    };
    let bytes = of_six(&dict(&[("a", part.pickled())]));
    let mut file = open(&bytes).unwrap();
    assert_eq!(read(&mut file, "a"), [3.0, 4.0]);
}

#[test]
fn nesting_is_bounded_and_takes_no_stack() {
    let lists = [&[b']'; 100_000][..], &[b'a'; 99_999]].concat();
    assert!(refusal(&legacy(&lists, &[])).contains("it holds a list"));
    let tuples = [b")", &[0x85; 100_000][..]].concat();
    assert!(refusal(&legacy(&tuples, &[])).contains("it holds a tuple"));
    let beside = dict(&[("a", lists), ("b", six())]);
    assert!(refusal(&of_six(&beside)).contains("more than 64 deep"));
    let nested = |depth| (1..depth).fold(dict(&[("a", six())]), |d, _| dict(&[("a", d)]));
    assert_eq!(open(&of_six(&nested(64))).unwrap().names().count(), 1);
    assert!(refusal(&of_six(&nested(65))).contains("more than 64 deep"));
    // A dict that contains the same dict.
    let own = [b"}q\x00", &text("a")[..], b"h\x00s"].concat();
    assert!(refusal(&legacy(&own, &[])).contains("more than 64 deep"));
}

#[test]
fn repetition_takes_no_memory() {
    // Each level is ten times as large as the previous one.
    let mut lists = b"]q\x000".to_vec();
    let mut dicts = [&dict(&[("a", six())])[..], b"q\x00"].concat();
    for level in 0..50 {
        let (before, after) = ([b'h', level], [b'q', level + 1]);
        lists.extend([b"](", &before.repeat(10)[..], b"e", &after, b"0"].concat());
        let twice = dict(&[("a", before.to_vec()), ("b", before.to_vec())]);
        dicts.extend([&twice[..], &after].concat());
    }
    let beside = [&dict(&[("a", six())])[..], &text("b"), &lists, b"h\x32s"].concat();
    assert_eq!(open(&of_six(&beside)).unwrap().names().count(), 1);
    assert!(refusal(&of_six(&dicts)).contains("repeat the same contents too often"));
    // A long name that is used often.
    let long = [&text(&"x".repeat(1 << 20))[..], b"q\x01"].concat();
    let mut often = [b"}q\x00", &long[..], b"}", &text("a"), &six(), b"ss0}"].concat();
    for index in 0..1000 {
        often.extend([&whole(index)[..], b"h\x00s"].concat());
    }
    assert!(refusal(&of_six(&often)).contains("repeat the same contents too often"));
    // A list of pairs that is copied often.
    let list = [b"](", &b"NN\x86".repeat(1000)[..], b"e\x85q\x00"].concat();
    let copies = b"ccollections\nOrderedDict\nh\x00R".repeat(10_000);
    let copies = [&list[..], &copies].concat();
    assert!(refusal(&of_six(&copies)).contains("operations"));
    assert!(refusal(&of_six(&[b'N'; 3 << 20])).contains("operations"));
}

#[test]
fn tensors_lie_in_their_storages_and_storages_in_the_file() {
    let cases: [(Tensor<'_>, &str); 13] = [
        (
            Tensor {
                shape: &[1 << 40],
                strides: &[1],
                ..Tensor::SIX
            },
            "does not fit its",
        ),
        (
            Tensor {
                shape: &[i64::MAX, i64::MAX],
                ..Tensor::SIX
            },
            "does not fit its",
        ),
        (
            Tensor {
                strides: &[i64::MAX, 1],
                ..Tensor::SIX
            },
            "does not fit its",
        ),
        (
            Tensor {
                strides: &[4, 1],
                ..Tensor::SIX
            },
            "does not fit its",
        ),
        (
            Tensor {
                offset: 1,
                ..Tensor::SIX
            },
            "does not fit its",
        ),
        (
            Tensor {
                offset: i64::MAX,
                ..Tensor::SIX
            },
            "does not fit its",
        ),
        (
            Tensor {
                shape: &[0],
                strides: &[1],
                offset: 7,
                ..Tensor::SIX
            },
            "does not fit its",
        ),
        (
            Tensor {
                offset: -1,
                ..Tensor::SIX
            },
            "the offset of a in its storage is -1",
        ),
        (
            Tensor {
                shape: &[-2, -3],
                ..Tensor::SIX
            },
            "the shape of a is -2",
        ),
        (
            Tensor {
                strides: &[-3, 1],
                ..Tensor::SIX
            },
            "the strides of a is -3",
        ),
        (
            Tensor {
                strides: &[1],
                ..Tensor::SIX
            },
            "2 dimensions and 1 strides",
        ),
        (
            Tensor {
                len: 7,
                ..Tensor::SIX
            },
            "a storage of 6 numbers that should have 7",
        ),
        (
            Tensor {
                storage: "1",
                ..Tensor::SIX
            },
            "storage 0 is listed twice or is unused",
        ),
    ];
    for (tensor, expected) in cases {
        let error = refusal(&of_six(&dict(&[("a", tensor.pickled())])));
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let many = [1; 65];
    let tensor = Tensor {
        shape: &many,
        strides: &many,
        ..Tensor::SIX
    };
    let error = refusal(&of_six(&dict(&[("a", tensor.pickled())])));
    assert!(error.contains("has 65 numbers, at most 64"), "{error}");
    // Storages of a terabyte, and of a size that overflows.
    for len in [1 << 38, i64::MAX] {
        let tensor = Tensor {
            len,
            shape: &[len],
            strides: &[1],
            ..Tensor::SIX
        };
        let mut file = legacy(&dict(&[("a", tensor.pickled())]), &[("0", &[])]);
        let at = file.len();
        file[at - 8..].copy_from_slice(&len.to_le_bytes());
        let error = refusal(&file);
        assert!(
            error.contains("the file ends within the storages"),
            "{error}"
        );
        assert!(error.contains(&format!("byte {at}:")), "{error}");
    }
    // Strides of 0 repeat one stored value. Tensors of a network are not stored like this.
    let vast = Tensor {
        shape: &[1 << 40, 1 << 40],
        strides: &[0, 0],
        ..Tensor::SIX
    };
    let bytes = of_six(&dict(&[("a", vast.pickled())]));
    let mut file = open(&bytes).unwrap();
    assert!(file.read("a", &mut [0.0; 6]).is_err());
}

#[test]
fn every_invalid_tensor_has_its_own_error() {
    for (tensor, expected) in [
        (
            &b"ctorch._utils\n_rebuild_tensor_v2\n)R"[..],
            "is not made of a storage",
        ),
        (b"ctorch._utils\n_rebuild_tensor_v2\nNR", "not a tuple"),
        (
            b"ctorch._utils\n_rebuild_parameter\n)R",
            "not made of a tensor",
        ),
        (b"NQ", "a persistent id is not a tuple"),
        (b")Q", "a persistent id that is not of a storage"),
        (b"h\x07", "it reads a memo entry"),
        (b"(R", "it pops a value that it never pushed"),
        (b"1u", "a mark that it never pushed"),
        (b"NNs", "it fills"),
        (b"}(NNNu", "a key without a value"),
        (
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
            "ends within a pickle",
        ),
        (b"\x80\x09", "protocol 9"),
    ] {
        let error = refusal(&of_six(&dict(&[("b", six()), ("a", tensor.to_vec())])));
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let twice = dict(&[("a.b", six()), ("a", dict(&[("b", six())]))]);
    assert!(refusal(&of_six(&twice)).contains("two tensors named a.b"));
    let strange = [b"}(", &tuple(&[1])[..], &six(), &whole(-1), &six(), b"u"].concat();
    let bytes = of_six(&strange);
    let file = open(&bytes).unwrap();
    assert_eq!(file.names().collect::<Vec<_>>(), ["-1", "a tuple"]);
}

#[test]
fn saved_on_a_gpu_is_saved() {
    let bytes = fixture_bytes("small_legacy.pt");
    let at = bytes
        .windows(8)
        .position(|w| w == b"\x03\0\0\0cpuq")
        .unwrap();
    let gpu = [&bytes[..at], b"\x06\0\0\0cuda:0", &bytes[at + 7..]].concat();
    let mut file = open(&gpu).unwrap();
    assert_eq!(read(&mut file, "weight"), super::formula(1, 6));
}
