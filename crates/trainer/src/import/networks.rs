//! The reference projects' names of networks.

use mobilenet::Variant;

/// A network of ours for a name of theirs.
pub(super) struct Found {
    pub(super) ours: String,
    /// A remark, if it is not the same network.
    pub(super) remark: Option<String>,
}

/// Names that stand for one network.
const NAMES: &[(&str, &str)] = &[
    ("mobilenetv2", "mobilenet_v2"),
    ("mobilenetv3", "mobilenet_v3_large"),
    ("shufflenetv2", "shufflenet_v2_x1_0"),
    // These two projects have one network behind each of these words.
    ("densenet", "densenet121"),
    ("efficientnet_auto_augment", "efficientnet_b7"),
    ("efficientnet_advprop", "adv-efficientnet_b7"),
    ("resnext101_32x8d_wsl", "resnext101_32x8d"),
    ("resnext101_32x16d_wsl", "resnext101_32x16d"),
];

/// Names whose project lists them, but builds no network.
const UNBUILT: &[(&str, &str)] = &[
    ("swin", "swin_t"),
    ("convnext", "convnext_tiny"),
    ("resnext", "resnext50_32x4d"),
    ("regnet", "regnet_y_400mf"),
];

/// Beginnings of the names of networks that are not offered, with the nearest network.
const NOT_OFFERED: &[(&str, &str)] = &[
    ("micronet", "shufflenet_v2_x0_5"),
    ("mobileformer", "mobilenet_v3_large"),
    ("mobile-former", "mobilenet_v3_large"),
    ("eca_nfnet_l0", "resnet50"),
    ("resnest50d", "resnet50"),
    ("resnest", "resnet101"),
    ("convnextv2_atto", "convnext_atto"),
    ("convnextv2_femto", "convnext_femto"),
    ("convnextv2_pico", "convnext_pico"),
    ("convnextv2_nano", "convnext_nano"),
    ("convnextv2_small", "convnext_small"),
    ("convnextv2_base", "convnext_base"),
    ("convnextv2_large", "convnext_large"),
    ("convnextv2", "convnext_tiny"),
    // Its project builds the extra large network.
    ("efficientnet_v2", "efficientnet_v2_s"),
    ("resnext101_32x4d", "resnext101_32x8d"),
    ("resnext101_64x4d", "resnext101_32x16d"),
    ("resnext101_32x", "resnext101_32x16d"),
    ("fbresnet152", "resnet152"),
    ("cafferesnet101", "resnet101"),
    ("se_resnet50", "se_resnext50_32x4d"),
    ("se_resnet101", "se_resnext101_32x4d"),
    ("se_resnet152", "se_resnext101_32x4d"),
    ("senet154", "se_resnext101_32x4d"),
    ("densenet161", "densenet201"),
    ("mobilevit", "mobilenetv4_conv_small"),
    ("vit_tiny", "swin_t"),
];

/// Our network for a name of theirs.
///
/// The error lists the nearest names.
pub(super) fn network(name: &str) -> Result<Found, String> {
    let plain = name.to_lowercase();
    let same = |ours: &str| Found {
        ours: ours.to_owned(),
        remark: None,
    };
    if let Some((_, ours)) = NAMES.iter().find(|(theirs, _)| *theirs == plain) {
        return Ok(same(ours));
    }
    if let Some(ours) = spelled(&plain) {
        return Ok(same(&ours));
    }
    if let Some((_, ours)) = UNBUILT.iter().find(|(theirs, _)| *theirs == plain) {
        let remark = format!("its project builds no network of this name; here it is {ours}");
        return Ok(Found {
            remark: Some(remark),
            ..same(ours)
        });
    }
    let begins = |(theirs, _): &&(&str, &str)| plain.starts_with(theirs);
    if let Some((_, ours)) = NOT_OFFERED.iter().find(begins) {
        let remark =
            format!("this network is not offered; the nearest is {ours}, which stands here");
        return Ok(Found {
            remark: Some(remark),
            ..same(ours)
        });
    }
    match plain.parse::<mobilenet::ModelName>() {
        Ok(ours) => Ok(same(&ours.to_string())),
        Err(known) => Err(format!(
            "expected mobilenetv3, mobilenetv2 or one of ours: {known}"
        )),
    }
}

/// A name that only another spelling separates from ours.
fn spelled(name: &str) -> Option<String> {
    let candidates = [
        name.replace("efficientnet-b", "efficientnet_b"),
        // pycls: EN-B2, RegNetX-1.6GF.
        name.replace("en-b", "efficientnet_b"),
        pycls(name),
        // timm: tf_efficientnet_b4_ns, tf_efficientnetv2_b0.
        timm(name),
        // Microsoft's and timm's: swin_small_patch4_window7_224; the first project looks for the size in the name.
        sized(
            name,
            "swin",
            &[("tiny", "t"), ("small", "s"), ("base", "b"), ("large", "l")],
        ),
        sized(
            name,
            "convnext",
            &[
                "atto", "femto", "pico", "nano", "tiny", "small", "base", "large",
            ]
            .map(|s| (s, s)),
        ),
        match name.contains("shufflenetv2") {
            true => "shufflenet_v2_x1_0".to_owned(),
            false => String::new(),
        },
    ];
    let mut known = candidates
        .into_iter()
        .filter(|name| name.parse::<Variant>().is_ok());
    known.next()
}

/// pycls' names of RegNets: `RegNetX-400MF`, `RegNetY-1.6GF`, `RegNetX-4.0GF`.
fn pycls(name: &str) -> String {
    let short = name.replace(".0gf", "gf").replace(['-', '.'], "_");
    let kinds = [("regnetx", "regnet_x"), ("regnety", "regnet_y")];
    kinds
        .iter()
        .fold(short, |name, (theirs, ours)| name.replace(theirs, ours))
}

fn timm(name: &str) -> String {
    let name = name.strip_prefix("tf_").unwrap_or(name);
    let name = name.replace("efficientnetv2", "efficientnet_v2");
    let name = name
        .replace("seresnext", "se_resnext")
        .replace("legacy_", "");
    // The training of the weights follows the name.
    let ends = ["_ns", "_ap", "_aa", "_in1k", "_in21k", "_in21ft1k"];
    let end = ends.iter().filter_map(|end| name.find(end)).min();
    let name = &name[..end.unwrap_or(name.len())];
    name.split('.').next().unwrap_or(name).to_owned()
}

/// The network of a family with the first of these words in its name.
fn sized(name: &str, family: &str, sizes: &[(&str, &str)]) -> String {
    if !name.starts_with(family) || name.starts_with("convnextv2") {
        return String::new();
    }
    let size = sizes.iter().find(|(theirs, _)| name.contains(theirs));
    size.map_or_else(String::new, |(_, ours)| format!("{family}_{ours}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name in the configurations and factories of github.com/fire717/FireClassification and
    /// github.com/wuya11/easy-classification, and of the networks that their articles use.
    #[test]
    fn every_name_of_the_projects_has_a_network() {
        for (theirs, ours) in [
            ("mobilenetv2", "mobilenet_v2"),
            ("mobilenetv3", "mobilenet_v3_large"),
            ("shufflenetv2", "shufflenet_v2_x1_0"),
            ("efficientnet-b0", "efficientnet_b0"),
            ("efficientnet-b8", "efficientnet_b8"),
            ("adv-efficientnet-b2", "adv-efficientnet_b2"),
            ("EN-B3", "efficientnet_b3"),
            ("RegNetX-400MF", "regnet_x_400mf"),
            ("RegNetY-1.6GF", "regnet_y_1_6gf"),
            ("RegNetX-4.0GF", "regnet_x_4gf"),
            ("resnet18", "resnet18"),
            ("resnet50", "resnet50"),
            ("resnet152", "resnet152"),
            ("se_resnext50_32x4d", "se_resnext50_32x4d"),
            ("se_resnext101_32x4d", "se_resnext101_32x4d"),
            ("resnext101_32x8d_wsl", "resnext101_32x8d"),
            ("resnext101_32x16d_wsl", "resnext101_32x16d"),
            ("xception", "xception"),
            ("densenet", "densenet121"),
            ("densenet121", "densenet121"),
            ("swin_tiny_patch4_window7_224", "swin_t"),
            ("swin-base", "swin_b"),
            ("swin_large", "swin_l"),
            ("convnext_small", "convnext_small"),
            ("convnext-large", "convnext_large"),
            ("efficientnet_auto_augment", "efficientnet_b7"),
            ("efficientnet_advprop", "adv-efficientnet_b7"),
            ("tf_efficientnet_b4_ns", "efficientnet_b4"),
            ("tf_efficientnetv2_b0", "efficientnet_v2_b0"),
            ("efficientnet_v2_s", "efficientnet_v2_s"),
            ("legacy_seresnext50_32x4d", "se_resnext50_32x4d"),
        ] {
            let found = network(theirs).unwrap_or_else(|problem| panic!("{theirs}: {problem}"));
            assert_eq!(
                (found.ours.as_str(), found.remark),
                (ours, None),
                "{theirs}"
            );
        }
    }

    #[test]
    fn networks_that_are_not_offered_are_named_with_the_nearest() {
        for (theirs, ours) in [
            ("micronet-m3", "shufflenet_v2_x0_5"),
            ("mobileformer-508", "mobilenet_v3_large"),
            ("eca_nfnet_l0", "resnet50"),
            ("convnextv2_nano", "convnext_nano"),
            ("resnest50d", "resnet50"),
            ("efficientnet_v2", "efficientnet_v2_s"),
            ("se_resnet50", "se_resnext50_32x4d"),
            ("swin", "swin_t"),
            ("RegNet", "regnet_y_400mf"),
        ] {
            let found = network(theirs).unwrap_or_else(|problem| panic!("{theirs}: {problem}"));
            let remark = found.remark.unwrap_or_default();
            assert!(
                found.ours == ours && remark.contains(ours),
                "{theirs}: {remark}"
            );
        }
        for (_, ours) in NAMES.iter().chain(UNBUILT).chain(NOT_OFFERED) {
            assert!(ours.parse::<Variant>().is_ok(), "{ours}");
        }
        let problem = network("vgg16").err().unwrap();
        assert!(problem.contains("nearest"), "{problem}");
    }
}
