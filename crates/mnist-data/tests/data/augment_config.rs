//! Tests the section `[augment]` of a configuration.

use mnist_data::{
    AffineConfig, AugmentConfig, ColorJitterConfig, Error, FlipConfig, Loader, Preset,
    ResizedCropConfig,
};

use crate::augment::{data_set, everything, options, toml};

#[test]
fn keys_stand_on_top_of_the_preset() {
    let digits = toml("preset = \"digits\"");
    assert_eq!(digits, AugmentConfig::from(Preset::Digits));
    assert_eq!(digits.affine, Some(AffineConfig::default()));
    let photos =
        toml("preset = \"photos\"\nresized_crop = { ratio = [1, 1] }\nhorizontal_flip = false");
    let crop = ResizedCropConfig {
        scale: [0.35, 1.0],
        ratio: [1.0, 1.0],
    };
    assert_eq!(
        (photos.resized_crop, photos.horizontal_flip),
        (Some(crop), None)
    );
    let alone = toml("vertical_flip = { p = 0.1 }\nresized_crop = true");
    assert_eq!(alone.preset, Preset::None);
    assert_eq!(alone.vertical_flip, Some(FlipConfig { p: 0.1 }));
    assert_eq!(alone.resized_crop, Some(ResizedCropConfig::default()));
    assert!(toml("").is_none() && !alone.is_none());
    assert!(toml("preset = \"digits\"\naffine = false").is_none());
}

#[test]
fn a_configuration_that_is_written_is_read_back() {
    let mut changed =
        toml("preset = \"photos\"\ncolor_jitter = { hue = 0.1 }\nresized_crop = false");
    changed.erasing = Some(mnist_data::ErasingConfig::default());
    for config in [
        AugmentConfig::default(),
        AugmentConfig::from(Preset::Digits),
        everything(),
        changed.clone(),
    ] {
        let written = toml::to_string(&config).unwrap();
        assert_eq!(toml(&written), config, "{written}");
        let explicit = toml::to_string(&config.explicit()).unwrap();
        assert_eq!(toml(&explicit), config, "{explicit}");
        assert_eq!(config.explicit().len(), 9);
    }
    // Only differences from the preset are written, so that a higher layer can set another preset.
    assert_eq!(
        toml::to_string(&AugmentConfig::from(Preset::Photos))
            .unwrap()
            .trim(),
        "preset = \"photos\""
    );
    let written: toml::Table = toml::from_str(&toml::to_string(&changed).unwrap()).unwrap();
    let keys: Vec<&str> = written.keys().map(String::as_str).collect();
    assert_eq!(keys, ["color_jitter", "erasing", "preset", "resized_crop"]);
}

#[test]
fn invalid_keys_are_named() {
    for (text, problems) in [
        ("preset = \"digit\"", ["unknown variant `digit`", "digits"]),
        ("affin = true", ["unknown field `affin`", "affine"]),
        (
            "affine = { degree = 3 }",
            ["affine: unknown field `degree`", "degrees"],
        ),
        ("affine = 3", ["affine: found 3", "true, false or a table"]),
        (
            "affine = { degrees = \"a\" }",
            ["affine.degrees: invalid type", "f64"],
        ),
        (
            "preset = \"photos\"\nresized_crop = { ratio = [1, 1], scale = [0.5] }",
            ["resized_crop.scale: invalid length 1", "2"],
        ),
        (
            "rand_augment = { magnitude = 1.5 }",
            ["rand_augment.magnitude: invalid type", "u32"],
        ),
        (
            "erasing = { value = 256 }",
            ["erasing.value: ", "0 to 255, or \"random\""],
        ),
    ] {
        let error = toml::from_str::<AugmentConfig>(text)
            .unwrap_err()
            .to_string();
        assert!(
            problems.iter().all(|problem| error.contains(problem)),
            "{text}: {error}"
        );
    }
}

#[test]
fn values_outside_of_their_domain_are_refused_by_key() {
    for (text, key) in [
        ("horizontal_flip = { p = 1.1 }", "augment.horizontal_flip.p"),
        ("vertical_flip = { p = -0.1 }", "augment.vertical_flip.p"),
        (
            "resized_crop = { scale = [0, 1] }",
            "augment.resized_crop.scale",
        ),
        (
            "resized_crop = { scale = [0.9, 0.5] }",
            "augment.resized_crop.scale",
        ),
        (
            "resized_crop = { ratio = [0.01, 1] }",
            "augment.resized_crop.ratio",
        ),
        ("affine = { degrees = -1 }", "augment.affine.degrees"),
        (
            "affine = { translate = [0, 1.5] }",
            "augment.affine.translate",
        ),
        ("affine = { scale = [0, 1] }", "augment.affine.scale"),
        ("affine = { shear = [90, 0] }", "augment.affine.shear"),
        ("elastic = { alpha = -1 }", "augment.elastic.alpha"),
        ("elastic = { sigma = 1000 }", "augment.elastic.sigma"),
        (
            "rand_augment = { num_ops = 15 }",
            "augment.rand_augment.num_ops",
        ),
        (
            "rand_augment = { magnitude = 31 }",
            "augment.rand_augment.magnitude",
        ),
        (
            "color_jitter = { brightness = -1 }",
            "augment.color_jitter.brightness",
        ),
        (
            "color_jitter = { contrast = 11 }",
            "augment.color_jitter.contrast",
        ),
        (
            "color_jitter = { saturation = 10.5 }",
            "augment.color_jitter.saturation",
        ),
        ("color_jitter = { hue = 0.6 }", "augment.color_jitter.hue"),
        ("erasing = { p = 2 }", "augment.erasing.p"),
        ("erasing = { scale = [0.1, 2] }", "augment.erasing.scale"),
        ("erasing = { ratio = [5, 1] }", "augment.erasing.ratio"),
    ] {
        let config = toml(text);
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(key) && error.contains("expected"), "{error}");
        let (_dir, samples) = data_set(3);
        let refused = Loader::new(samples, options(config)).unwrap_err();
        assert!(matches!(refused, Error::Setting { .. }), "{refused}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused_by_key() {
    fn with(change: impl Fn(&mut AugmentConfig)) -> AugmentConfig {
        let mut config = AugmentConfig {
            resized_crop: Some(ResizedCropConfig::default()),
            affine: Some(AffineConfig::default()),
            color_jitter: Some(ColorJitterConfig::default()),
            ..AugmentConfig::default()
        };
        change(&mut config);
        config
    }
    let crop = |scale| with(|config| config.resized_crop.as_mut().unwrap().scale = scale);
    let degrees = |degrees| with(|config| config.affine.as_mut().unwrap().degrees = degrees);
    let shear = |shear| with(|config| config.affine.as_mut().unwrap().shear = shear);
    let saturation = |by| with(|config| config.color_jitter.as_mut().unwrap().saturation = by);
    assert!(degrees(5.0).validate().is_ok());
    for (text, key, config) in [
        ("nan", "affine.degrees", degrees(f64::NAN)),
        ("[0, nan]", "affine.shear", shear([0.0, f64::NAN])),
        ("inf", "color_jitter.saturation", saturation(f64::INFINITY)),
        (
            "-inf",
            "color_jitter.saturation",
            saturation(f64::NEG_INFINITY),
        ),
        ("[nan, 1]", "resized_crop.scale", crop([f64::NAN, 1.0])),
        (
            "[0.5, inf]",
            "resized_crop.scale",
            crop([0.5, f64::INFINITY]),
        ),
    ] {
        // Invalid values are refused when a configuration is read …
        let (operation, setting) = key.split_once('.').unwrap();
        let text = format!("{operation} = {{ {setting} = {text} }}");
        let error = toml::from_str::<AugmentConfig>(&text).unwrap_err();
        let error = error.to_string();
        let expected = format!("{key}: found a number that is not finite");
        assert!(error.contains(&expected), "{text}: {error}");
        // … and when a configuration is validated.
        let error = config.validate().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("augment.{key}: found ")),
            "{text}: {error}"
        );
    }
}

#[test]
fn digits_are_never_mirrored() {
    for flip in ["horizontal_flip", "vertical_flip"] {
        let config = toml(&format!("preset = \"digits\"\n{flip} = true"));
        let error = config.validate().unwrap_err().to_string();
        assert!(
            error.contains(&format!("augment.{flip}")) && error.contains("another character"),
            "{error}"
        );
        toml(&format!("{flip} = true\naffine = true"))
            .validate()
            .unwrap();
    }
}
