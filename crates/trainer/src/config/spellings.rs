//! Tests of words in any letter case, short forms of sections, and the messages for other values.

use std::collections::BTreeSet;

use optim::OptimizerConfig;

use super::list::KEYS;
use super::{Layer, RunConfig};

/// Terms of Rust and serde. Messages to users must not contain them.
const RUST: [&str; 12] = [
    "variant",
    "struct",
    "invalid type",
    "untagged",
    "tuple",
    "enum",
    "deserialize",
    "data did not match",
    "sequence",
    "newtype",
    "u64",
    "f64",
];

#[test]
fn messages_are_about_the_configuration_and_not_about_rust() {
    let mut paths: BTreeSet<&str> = KEYS.iter().map(|key| key.path).collect();
    for key in KEYS.iter() {
        let ends = key.path.match_indices('.').map(|(end, _)| &key.path[..end]);
        paths.extend(ends);
    }
    let mut refused = 0;
    for path in paths {
        for value in ["true", "\"x\"", "1", "0.5", "[]", "{}", "[{}]", "{ x = 1 }"] {
            let text = format!("{path} = {value}");
            let Err(error) = RunConfig::from_toml(&text, "odd.toml") else {
                continue;
            };
            refused += 1;
            let message = error.to_string();
            let path = path.split('.').next().unwrap();
            assert!(message.contains(path), "{text}: {message}");
            for word in RUST {
                assert!(!message.contains(word), "{text}: {message}");
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn a_section_may_be_given_by_its_type_or_by_a_switch() {
    let of = |text: &str| RunConfig::from_toml(text, "a.toml").unwrap();
    for (short, long) in [
        ("optimizer = \"Adam\"", "optimizer.type = \"adam\""),
        ("loss = \"Cross-Entropy\"", "loss.type = \"cross_entropy\""),
        ("schedule = \"OneCycle\"", "schedule.type = \"one_cycle\""),
        (
            "schedule = \"Step-4-0.8\"",
            "schedule = { type = \"step\", step_size = 4, gamma = 0.8 }",
        ),
        ("ema = true", "ema = { decay = 0.999 }"),
        ("ema = {}", "ema = { decay = 0.999 }"),
        ("ema = false", "ema = \"none\""),
    ] {
        assert_eq!(of(short), of(long), "{short}");
    }
    let rules = OptimizerConfig::RULES.iter().map(|rule| rule.name);
    let rules = rules.collect::<Vec<_>>().join(", ");
    for (text, said) in [
        (
            "augment = true",
            "`augment` is true; expected a table of its keys, such as augment.preset = \"photos\"",
        ),
        ("ema = 3", "such as ema.decay = 0.999"),
        ("warmup = true", "such as warmup.epochs = 1"),
        (
            "augment.affine = 3",
            "expected true, false or a table of its keys (degrees, translate",
        ),
        (
            "data.validation = 3",
            "expected a table of its keys (count, stratified, seed)",
        ),
        (
            "optimizer = \"adm\"",
            &format!("expected one of {rules}; did you mean \"adam\"?"),
        ),
        ("optimizer = true", "such as optimizer.type = \"adam\""),
        ("schedule = \"cosin\"", "did you mean \"cosine\"?"),
        (
            "train.drop_last = True # as in Python",
            "line 1, column 19: expected true, in lower case",
        ),
    ] {
        let message = RunConfig::from_toml(text, "a.toml")
            .unwrap_err()
            .to_string();
        assert!(message.contains(said), "{text}: {message}");
    }
    for section in [
        "data",
        "model",
        "train",
        "loss",
        "augment",
        "mix",
        "optimizer",
        "schedule",
        "warmup",
        "ema",
        "distillation",
    ] {
        let message = RunConfig::from_toml(&format!("{section} = 3"), "a.toml")
            .unwrap_err()
            .to_string();
        let (_, example) = message.split_once("such as ").unwrap();
        of(example);
    }
}

#[test]
fn words_may_be_in_any_letter_case_and_are_kept_as_they_are_written_best() {
    for (text, kept) in [
        ("model.name = \"MobileNetV2\"", "name = \"mobilenet_v2\""),
        (
            "model.name = \"mobilenet-v3-small\"",
            "name = \"mobilenet_v3_small\"",
        ),
        ("optimizer.type = \"SGD\"", "type = \"sgd\""),
        (
            "optimizer = { type = \"AdamW\", amsgrad = true }",
            "type = \"adamw\"",
        ),
        ("loss.type = \"Focal\"", "type = \"focal\""),
        ("schedule.type = \"Cosine\"", "type = \"cosine\""),
        ("augment.preset = \"Photos\"", "preset = \"photos\""),
        ("train.monitor = \"ValLoss\"", "monitor = \"val_loss\""),
        ("train.device = \"CPU\"", "device = \"cpu\""),
        ("train.precision = \"BF16\"", "precision = \"bf16\""),
        ("train.patience = \"None\"", "patience = \"none\""),
        (
            "data.source = \"Fashion_MNIST\"",
            "source = \"fashion-mnist\"",
        ),
        ("data.workers = \"AUTO\"", "workers = \"auto\""),
    ] {
        let config = RunConfig::from_toml(text, "a.toml").unwrap();
        let written = toml::to_string(&config).unwrap();
        assert!(written.contains(kept), "{text}: {written}");
    }
    let sets = Layer::from_assignments([("train.drop_last", "False")], "--set").unwrap();
    assert!(!RunConfig::from_layers(&[sets]).unwrap().train.drop_last);
    let message = RunConfig::from_toml("model.name = \"mobilenetv3\"", "a.toml");
    let message = message.unwrap_err().to_string();
    assert!(
        message.ends_with("; did you mean \"mobilenet_v3_large\" or \"mobilenet_v3_small\"?"),
        "{message}"
    );
}
