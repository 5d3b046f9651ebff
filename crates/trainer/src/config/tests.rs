//! Tests that invalid configurations are refused.

use std::path::Path;

use super::{ClassWeights, ConfigError, RunConfig};

/// A line of TOML and the expected error.
#[test]
fn values_out_of_range_are_named() {
    for (text, key, expected) in [
        ("data.batch_size = 1", "data.batch_size", "at least 2"),
        (
            "data.image_size = 0",
            "data.image_size",
            "at least 8 and at most 2048",
        ),
        ("data.limit = 0", "data.limit", "none"),
        (
            "data.limit = 100\ntrain.drop_last = true",
            "data.limit",
            "data.batch_size (128)",
        ),
        (
            "data.source = \"folder\"",
            "data.root",
            "folder that holds train",
        ),
        ("data.source = \"idx\"", "data.idx_dir", "IDX"),
        ("data.workers = 0", "data.workers", "auto"),
        (
            "data.prefetch = 0",
            "data.prefetch",
            "at least 1 and at most 1024",
        ),
        (
            "data.prefetch = 1000000000000",
            "data.prefetch",
            "at least 1 and at most 1024",
        ),
        (
            "data.bad_image_limit = 1.5",
            "data.bad_image_limit",
            "0 to 1",
        ),
        (
            "data.validation.count = 0",
            "data.validation.count",
            "at least 1",
        ),
        (
            "data.normalisation = { mean = [0, 0, 0], std = [1, 0, 1] }",
            "data.normalisation.std",
            "from 0.0001 to 1",
        ),
        (
            "data.normalisation = { mean = [nan, 0, 1], std = [1, 1, 1] }",
            "data.normalisation.mean",
            "from 0 to 1",
        ),
        (
            "data.normalisation.mean = [130, 130, 130]",
            "data.normalisation.mean",
            "from 0 to 1",
        ),
        ("model.classes = 1", "model.classes", "at least 2"),
        ("model.width = 0.0", "model.width", "above 0"),
        ("model.dropout = 1.0", "model.dropout", "below 1"),
        (
            "model.batch_norm_momentum = 0.0",
            "model.batch_norm_momentum",
            "above 0",
        ),
        ("model.stem_stride = 3", "model.stem_stride", "1 or 2"),
        ("train.epochs = 0", "train.epochs", "at least 1"),
        (
            "train.learning_rate = 0.0",
            "train.learning_rate",
            "above 0",
        ),
        (
            "train.learning_rate = inf",
            "train.learning_rate",
            "above 0",
        ),
        (
            "train.freeze_epochs = 7",
            "train.freeze_epochs",
            "train.epochs (6)",
        ),
        ("train.patience = 0", "train.patience", "none"),
        (
            "loss = { type = 'cross_entropy', label_smoothing = 1.0 }",
            "loss.label_smoothing",
            "below 1",
        ),
        (
            "loss = { type = 'cross_entropy', class_weights = [0, 0] }",
            "loss.class_weights",
            "not all",
        ),
        (
            "loss = { type = 'focal', alpha = [1, 1] }\nmodel.classes = 3",
            "loss.alpha",
            "each of the 3 classes",
        ),
        (
            "loss = { type = 'focal', gamma = -1 }",
            "loss.gamma",
            "from 0 on",
        ),
        (
            "augment = { preset = 'digits', horizontal_flip = true }",
            "augment.horizontal_flip",
            "another character",
        ),
        (
            "augment = { affine = { degrees = 400 } }",
            "augment.affine.degrees",
            "400",
        ),
        ("mix = { mixup_alpha = -1.0 }", "mix.mixup_alpha", "-1"),
        ("data.source = 'csv'", "data.root", "train.csv"),
        (
            "data.class_names = 'names.txt'",
            "data.class_names",
            "folder",
        ),
        ("ema = { decay = 1.0 }", "decay", "decay < 1"),
        (
            "distillation = { teacher = 't', temperature = 0 }",
            "distillation.temperature",
            "above 0",
        ),
        (
            "distillation = { teacher = 't', weight = 1.5 }",
            "distillation.weight",
            "at most 1",
        ),
        (
            "train.accumulate_batches = 0",
            "train.accumulate_batches",
            "at least 1 and at most 65536",
        ),
        (
            "train.accumulate_batches = 2000000000000",
            "train.accumulate_batches",
            "at least 1 and at most 65536",
        ),
        ("warmup = { epochs = -1.0 }", "epochs", "-1"),
        ("warmup = { steps = 5, epochs = 1.0 }", "warmup", "steps"),
        (
            "warmup = { epochs = 1.0, start_factor = 0.0 }",
            "start_factor",
            "0 < start_factor",
        ),
        (
            "warmup = { epochs = 7.0 }",
            "warmup.epochs",
            "train.epochs (6)",
        ),
        ("train.layer_decay = 0.0", "train.layer_decay", "above 0"),
        (
            "train.backbone_learning_rate = 1.5",
            "train.backbone_learning_rate",
            "freeze_epochs",
        ),
        (
            "train.clip_gradient_value = 0.0",
            "train.clip_gradient_value",
            "none",
        ),
        (
            "train.clip_gradient_norm = -1.0",
            "train.clip_gradient_norm",
            "none",
        ),
        (
            "schedule = { type = \"plateau\", mode = \"min\" }",
            "schedule.mode",
            "max",
        ),
        (
            "schedule = { type = \"cosine\", eta_min = 0.1 }",
            "eta_min",
            "0.003",
        ),
        (
            "schedule = { type = \"step\", step_size = 1, gamma = 0 }",
            "gamma",
            "> 0",
        ),
        (
            "optimizer = { type = \"adam\", betas = [1, 0] }",
            "betas",
            "beta < 1",
        ),
    ] {
        let message = RunConfig::from_toml(text, "a.toml")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(key) && message.contains(expected),
            "{text}: {message}"
        );
    }
}

#[test]
fn values_of_the_wrong_type_are_named() {
    for (text, key) in [
        ("train.epochs = \"six\"", "train.epochs"),
        ("data.limit = \"nothing\"", "data.limit"),
        ("train.device = \"gpu\"", "train.device"),
        ("loss = { type = \"focal\", alpha = \"even\" }", "loss"),
        ("model.name = \"resnet\"", "model.name"),
        ("optimizer.type = \"adamm\"", "optimizer"),
    ] {
        let error = RunConfig::from_toml(text, "a.toml").unwrap_err();
        let message = error.to_string();
        assert!(
            matches!(error, ConfigError::Layer { .. }),
            "{text}: {message}"
        );
        assert!(
            message.contains(key) && message.contains("a.toml"),
            "{text}: {message}"
        );
    }
    assert!(
        RunConfig::from_toml("[train", "a.toml")
            .unwrap_err()
            .to_string()
            .contains("a.toml")
    );
}

fn momentum(config: &RunConfig) -> f64 {
    match config.model(10) {
        mobilenet::ModelDescription::MobileNet(model) => model.batch_norm_momentum,
        mobilenet::ModelDescription::Zoo(model) => panic!("{model:?}"),
    }
}

#[test]
fn words_stand_for_absent_values() {
    let text = "data.limit = 640\nmodel.pretrained = \"w.safetensors\"\nloss = { type = \"cross_entropy\", class_weights = \"balanced\" }\nwarmup = { epochs = 0.5 }";
    let config = RunConfig::from_toml(text, "a.toml").unwrap();
    assert_eq!(config.data.limit, Some(640));
    assert_eq!(config.loss.class_weights().1, &ClassWeights::Balanced);
    assert_eq!(config.warmup, Some(optim::Warmup::epochs(0.5)));
    // Pretrained weights get torchvision's momentum.
    assert_eq!(momentum(&config), 0.01);
    let text = "data.limit = \"none\"\nmodel.pretrained = \"none\"\nwarmup = \"none\"";
    assert_eq!(
        RunConfig::from_toml(text, "a.toml").unwrap(),
        RunConfig::default()
    );
    assert_eq!(momentum(&RunConfig::default()), 0.1);
}

#[test]
fn a_plateau_follows_the_monitored_score() {
    for (monitor, mode) in [
        ("val_loss", optim::PlateauMode::Min),
        ("val_accuracy", optim::PlateauMode::Max),
    ] {
        let text = format!("schedule = 'default-0.1-3'\ntrain.monitor = '{monitor}'");
        let config = RunConfig::from_toml(&text, "a.toml").unwrap();
        match config.schedule() {
            optim::LrScheduleConfig::Plateau(plateau) => assert_eq!(plateau.mode, Some(mode)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let message = RunConfig::read(Path::new("no/such.toml"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("no/such.toml"), "{message}");
}
