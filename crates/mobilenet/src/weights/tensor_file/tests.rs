//! Tests of valid and invalid safetensors files. The tests of PyTorch's files are elsewhere.

use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;

use super::TensorFile;
use crate::Result;

/// A safetensors file with this header, followed by `data` bytes.
fn file(header: &str, data: usize) -> Vec<u8> {
    let len = (header.len() as u64).to_le_bytes();
    [&len[..], header.as_bytes(), &vec![0; data]].concat()
}

fn open(bytes: &[u8]) -> Result<TensorFile<Cursor<&[u8]>>> {
    TensorFile::read_from(Path::new("weights"), Cursor::new(bytes), bytes.len() as u64)
}

/// The error for a file with these bytes.
fn refusal(bytes: &[u8]) -> String {
    let error = open(bytes).expect_err("a refusal").to_string();
    assert!(error.contains("weights"), "it names the file: {error}");
    error
}

/// The header entry of a byte tensor.
fn entry(name: &str, shape: &str, offsets: &str) -> String {
    format!("\"{name}\":{{\"dtype\":\"U8\",\"shape\":{shape},\"data_offsets\":{offsets}}}")
}

fn fixture() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/safetensors");
    std::fs::read(folder.join("kinds.safetensors")).unwrap()
}

/// Opens an arbitrary file and reads its tensors. The results do not matter.
fn try_everything(bytes: &[u8]) {
    let Ok(mut file) = open(bytes) else { return };
    let names: Vec<String> = file.names().map(str::to_owned).collect();
    for name in names {
        let len = file.shape(&name).unwrap().iter().product::<usize>();
        let _ = file.read(&name, &mut vec![0.0; len]);
        let _ = file.integer(&name);
    }
}

#[test]
fn a_file_that_safetensors_wrote_is_read() {
    let bytes = fixture();
    let mut file = open(&bytes).unwrap();
    assert_eq!(file.text("classify"), Some("{}"));
    assert_eq!(file.names().count(), 14);
    assert_eq!(file.integer("i64").unwrap(), -5);
    for name in ["f32", "f16", "bf16", "f64"] {
        assert_eq!(file.shape(name), Some(&[2, 3][..]));
    }
    let mut values = [0.0; 6];
    file.read("f16", &mut values).unwrap();
    // Six values of the formula in generate.py, with salt 2.
    assert_eq!(values, [-5.25, -0.625, 4.0, -7.375, -2.75, 1.875]);
    assert_eq!(file.shape("empty"), Some(&[0, 3][..]));
    file.read("empty", &mut []).unwrap();
}

#[test]
fn every_byte_belongs_to_one_tensor() {
    let two = |first: &str, second: &str| {
        format!(
            "{{{},{}}}",
            entry("a", "[4]", first),
            entry("b", "[4]", second)
        )
    };
    open(&file(&two("[0,4]", "[4,8]"), 8)).unwrap();
    open(&file(&two("[4,8]", "[0,4]"), 8)).unwrap();
    for (first, second, expected) in [
        ("[0,4]", "[2,6]", "b begins at 2, where 4 is expected"),
        ("[0,4]", "[0,4]", "b begins at 0, where 4 is expected"),
        ("[0,4]", "[5,9]", "b begins at 5, where 4 is expected"),
        ("[1,5]", "[5,9]", "a begins at 1, where 0 is expected"),
        (
            "[0,5]",
            "[5,9]",
            "a is U8 of shape [4], which does not fit bytes 0 to 5",
        ),
        (
            "[0,4]",
            "[4,3]",
            "b is U8 of shape [4], which does not fit bytes 4 to 3",
        ),
        (
            "[0,4]",
            "[4,18446744073709551615]",
            "does not fit bytes 4 to 18446744073709551615",
        ),
        ("[0,4]", "[-4,0]", "invalid value: integer `-4`"),
        ("[0,4]", "[4]", "invalid length 1"),
        ("[0,4]", "[4,8.0]", "invalid type: floating point `8.0`"),
        (
            "[0,4]",
            "[4,99999999999999999999]",
            "invalid type: floating point",
        ),
    ] {
        let error = refusal(&file(&two(first, second), 8));
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let good = two("[0,4]", "[4,8]");
    for len in [0, 7, 9] {
        let error = refusal(&file(&good, len));
        assert!(error.contains("describes 8 bytes"), "{error}");
    }
}

#[test]
fn overflowing_shapes_are_refused() {
    for shape in [
        "[4294967296,4294967296]",
        "[9223372036854775807,3]",
        "[18446744073709551615]",
    ] {
        let error = refusal(&file(&format!("{{{}}}", entry("a", shape, "[0,8]")), 8));
        assert!(error.contains("does not fit bytes 0 to 8"), "{error}");
    }
    let error = refusal(&file(&format!("{{{}}}", entry("a", "[-1]", "[0,8]")), 8));
    assert!(error.contains("invalid value"), "{error}");
    let many = format!("[{}1]", "1,".repeat(64));
    let error = refusal(&file(&format!("{{{}}}", entry("a", &many, "[0,1]")), 1));
    assert!(error.contains("at most 64 dimensions"), "{error}");
    // Three 4-bit values need one and a half bytes, not one.
    let four_bits = "{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}";
    assert!(refusal(&file(four_bits, 1)).contains("does not fit"));
    // A shape with huge dimensions and a dimension of 0 has no values.
    let nothing = entry("a", "[0,18446744073709551615,3]", "[0,0]").replace("U8", "F32");
    let bytes = file(&format!("{{{nothing}}}"), 0);
    open(&bytes).unwrap().read("a", &mut []).unwrap();
}

#[test]
fn a_header_that_is_not_one_is_refused() {
    let a = entry("a", "[1]", "[0,1]");
    for (header, expected) in [
        (format!("{{{a},{a}}}"), "a occurs twice"),
        (
            format!("{{\"__metadata__\":{{}},{a},\"__metadata__\":{{}}}}"),
            "__metadata__ occurs twice",
        ),
        (
            format!("{{\"__metadata__\":{{\"x\":1}},{a}}}"),
            "invalid type: integer `1`",
        ),
        ("{\"a\":[]}".into(), "header: "),
        (format!("{{{a}"), "header: EOF"),
        (format!("{{{a}}} x"), "trailing characters"),
        (
            a.replace("U8", "U9").replacen('"', "{\"", 1) + "}",
            "unknown variant `U9`",
        ),
        (format!("{{\"a\":{}", "[".repeat(100_000)), "header: "),
        (
            format!("{{\"a\":{{\"x\":{}", "[".repeat(100_000)),
            "header: ",
        ),
        (format!("{{{}", "\"a\":{".repeat(100_000)), "header: "),
        (format!("{{\"{}\":1}}", "x".repeat(100_000)), "header: "),
        (
            a.replace("U8", &"U".repeat(100_000))
                .replacen('"', "{\"", 1),
            "header: unknown variant",
        ),
    ] {
        let error = refusal(&file(&header, 1));
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(error.len() < 1000, "{error}");
    }
    assert!(refusal(&file("{}", 0)).contains("it contains no tensors"));
    let mut bytes = file(&format!("{{{a}}}"), 1);
    bytes[10] = 0xff;
    assert!(refusal(&bytes).contains("header: "));
    for len in [0_u64, 1, 1 << 24, 1 << 40, u64::MAX] {
        let mut bytes = file(&format!("{{{a}}}"), 1);
        bytes[..8].copy_from_slice(&len.to_le_bytes());
        refusal(&bytes);
    }
    let long = file(&format!("{{{a}{}}}", " ".repeat(8 << 20)), 1);
    assert!(refusal(&long).contains("at most 8388608 are read"));
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let bytes = fixture();
    for len in 0..bytes.len() {
        refusal(&bytes[..len]);
    }
}

#[test]
fn a_file_that_shrinks_is_an_error_and_no_panic() {
    let bytes = fixture();
    for len in 0..bytes.len() {
        // The file was truncated after its size was read.
        let source = Cursor::new(&bytes[..len]);
        let file = TensorFile::read_from(Path::new("weights"), source, bytes.len() as u64);
        if let Ok(mut file) = file {
            let names: Vec<String> = file.names().map(str::to_owned).collect();
            let outcomes = names.iter().map(|name| {
                let len = file.shape(name).unwrap().iter().product();
                file.read(name, &mut vec![0.0; len]).is_err()
            });
            assert!(outcomes.filter(|&failed| failed).count() > 0, "{len}");
        }
    }
    // Sizes that the system may report for special files, such as pipes.
    for size in [0, 1, 8, 9] {
        let source = Cursor::new(&bytes[..]);
        assert!(TensorFile::read_from(Path::new("weights"), source, size).is_err());
    }
}

#[test]
fn folders_and_pipes_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let error = TensorFile::open(folder.path()).expect_err("a refusal");
    assert!(
        error.to_string().contains("a folder, expected a file"),
        "{error}"
    );
    let missing = TensorFile::open(&folder.path().join("missing")).expect_err("a refusal");
    assert!(missing.to_string().ends_with("missing"), "{missing}");
    #[cfg(unix)]
    {
        let error = TensorFile::open(Path::new("/dev/null")).expect_err("a refusal");
        assert!(error.to_string().contains("a pipe or device"), "{error}");
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = TensorFile::open(&socket).expect_err("a refusal");
        assert!(error.to_string().contains("a pipe or device"), "{error}");
        // A link is treated like its target; a link to itself is a system error.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&link, &link).unwrap();
        assert!(TensorFile::open(&link).is_err());
        let (file, link) = (folder.path().join("file"), folder.path().join("good"));
        std::fs::write(&file, fixture()).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        TensorFile::open(&link).unwrap();
    }
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = fixture();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        try_everything(&bytes);
    }
}
