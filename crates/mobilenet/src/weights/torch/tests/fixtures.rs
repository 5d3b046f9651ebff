use super::{fixture, formula, open, read};
use crate::weights::tensor_file::TensorFile;

#[test]
fn every_kind_of_number_and_place_is_read_from_every_format() {
    let cube = formula(5, 24);
    let permuted = (0..2).flat_map(|i| (0..12).map(move |row| row * 2 + i));
    let spread = formula(6, 2);
    let line = formula(9, 40);
    let expected: [(&str, &[usize], Vec<f32>); 13] = [
        ("f32", &[2, 3], formula(1, 6)),
        ("f16", &[2, 3], formula(2, 6)),
        ("bf16", &[2, 3], formula(3, 6)),
        ("f64", &[2, 3], formula(4, 6)),
        (
            "transposed",
            &[2, 4, 3],
            permuted.map(|at| cube[at]).collect(),
        ),
        ("offset", &[6], line[7..13].to_vec()),
        (
            "every_third",
            &[13],
            line[1..].iter().step_by(3).copied().collect(),
        ),
        (
            "expanded",
            &[2, 5],
            (0..10).map(|at| spread[at / 5]).collect(),
        ),
        ("shared_a", &[6], formula(7, 6)),
        ("shared_b", &[2, 3], formula(7, 6)),
        ("parameter", &[3], formula(8, 3)),
        ("empty", &[0, 3], Vec::new()),
        ("scalar", &[], formula(10, 1)),
    ];
    for kind in ["zip_2", "zip_4", "legacy_1", "legacy_2", "legacy_4"] {
        let mut file = TensorFile::open(&fixture(&format!("kinds_{kind}.pt"))).unwrap();
        assert_eq!(file.names().count(), expected.len() + 1, "{kind}");
        for (name, shape, values) in &expected {
            assert_eq!(file.shape(name), Some(*shape), "{kind}: {name}");
            assert_eq!(read(&mut file, name), *values, "{kind}: {name}");
        }
        assert_eq!(file.integer("i64").unwrap(), -5, "{kind}");
        let error = file.read("i64", &mut [0.0]).unwrap_err().to_string();
        assert!(error.contains("i64 holds I64"), "{error}");
    }
}

#[test]
fn tensors_within_dicts_have_the_keys_that_lead_to_them() {
    for kind in ["zip_2", "zip_4", "legacy_2", "legacy_4"] {
        let mut file = TensorFile::open(&fixture(&format!("checkpoint_{kind}.pt"))).unwrap();
        let names: Vec<&str> = file.names().collect();
        let expected = [
            "optimizer.state.0.exp_avg",
            "state_dict.features.0.0.bias",
            "state_dict.features.0.0.weight",
        ];
        assert_eq!(names, expected, "{kind}");
        assert_eq!(file.shape(expected[2]), Some(&[2, 3][..]));
        assert_eq!(read(&mut file, expected[0]), formula(3, 2));
        assert_eq!(read(&mut file, expected[1]), formula(2, 2));
        assert_eq!(read(&mut file, expected[2]), formula(1, 6));
    }
}

#[test]
fn training_state_beside_weights_is_ignored() {
    for kind in ["zip_2", "zip_4", "legacy_2", "legacy_4"] {
        let mut file = TensorFile::open(&fixture(&format!("training_{kind}.pt"))).unwrap();
        let names: Vec<&str> = file.names().collect();
        let expected = [
            "args.shadow",
            "attributes",
            "list.0",
            "list.1.0",
            "optimizer.state.0.exp_avg",
            "optimizer.state.0.exp_avg_sq",
            "optimizer.state.0.step",
            "optimizer.state.1.exp_avg",
            "optimizer.state.1.exp_avg_sq",
            "optimizer.state.1.step",
            "parameter",
            "rng.torch",
            "state_dict.bias",
            "state_dict.weight",
        ];
        assert_eq!(names, expected, "{kind}");
        for (salt, name) in [
            (1, "state_dict.weight"),
            (2, "state_dict.bias"),
            (4, "attributes"),
            (5, "parameter"),
            (6, "list.0"),
            (7, "list.1.0"),
            (8, "args.shadow"),
        ] {
            let values = read(&mut file, name);
            assert_eq!(values, formula(salt, values.len()), "{kind}: {name}");
        }
        assert_eq!(read(&mut file, "optimizer.state.0.step"), [1.0], "{kind}");
    }
}

#[test]
fn a_file_without_tensors_is_refused() {
    let error = TensorFile::open(&fixture("no_tensors_zip.pt")).expect_err("a refusal");
    let error = error.to_string();
    assert!(error.contains("a dict without a tensor in it"), "{error}");
}

#[test]
fn a_whole_module_is_refused_by_its_name() {
    let error = TensorFile::open(&fixture("module_zip.pt")).expect_err("a refusal");
    let error = error.to_string();
    assert!(error.contains("module_zip.pt: "), "{error}");
    assert!(error.contains("torch.nn.modules.linear.Linear"), "{error}");
    assert!(
        error.contains("torch.save(model.state_dict(), path)"),
        "{error}"
    );
}

#[test]
fn the_contents_decide_the_format() {
    for bytes in [
        &b""[..],
        b"P",
        b"PK",
        b"\x89PNG\r\n\x1a\n and so on",
        b"some text",
    ] {
        let error = open(bytes).expect_err("a refusal").to_string();
        let expected = "neither a safetensors file nor one that torch.save wrote";
        assert!(error.contains(expected), "{error}");
    }
    let error = open(b"\x80\x02}q\x00.").expect_err("a refusal").to_string();
    assert!(
        error.contains("a pickle that torch.save did not write"),
        "{error}"
    );
}
