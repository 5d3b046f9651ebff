//! Python code that builds the network for an exported file.

use std::path::Path;

use mobilenet::{HeadKind, ModelConfig, Padding, Variant};

/// The code for torchvision.
pub(super) fn torchvision(model: &ModelConfig, file: &Path) -> String {
    let epsilon = model.batch_norm_epsilon;
    let mut lines = vec![
        "import torch, torchvision, safetensors.torch".to_owned(),
        format!(
            "model = torchvision.models.{}(num_classes={}{}, \
             norm_layer=lambda channels: torch.nn.BatchNorm2d(channels, eps={epsilon}))",
            model.name,
            model.classes,
            width(model, "width_mult")
        ),
    ];
    if model.head == HeadKind::Linear && model.name != Variant::V2 {
        lines.push(format!(
            "model.classifier = torch.nn.Sequential(torch.nn.Dropout({}), \
             torch.nn.Linear(model.classifier[0].in_features, {}))",
            model.dropout, model.classes
        ));
    }
    if model.stem_stride != 2 {
        let stride = model.stem_stride;
        lines.push(format!(
            "model.features[0][0].stride = ({stride}, {stride})"
        ));
    }
    if model.padding == Padding::Same {
        lines.push("# and TensorFlow's padding, which torchvision does not have".to_owned());
    }
    finish(lines, file)
}

/// The code for timm.
pub(super) fn timm(model: &ModelConfig, file: &Path) -> String {
    let base = match model.name {
        Variant::Large => "mobilenetv3_large_100",
        Variant::Small => "mobilenetv3_small_100",
        Variant::V2 => "mobilenetv2_100",
    };
    let tensorflow = match model.padding {
        Padding::Same => ", pad_type='same'",
        Padding::Symmetric => "",
    };
    let epsilon = model.batch_norm_epsilon;
    let mut lines = vec![
        "import timm, safetensors.torch".to_owned(),
        format!(
            "model = timm.create_model({base:?}, num_classes={}{}, bn_eps={epsilon}{tensorflow})",
            model.classes,
            width(model, "channel_multiplier")
        ),
    ];
    if model.stem_stride != 2 {
        let stride = model.stem_stride;
        lines.push(format!("model.conv_stem.stride = ({stride}, {stride})"));
    }
    finish(lines, file)
}

fn width(model: &ModelConfig, key: &str) -> String {
    match model.width {
        1.0 => String::new(),
        width => format!(", {key}={width}"),
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

    #[test]
    fn everything_but_the_default_is_said() {
        let model = ModelConfig {
            head: HeadKind::Linear,
            stem_stride: 1,
            width: 0.5,
            ..ModelConfig::new(Variant::Small, 7)
        };
        let text = torchvision(&model, Path::new("w.safetensors"));
        for part in [
            "mobilenet_v3_small(num_classes=7, width_mult=0.5",
            "eps=0.001",
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
    }
}
