//! Python code that builds the network for an exported file.

use std::path::Path;

use mobilenet::{HeadKind, ModelConfig, Padding, Variant};

/// The code for torchvision.
pub(super) fn torchvision(model: &ModelConfig, file: &Path) -> String {
    let Some(builder) = torchvision_builder(model) else {
        return format!(
            "in Python           torchvision has no function for {}; the tensors have its style of names",
            model.name
        );
    };
    let mut lines = vec![
        "import torch, torchvision, safetensors.torch".to_owned(),
        format!("model = torchvision.models.{builder}"),
    ];
    let has_hidden = [Variant::SMALL, Variant::LARGE].contains(&model.name);
    if model.head == HeadKind::Linear && has_hidden {
        lines.push(format!(
            "model.classifier = torch.nn.Sequential(torch.nn.Dropout({}), \
             torch.nn.Linear(model.classifier[0].in_features, {}))",
            model.dropout, model.classes
        ));
    }
    if model.batch_norm_epsilon != torchvision_epsilon(model) {
        lines.extend(epsilon(model.batch_norm_epsilon));
    }
    stem(model, &mut lines);
    if model.padding == Padding::Same {
        lines.push("# and TensorFlow's padding, which torchvision does not have".to_owned());
    }
    finish(lines, file)
}

/// The name of the network. AdvProp's networks have the layers, and so the name, of the plain ones.
fn plain_name(model: &ModelConfig) -> &'static str {
    let name = model.name.name();
    name.strip_prefix("adv-").unwrap_or(name)
}

/// The constant of batch normalisations in torchvision's network of this name.
fn torchvision_epsilon(model: &ModelConfig) -> f64 {
    let plain: Variant = plain_name(model).parse().unwrap_or(model.name);
    ModelConfig::new(plain, model.classes).batch_norm_epsilon
}

/// The call that builds the network.
fn torchvision_builder(model: &ModelConfig) -> Option<String> {
    let classes = model.classes;
    let name = plain_name(model);
    let convnext = |width: usize, depth: usize| {
        let stages = [2, 2, depth, 2].map(|blocks| blocks.to_string());
        let widths = [width, 2 * width, 4 * width, 8 * width].map(|width| width.to_string());
        format!(
            "convnext.ConvNeXt([torchvision.models.convnext.CNBlockConfig(*stage) for stage in \
             [({}, {}, {}), ({}, {}, {}), ({}, {}, {}), ({}, None, {})]], num_classes={classes})",
            widths[0],
            widths[1],
            stages[0],
            widths[1],
            widths[2],
            stages[1],
            widths[2],
            widths[3],
            stages[2],
            widths[3],
            stages[3],
        )
    };
    Some(match name {
        "resnext101_32x16d" => format!(
            "resnet.ResNet(torchvision.models.resnet.Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=16, \
             num_classes={classes})"
        ),
        "swin_l" => format!(
            "swin_transformer.SwinTransformer([4, 4], 192, [2, 2, 18, 2], [6, 12, 24, 48], [7, 7], \
             num_classes={classes})"
        ),
        "convnext_atto" => convnext(40, 6),
        "convnext_femto" => convnext(48, 6),
        "convnext_pico" => convnext(64, 6),
        "convnext_nano" => convnext(80, 8),
        "efficientnet_b8" | "efficientnet_v2_b0" => return None,
        name if name.starts_with("regnet") && !REGNETS.iter().any(|end| name.ends_with(end)) => {
            return None;
        }
        name => format!(
            "{name}(num_classes={classes}{})",
            width(model, "width_mult")
        ),
    })
}

/// The sizes of RegNets for which torchvision has functions.
const REGNETS: [&str; 5] = ["_400mf", "_800mf", "_1_6gf", "_3_2gf", "_8gf"];

/// The code for timm.
pub(super) fn timm(model: &ModelConfig, file: &Path) -> String {
    let name = timm_name(model);
    let is_efficientnet = name.contains("efficientnet");
    // Functions of these modules of timm take the padding, and the constants of batch normalisations.
    let takes_constants = is_efficientnet || name.contains("mobilenet");
    let tensorflow = match model.padding {
        Padding::Same if takes_constants => ", pad_type='same'",
        Padding::Symmetric if is_efficientnet => ", pad_type=''",
        _ => "",
    };
    let constants = match takes_constants {
        true => format!(", bn_eps={}", model.batch_norm_epsilon),
        false => String::new(),
    };
    let mut lines = vec![
        "import timm, torch, safetensors.torch".to_owned(),
        format!(
            "model = timm.create_model({name:?}, num_classes={}{}{constants}{tensorflow})",
            model.classes,
            width(model, "channel_multiplier")
        ),
    ];
    if !takes_constants && model.batch_norm_epsilon != 1e-5 {
        lines.extend(epsilon(model.batch_norm_epsilon));
    }
    stem(model, &mut lines);
    finish(lines, file)
}

/// timm's name of the network.
fn timm_name(model: &ModelConfig) -> String {
    let name = plain_name(model);
    let is_tensorflow = model.padding == Padding::Same;
    if let Some(size) = name.strip_prefix("regnet_") {
        return format!("regnet{}", regnet(size));
    }
    match name {
        "mobilenet_v3_large" => "mobilenetv3_large_100".to_owned(),
        "mobilenet_v3_small" => "mobilenetv3_small_100".to_owned(),
        "mobilenet_v2" => "mobilenetv2_100".to_owned(),
        "xception" => "legacy_xception".to_owned(),
        "swin_t" => "swin_tiny_patch4_window7_224".to_owned(),
        "swin_s" => "swin_small_patch4_window7_224".to_owned(),
        "swin_b" => "swin_base_patch4_window7_224".to_owned(),
        "swin_l" => "swin_large_patch4_window7_224".to_owned(),
        name if name.starts_with("efficientnet_v2") => {
            name.replace("efficientnet_v2", "tf_efficientnetv2")
        }
        "efficientnet_b8" => "tf_efficientnet_b8".to_owned(),
        name if is_tensorflow && name.starts_with("efficientnet") => format!("tf_{name}"),
        name => name.replace("se_resnext", "seresnext"),
    }
}

/// timm's kind and size of a RegNet, such as `x_004` for `x_400mf` and `y_016` for `y_1_6gf`.
fn regnet(size: &str) -> String {
    let (kind, size) = size.split_at(1);
    let tenths = match (size.strip_suffix("mf"), size.strip_suffix("gf")) {
        (Some(mega), _) => mega[1..].parse().map(|mega: usize| mega / 100),
        (None, Some(giga)) => match giga[1..].split_once('_') {
            Some((whole, tenth)) => format!("{whole}{tenth}").parse(),
            None => format!("{}0", &giga[1..]).parse(),
        },
        (None, None) => Ok(0),
    };
    format!("{kind}_{:03}", tenths.unwrap_or_default())
}

fn width(model: &ModelConfig, key: &str) -> String {
    match model.width {
        1.0 => String::new(),
        width => format!(", {key}={width}"),
    }
}

/// Lines that set the constant of every batch normalisation.
fn epsilon(epsilon: f64) -> [String; 2] {
    [
        "for layer in model.modules():".to_owned(),
        format!("    if isinstance(layer, torch.nn.BatchNorm2d): layer.eps = {epsilon}"),
    ]
}

/// Sets the stride of the first convolution, if it is not the published one.
fn stem(model: &ModelConfig, lines: &mut Vec<String>) {
    if model.stem_stride != 2 {
        let stride = model.stem_stride;
        lines.push(format!(
            "next(layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)).stride = ({stride}, {stride})"
        ));
    }
}

fn finish(mut lines: Vec<String>, file: &Path) -> String {
    lines.push(format!(
        "model.load_state_dict(safetensors.torch.load_file({:?}), strict=True)",
        file.display().to_string()
    ));
    format!("in Python\n    {}", lines.join("\n    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> ModelConfig {
        ModelConfig::new(name.parse().unwrap(), 7)
    }

    #[test]
    fn everything_but_the_default_is_said() {
        let model = ModelConfig {
            head: HeadKind::Linear,
            stem_stride: 1,
            width: 0.5,
            batch_norm_epsilon: 0.01,
            ..ModelConfig::new(Variant::SMALL, 7)
        };
        let text = torchvision(&model, Path::new("w.safetensors"));
        for part in [
            "mobilenet_v3_small(num_classes=7, width_mult=0.5)",
            "eps = 0.01",
            "model.classifier = ",
            "stride = (1, 1)",
            "load_file(\"w.safetensors\")",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = timm(&ModelConfig::new(Variant::V2, 7), Path::new("w"));
        assert!(
            text.contains("\"mobilenetv2_100\", num_classes=7, bn_eps=0.00001)"),
            "{text}"
        );
        let text = torchvision(&of("resnet50"), Path::new("w"));
        let lines = ["torchvision.models.resnet50(num_classes=7)", "load_state"];
        assert!(lines.iter().all(|line| text.contains(line)), "{text}");
        assert!(!text.contains("eps"), "{text}");
    }

    #[test]
    fn constants_are_said_where_the_project_has_others() {
        let with = |name: &str, padding, batch_norm_epsilon| ModelConfig {
            padding,
            batch_norm_epsilon,
            ..of(name)
        };
        for (name, epsilon, said) in [
            ("adv-efficientnet_b0", 1e-3, true),
            ("adv-efficientnet_b0", 1e-5, false),
            ("adv-efficientnet_b7", 1e-3, false),
            ("adv-efficientnet_b7", 1e-5, true),
            ("efficientnet_v2_s", 1e-3, false),
            ("mobilenet_v3_small", 1e-3, false),
        ] {
            let model = with(name, Padding::Symmetric, epsilon);
            let text = torchvision(&model, Path::new("w"));
            assert_eq!(text.contains("eps = "), said, "{name}, {epsilon}: {text}");
        }
        for (name, said) in [
            ("efficientnet_b0", true),
            ("mobilenet_v2", true),
            ("resnet18", false),
        ] {
            let text = timm(&with(name, Padding::Same, 1e-5), Path::new("w"));
            assert_eq!(text.contains("pad_type='same'"), said, "{text}");
        }
    }

    #[test]
    fn every_network_has_the_name_of_its_project() {
        for (ours, theirs) in [
            ("regnet_x_400mf", "regnetx_004"),
            ("regnet_y_1_6gf", "regnety_016"),
            ("regnet_y_8gf", "regnety_080"),
            ("se_resnext50_32x4d", "seresnext50_32x4d"),
            ("swin_t", "swin_tiny_patch4_window7_224"),
            ("efficientnet_v2_b0", "tf_efficientnetv2_b0"),
            ("adv-efficientnet_b2", "tf_efficientnet_b2"),
            ("efficientnet_b2", "efficientnet_b2"),
            ("xception", "legacy_xception"),
        ] {
            let text = timm(&of(ours), Path::new("w"));
            assert!(text.contains(&format!("{theirs:?}")), "{ours}: {text}");
        }
        for (ours, theirs) in [
            (
                "adv-efficientnet_b2",
                "models.efficientnet_b2(num_classes=7)",
            ),
            ("swin_l", "SwinTransformer("),
            ("convnext_atto", "(40, 80, 2)"),
            ("regnet_x_600mf", "has no function"),
        ] {
            let text = torchvision(&of(ours), Path::new("w"));
            assert!(text.contains(theirs), "{ours}: {text}");
        }
    }
}
