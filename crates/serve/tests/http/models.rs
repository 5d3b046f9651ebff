//! `/v1/models`, and the protocol of TensorFlow Serving.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{classifier, get, image, post_json, server};

#[tokio::test]
async fn the_models_are_listed_the_default_one_first() {
    let got = get(&server(), "/v1/models").await.json();
    let models = got["models"].as_array().unwrap();
    let names: Vec<&Value> = models.iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["digits", "again"]);
    assert_eq!(models[0]["classes"], json!(classifier().class_names()));
    assert_eq!(models[0]["image_size"], json!([32, 32]));
    assert_eq!(models[0]["model"], "mobilenet_v3_small");
    assert!(models[0]["version"].is_string());
}

#[tokio::test]
async fn the_status_of_a_model() {
    let server = server();
    let got = get(&server, "/v1/models/again").await.json();
    assert_eq!(got, json!({"name": "again", "ready": true}));
    let got = get(&server, "/v1/models/default").await.json();
    assert_eq!(got, json!({"name": "digits", "ready": true}));
    server.close();
    let got = get(&server, "/v1/models/again").await.json();
    assert_eq!(got, json!({"name": "again", "ready": false}));
}

#[tokio::test]
async fn predictions_have_the_classifiers_probabilities() {
    let images = [image("rgb.png"), image("gray.png")];
    let encoded = images.each_ref().map(|image| STANDARD.encode(image));
    let asked = json!({"instances": [
        {"b64": encoded[0]},
        {"image_bytes": {"b64": encoded[1]}},
    ]});
    let got = post_json(&server(), "/v1/models/digits:predict", &asked)
        .await
        .json();
    let predictions = got["predictions"].as_array().unwrap();
    let expected = classifier().probabilities(&images).unwrap();
    assert_eq!(predictions.len(), 2);
    for (got, expected) in predictions.iter().zip(expected) {
        let probabilities = got["probabilities"].as_array().unwrap().iter();
        let probabilities: Vec<f32> = probabilities
            .map(|value| value.to_string().parse().unwrap())
            .collect();
        assert_eq!(probabilities, expected);
        let best = expected.iter().copied().fold(0.0, f32::max);
        assert_eq!(got["score"].to_string().parse::<f32>().unwrap(), best);
        let class = expected.iter().position(|&value| value == best).unwrap();
        assert_eq!(got["label"], classifier().class_names()[class]);
    }
}
