//! Merging of layers, and refused layers.

use super::Layer;
use crate::RunConfig;

#[test]
fn layers_are_merged_as_they_are_given() {
    let of = |file: &str, sets: &[(&str, &str)]| {
        let file = Layer::from_toml(file, "my.toml")?;
        let sets = Layer::from_assignments(sets.iter().copied(), "--set")?;
        RunConfig::from_layers(&[file, sets])
    };
    let config = of(
        "",
        &[("optimizer.momentum", "0.9"), ("optimizer.type", "sgd")],
    )
    .unwrap();
    let text = toml::to_string(&config.optimizer).unwrap();
    assert!(
        text.contains("momentum = 0.9") && !text.contains("betas"),
        "{text}"
    );
    let config = of("", &[("optimizer.betas", "[0.8, 0.9]")]).unwrap();
    let text = toml::to_string(&config.optimizer).unwrap();
    assert!(
        text.contains("adamw") && text.contains("betas = [0.8, 0.9]"),
        "{text}"
    );
    let config = of(
        "",
        &[
            ("warmup.epochs", "0.5"),
            ("train.epochs", "9"),
            ("train.epochs", "8"),
        ],
    );
    let config = config.unwrap();
    assert_eq!(config.warmup.unwrap().epochs, Some(0.5));
    assert_eq!(config.train.epochs, 8);
    // The short text of a schedule equals the table form.
    let config = of("schedule = \"step-4-0.8\"", &[("schedule.gamma", "0.5")]).unwrap();
    assert_eq!(config.schedule, "step-4-0.5".parse().unwrap());
    let config = of("", &[("schedule", "step-4-0.8"), ("loss.type", "focal")]).unwrap();
    assert_eq!(config.schedule, "step-4-0.8".parse().unwrap());
    let text = toml::to_string(&config.loss).unwrap();
    assert!(
        text.contains("gamma") && !text.contains("smoothing"),
        "{text}"
    );
    let photos = "[augment]\npreset = \"photos\"\naffine = { degrees = 5.0 }\n";
    let sets = [
        ("augment.affine.fill", "9"),
        ("augment.color_jitter", "false"),
    ];
    let augment = of(photos, &sets).unwrap().augment;
    let affine = augment.affine.unwrap();
    assert_eq!((affine.degrees, affine.fill), (5.0, 9));
    assert!(augment.color_jitter.is_none() && augment.horizontal_flip.is_some());
    assert!(
        of(photos, &[("augment.affine", "false")])
            .unwrap()
            .augment
            .affine
            .is_none()
    );
    for (file, sets, said) in [
        (
            "",
            vec![("schedule", "step-4-0.8"), ("schedule.gamma", "0.5")],
            "--set: \"schedule.gamma\" is set as a whole and in part",
        ),
        (
            "",
            vec![("warmup.epochs", "1"), ("warmup", "none")],
            "--set: \"warmup\" is set as a whole",
        ),
        (
            "optimizer.type = \"sgd\"",
            vec![("optimizer.betas", "[0.5, 0.5]")],
            "--set: unknown key `optimizer.betas`",
        ),
        (
            "",
            vec![("train.epochs", "1 # one")],
            "--set: `train.epochs` is \"1 # one\"",
        ),
        (
            "",
            vec![("train.epochs", "1\nseed = 2")],
            "--set: `train.epochs` is ",
        ),
        (
            "",
            vec![("#train.epochs", "1")],
            "--set: \"#train.epochs\" is not a key",
        ),
        ("", vec![("train..epochs", "1")], "is not a key"),
        (
            "",
            vec![("train.epochs.x", "1")],
            "`train.epochs` is { x = 1 }",
        ),
        ("", vec![("", "1")], "--set: \"\" is not a key"),
        ("", vec![("'train'.epochs", "1")], "is not a key"),
        (
            "train.freeze_epochs = 7",
            vec![("train.seed", "1")],
            "my.toml: `train.freeze_epochs` is 7; expected at most train.epochs (6)",
        ),
        (
            "train.freeze_epochs = 5",
            vec![("optimizer.betas", "[2, 2]")],
            "--set: `optimizer.betas` is [2, 2]; expected both in",
        ),
        (
            "warmup = { steps = 1 }",
            vec![("warmup.epochs", "1")],
            "warmup.steps",
        ),
        (
            "[augment]\npreset = \"digits\"",
            vec![("augment.affine.degrees", "400")],
            "--set: augment.affine.degrees: found 400",
        ),
    ] {
        let message = of(file, &sets).unwrap_err().to_string();
        assert!(message.contains(said), "{file} {sets:?}: {message}");
    }
    let deep = "a.".repeat(100_000);
    assert!(of("", &[(deep.as_str(), "1")]).is_err());
    assert!(of("", &[("train.epochs", "[".repeat(100_000).as_str())]).is_err());
}

#[test]
fn a_file_has_a_largest_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.toml");
    std::fs::write(&path, "# comment\n".repeat(200_000)).unwrap();
    let error = RunConfig::read(&path).unwrap_err();
    let message = mnist_data::with_causes(&error);
    assert!(
        message.contains("large.toml") && message.contains("1048576 bytes"),
        "{message}"
    );
    let message = mnist_data::with_causes(&RunConfig::read(dir.path()).unwrap_err());
    assert!(message.contains("it is a folder"), "{message}");
}

/// A key without a default may be set by another layer than the rest of its section.
#[test]
fn layers_are_complete_together() {
    let teacher = "[distillation]\nteacher = \"t.safetensors\"\n";
    let below = Layer::from_toml("[distillation]\ntemperature = 2.0\n", "my.toml").unwrap();
    let above = Layer::from_toml(teacher, "--set").unwrap();
    let config = RunConfig::from_layers(&[below.clone(), above]).unwrap();
    assert_eq!(config.distillation.unwrap().temperature, 2.0);
    let message = RunConfig::from_layers(&[below]).unwrap_err().to_string();
    assert!(
        message.contains("my.toml") && message.contains("distillation.teacher"),
        "{message}"
    );
}
