//! The Open Inference Protocol.

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Got, SIDES, classifier, get, image, logits, post_json, send, server};

const INFER: &str = "/v2/models/digits/infer";

/// Two images of normalised values, `[2, 3, h, w]`.
fn values() -> Vec<f32> {
    let count = 2 * 3 * SIDES[0] * SIDES[1];
    (0..count)
        .map(|i| (i % 251) as f32 / 100.0 - 1.25)
        .collect()
}

fn floats(data: &Value) -> Vec<f32> {
    let data = data.as_array().unwrap().iter();
    data.map(|value| value.to_string().parse().unwrap())
        .collect()
}

/// Posts JSON and the bytes after it.
async fn post_binary(path: &str, json: &Value, binary: &[u8]) -> Got {
    let json = json.to_string();
    let mut body = json.clone().into_bytes();
    body.extend(binary);
    let request = Request::post(path)
        .header("Inference-Header-Content-Length", json.len())
        .body(Body::from(body));
    send(&server(), request.unwrap()).await
}

/// The JSON and the binary data of an answer.
fn parts(got: &Got) -> (Value, &[u8]) {
    assert_eq!(got.status, 200, "{:?}", got.body);
    assert_eq!(
        got.headers[header::CONTENT_TYPE],
        "application/octet-stream"
    );
    let length = got.headers["inference-header-content-length"]
        .to_str()
        .unwrap();
    let (json, binary) = got.body.split_at(length.parse().unwrap());
    (serde_json::from_slice(json).unwrap(), binary)
}

/// Strings with their lengths before them.
fn prefixed(elements: &[&[u8]]) -> Vec<u8> {
    let each = elements.iter().flat_map(|element| {
        let length = (element.len() as u32).to_le_bytes();
        length.into_iter().chain(element.iter().copied())
    });
    each.collect()
}

#[tokio::test]
async fn the_server_and_its_models_describe_themselves() {
    let server = server();
    let got = get(&server, "/v2").await.json();
    assert_eq!(got["name"], "classify");
    assert_eq!(
        got["extensions"],
        json!(["binary_tensor_data", "classification"])
    );
    let expected = json!({
        "name": "digits",
        "versions": ["1"],
        "platform": "classify_safetensors",
        "inputs": [
            {"name": "input", "datatype": "FP32", "shape": [-1, 3, 32, 32]},
            {"name": "image", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 7]}],
    });
    let mut got = get(&server, "/v2/models/digits").await.json();
    let version = got["versions"][0].as_str().unwrap().to_owned();
    assert_eq!(
        get(&server, &format!("/v2/models/digits/versions/{version}"))
            .await
            .json(),
        got
    );
    got["versions"] = json!(["1"]);
    assert_eq!(got, expected);
    for path in [
        "/v2/models/again/ready",
        &format!("/v2/models/again/versions/{version}/ready"),
    ] {
        let ready = json!({"name": "again", "ready": true});
        assert_eq!(get(&server, path).await.json(), ready);
    }
    get(&server, "/v2/models/again/versions/none")
        .await
        .problem(404);
}

#[tokio::test]
async fn a_server_that_ends_is_alive_and_not_ready() {
    let server = server();
    assert_eq!(
        get(&server, "/v2/health/live").await.json(),
        json!({"live": true})
    );
    assert_eq!(
        get(&server, "/v2/health/ready").await.json(),
        json!({"ready": true})
    );
    server.close();
    get(&server, "/v2/health/live").await.json();
    get(&server, "/v2/health/ready").await.problem(503);
    get(&server, "/v2/models/digits/ready").await.problem(503);
}

#[tokio::test]
async fn values_in_json_are_flat_or_nested() {
    let values = values();
    let expected = classifier().logits_of_values(&values, 2).unwrap().concat();
    let rows: Vec<&[f32]> = values.chunks(SIDES[1]).collect();
    let channels: Vec<&[&[f32]]> = rows.chunks(SIDES[0]).collect();
    let images: Vec<&[&[&[f32]]]> = channels.chunks(3).collect();
    for data in [json!(values), json!(images)] {
        let asked = json!({
            "id": "42",
            "inputs": [{"name": "input", "datatype": "FP32", "shape": [2, 3, 32, 32], "data": data}],
        });
        let got = post_json(&server(), INFER, &asked).await.json();
        assert_eq!(got["id"], "42");
        assert_eq!(got["model_name"], "digits");
        assert!(got["model_version"].is_string());
        let output = &got["outputs"][0];
        assert_eq!(output["name"], "logits");
        assert_eq!(output["datatype"], "FP32");
        assert_eq!(output["shape"], json!([2, 7]));
        assert_eq!(floats(&output["data"]), expected);
    }
}

#[tokio::test]
async fn files_in_json_are_base64() {
    let files = [image("rgb.png"), image("jpeg.jpeg"), image("gray.png")];
    let data = files.each_ref().map(|file| STANDARD.encode(file));
    let asked = json!({
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [3], "data": data}],
        "outputs": [{"name": "logits"}],
    });
    let got = post_json(&server(), INFER, &asked).await.json();
    assert_eq!(got.get("id"), None);
    let expected = files.each_ref().map(|file| logits(file)).concat();
    assert_eq!(floats(&got["outputs"][0]["data"]), expected);
}

#[tokio::test]
async fn binary_values_and_a_binary_answer() {
    let values = values();
    let binary: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let input = json!({
        "name": "input", "datatype": "FP32", "shape": [2, 3, 32, 32],
        "parameters": {"binary_data_size": binary.len()},
    });
    let expected = classifier().logits_of_values(&values, 2).unwrap().concat();
    for asked in [
        json!({"inputs": [input], "parameters": {"binary_data_output": true}}),
        json!({"inputs": [input], "outputs": [{"name": "logits", "parameters": {"binary_data": true}}]}),
    ] {
        let got = post_binary(INFER, &asked, &binary).await;
        let (json, binary) = parts(&got);
        let output = &json["outputs"][0];
        assert_eq!(output["parameters"]["binary_data_size"], binary.len());
        assert!(output.get("data").is_none(), "{json}");
        let got = binary
            .chunks(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        assert_eq!(got.collect::<Vec<_>>(), expected);
    }
    // An output's own parameter overrides that of the request.
    let asked = json!({
        "inputs": [input],
        "parameters": {"binary_data_output": true},
        "outputs": [{"name": "logits", "parameters": {"binary_data": false}}],
    });
    let got = post_binary(INFER, &asked, &binary).await.json();
    assert_eq!(floats(&got["outputs"][0]["data"]), expected);
}

#[tokio::test]
async fn classes_of_binary_files() {
    let files = [image("rgb.png"), image("gray.png")];
    let binary = prefixed(&[&files[0], &files[1]]);
    let asked = |is_binary: bool, count: usize| {
        let output = json!({"classification": count, "binary_data": is_binary});
        json!({
            "inputs": [{
                "name": "image", "datatype": "BYTES", "shape": [2],
                "parameters": {"binary_data_size": binary.len()},
            }],
            "outputs": [{"name": "logits", "parameters": output}],
        })
    };
    let best = |count: usize| {
        let each = files.iter().flat_map(|file| {
            let logits = logits(file);
            let names = classifier().class_names();
            let ranked = crate::support::classified(file);
            let ranked = ranked.into_iter().take(count);
            let texts = ranked.map(move |(label, _)| {
                let index = names.iter().position(|name| name == label).unwrap();
                format!("{}:{index}:{label}", logits[index])
            });
            texts.collect::<Vec<_>>()
        });
        each.collect::<Vec<_>>()
    };
    let got = post_binary(INFER, &asked(false, 3), &binary).await.json();
    let output = &got["outputs"][0];
    assert_eq!(output["datatype"], "BYTES");
    assert_eq!(output["shape"], json!([2, 3]));
    assert_eq!(output["data"], json!(best(3)));

    let got = post_binary(INFER, &asked(true, 3), &binary).await;
    let (json, binary_classes) = parts(&got);
    assert_eq!(json["outputs"][0]["datatype"], "BYTES");
    let expected = best(3);
    let expected: Vec<&[u8]> = expected.iter().map(|text| text.as_bytes()).collect();
    assert_eq!(binary_classes, prefixed(&expected));

    // There are no more than all.
    let got = post_binary(INFER, &asked(false, 1000), &binary)
        .await
        .json();
    assert_eq!(got["outputs"][0]["shape"], json!([2, 7]));
    assert_eq!(got["outputs"][0]["data"], json!(best(7)));
}

/// An input that is right.
fn right() -> Value {
    json!({"name": "image", "datatype": "BYTES", "shape": [1], "data": [STANDARD.encode(image("rgb.png"))]})
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let server = server();
    let changed = |key: &str, value: Value| {
        let mut input = right();
        input[key] = value;
        json!({"inputs": [input]})
    };
    let numbers = |shape: Value, data: Value| json!({"inputs": [{"name": "input", "datatype": "FP32", "shape": shape, "data": data}]});
    let output = |output: Value| json!({"inputs": [right()], "outputs": [output]});
    for asked in [
        json!({}),
        json!([]),
        json!({"inputs": []}),
        // serde would take lists for objects.
        json!([null, null, [right()], null]),
        json!({"inputs": [right()], "parameters": []}),
        json!({"inputs": [["image", "BYTES", [1], null, [STANDARD.encode(image("rgb.png"))]]]}),
        json!({"inputs": [right(), right()]}),
        json!({"id": 42, "inputs": [right()]}),
        changed("name", json!("picture")),
        changed("datatype", json!("FP32")),
        changed("shape", json!([2])),
        changed("shape", json!([1, 1])),
        changed("shape", json!([-1])),
        changed("shape", json!([0])),
        changed("data", json!(null)),
        changed("data", json!([1, 2])),
        changed("data", json!(["%"])),
        changed("data", json!([STANDARD.encode("no image")])),
        changed("data", json!([[STANDARD.encode("x")], 1])),
        changed("data", json!([true])),
        changed("parameters", json!({"binary_data_size": 4})),
        changed("parameters", json!({"shared_memory_region": "x"})),
        numbers(json!([1, 3, 32, 32]), json!([1.0])),
        numbers(json!([1, 3, 32, 31]), json!(vec![0.0; 3 * 32 * 31])),
        numbers(json!([1, 1, 32, 32]), json!(vec![0.0; 32 * 32])),
        numbers(json!([0, 3, 32, 32]), json!([])),
        numbers(json!([u64::MAX, 3, 32, 32]), json!([])),
        numbers(json!([1, 3, 32, 32]), json!(vec![1e39; 3 * 32 * 32])),
        numbers(json!([1, 3, 32, 32]), json!(["AAAA"])),
        output(json!({"name": "scores"})),
        output(json!(["logits", null])),
        output(json!({"name": "logits", "parameters": []})),
        output(json!({"name": "logits", "parameters": {"classification": 0}})),
        output(json!({"name": "logits", "parameters": {"classification": -1}})),
        output(json!({"name": "logits", "parameters": {"shared_memory_region": "x"}})),
    ] {
        let detail = post_json(&server, INFER, &asked).await.problem(400);
        assert!(!detail.is_empty(), "{asked}");
    }
    let two = json!({"inputs": [right()], "outputs": [{"name": "logits"}, {"name": "logits"}]});
    post_json(&server, INFER, &two).await.problem(400);
    post_json(&server, "/v2/models/none/infer", &two)
        .await
        .problem(404);
}

#[tokio::test]
async fn wrong_binary_data_are_refused() {
    let file = image("rgb.png");
    let whole = prefixed(&[&file]);
    let asked = |size: usize| {
        json!({"inputs": [{
            "name": "image", "datatype": "BYTES", "shape": [1],
            "parameters": {"binary_data_size": size},
        }]})
    };
    assert_eq!(
        post_binary(INFER, &asked(whole.len()), &whole).await.status,
        200
    );
    for (size, bytes) in [
        (whole.len() - 1, &whole[..]),
        (whole.len() - 1, &whole[..whole.len() - 1]),
        (3, &whole[..3]),
        (0, &[][..]),
        (whole.len(), &[][..]),
        (4, &[255; 4][..]),
    ] {
        post_binary(INFER, &asked(size), bytes).await.problem(400);
    }
    let values = json!({"inputs": [{
        "name": "input", "datatype": "FP32", "shape": [1, 3, 32, 32],
        "parameters": {"binary_data_size": 3 * 32 * 32 * 4},
    }]});
    let nan = f32::NAN.to_le_bytes().repeat(3 * 32 * 32);
    post_binary(INFER, &values, &nan).await.problem(400);
    for length in ["0", "x", "-1", "1000000"] {
        let request = Request::post(INFER).header("Inference-Header-Content-Length", length);
        let request = request.body(Body::from("{}")).unwrap();
        send(&server(), request).await.problem(400);
    }
}
