//! `/v1/predict`, `/v1/explain` and Hugging Face's form.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{
    FORM, classified, classifier, form, get, golden, image, post, post_json, server,
};

/// The labels and scores of a list in an answer. A score is read as f32, so that it can be compared exactly.
fn scored(list: &Value) -> Vec<(String, f32)> {
    let scored = list.as_array().unwrap().iter().map(|entry| {
        assert_eq!(entry.as_object().unwrap().len(), 2, "{entry}");
        (
            entry["label"].as_str().unwrap().to_owned(),
            score(&entry["score"]),
        )
    });
    scored.collect()
}

fn score(value: &Value) -> f32 {
    value.to_string().parse().unwrap()
}

fn owned(ranked: &[(&str, f32)]) -> Vec<(String, f32)> {
    let owned = ranked
        .iter()
        .map(|&(label, score)| (label.to_owned(), score));
    owned.collect()
}

#[tokio::test]
async fn every_kind_of_file_gets_the_classifiers_answer() {
    let server = server();
    let mut kinds = 0;
    let mut labels = BTreeSet::new();
    for entry in std::fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".rgb") {
            continue;
        }
        let image = image(name);
        let expected = classified(&image);
        let got = post(&server, "/v1/predict?top_k=3", "image/*", image)
            .await
            .json();
        assert_eq!(got["model"], "digits");
        assert_eq!(got["label"], expected[0].0, "{name}");
        assert_eq!(score(&got["score"]), expected[0].1, "{name}");
        assert_eq!(scored(&got["top_k"]), owned(&expected[..3]), "{name}");
        assert_eq!(got.as_object().unwrap().len(), 4, "{got}");
        kinds += 1;
        labels.insert(expected[0].0);
    }
    assert!(labels.len() > 1, "{labels:?}");
    assert!(kinds > 15, "{kinds}");
}

#[tokio::test]
async fn all_probabilities_are_in_the_order_of_the_classes() {
    let server = server();
    let image = image("rgb.png");
    let expected = classified(&image);
    let path = "/v1/predict?probabilities=true&model=again&top_k=100";
    let answer = post(&server, path, "application/octet-stream", image).await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let got = answer.json();
    assert_eq!(got["model"], "again");
    assert_eq!(scored(&got["top_k"]), owned(&expected));
    let probabilities = got["probabilities"].as_object().unwrap();
    assert_eq!(probabilities.len(), expected.len());
    for (label, probability) in &expected {
        assert_eq!(score(&probabilities[*label]), *probability, "{label}");
    }
    let at = text.find("probabilities").unwrap();
    let places = classifier().class_names().iter();
    let places = places.map(|name| text[at..].find(&format!("{name:?}:")).unwrap());
    assert!(places.is_sorted(), "{text}");
}

#[tokio::test]
async fn a_bad_image_of_a_form_does_not_lose_the_others() {
    let server = server();
    let (first, third) = (image("rgb.png"), image("jpeg.jpeg"));
    let body = form(&[
        ("a.png", &first),
        ("b.png", b"no image"),
        ("c.jpeg", &third),
    ]);
    let got = post(&server, "/v1/predict?top_k=1", FORM, body)
        .await
        .json();
    let images = got["images"].as_array().unwrap();
    let names: Vec<&Value> = images.iter().map(|image| &image["name"]).collect();
    assert_eq!(names, ["a.png", "b.png", "c.jpeg"]);
    for (place, image) in [(0, &first), (2, &third)] {
        let expected = classified(image);
        assert_eq!(scored(&images[place]["top_k"]), owned(&expected[..1]));
        assert_eq!(images[place]["label"], expected[0].0);
        assert!(images[place].get("error").is_none());
    }
    assert!(images[1]["error"].is_string(), "{got}");
    assert!(images[1].get("label").is_none(), "{got}");
}

#[tokio::test]
async fn an_explanation_is_the_classifiers() {
    let server = server();
    let image = image("rgb.png");
    for class in [None, Some(3)] {
        let path = match class {
            None => "/v1/explain".to_owned(),
            Some(class) => format!("/v1/explain?class={}", classifier().class_names()[class]),
        };
        let got = post(&server, &path, "image/png", image.clone())
            .await
            .json();
        let expected = classifier()
            .explain([&image], class)
            .unwrap()
            .swap_remove(0);
        assert_eq!(got["label"], classifier().class_names()[expected.class]);
        assert_eq!(score(&got["score"]), expected.probability);
        assert_eq!(got["layer"], expected.layer);
        assert_eq!(got["height"], expected.height);
        assert_eq!(got["width"], expected.width);
        let map: Vec<f32> = got["map"].as_array().unwrap().iter().map(score).collect();
        assert_eq!(map, expected.map);
        let seen = got["seen"].as_str().unwrap();
        let seen = seen.strip_prefix("data:image/png;base64,").unwrap();
        let seen = STANDARD.decode(seen).unwrap();
        // The picture is what the network saw, so it has the same answer.
        assert_eq!(classified(&seen), classified(&image));
    }
}

#[tokio::test]
async fn hugging_faces_form() {
    let server = server();
    let image = image("jpeg.jpeg");
    let expected = owned(&classified(&image));
    let raw = post(&server, "/", "image/jpeg", image.clone()).await.json();
    assert_eq!(scored(&raw), expected[..5]);
    let asked = json!({"inputs": STANDARD.encode(&image), "parameters": {"top_k": 2}});
    let encoded = post_json(&server, "/", &asked).await.json();
    assert_eq!(scored(&encoded), expected[..2]);
    // The page is at the same path.
    assert_eq!(get(&server, "/").await.status, 200);
}
