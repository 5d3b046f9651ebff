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

/// Beginnings of the names of networks that are not offered, with `_` for `-`, and the nearest network.
const NOT_OFFERED: &[(&str, &str)] = &[
    ("micronet", "shufflenet_v2_x0_5"),
    ("mobileformer", "mobilenet_v3_large"),
    ("mobile_former", "mobilenet_v3_large"),
    ("eca_nfnet_l0", "resnet50"),
    ("resnest50d", "resnet50"),
    ("resnest", "resnet101"),
    ("convnext_xlarge", "convnext_large"),
    ("convnextv2_atto", "convnext_atto"),
    ("convnextv2_femto", "convnext_femto"),
    ("convnextv2_pico", "convnext_pico"),
    ("convnextv2_nano", "convnext_nano"),
    ("convnextv2_small", "convnext_small"),
    ("convnextv2_base", "convnext_base"),
    ("convnextv2_large", "convnext_large"),
    ("convnextv2", "convnext_tiny"),
    ("swinv2_small", "swin_s"),
    ("swinv2_base", "swin_b"),
    ("swinv2_large", "swin_l"),
    ("swinv2", "swin_t"),
    ("shufflenetv2", "shufflenet_v2_x1_0"),
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

/// Swin transformers by their size.
const SWINS: [(&str, &str); 4] = [
    ("swin_tiny", "swin_t"),
    ("swin_small", "swin_s"),
    ("swin_base", "swin_b"),
    ("swin_large", "swin_l"),
];

/// Words of a Swin's name that describe all of ours.
const OUR_WINDOWS: [&str; 2] = ["patch4", "window7"];

/// Words for the training of published weights, behind the network's name. `ap` is AdvProp.
const TRAININGS: [&str; 11] = [
    "ns", "ap", "aa", "1k", "22k", "22kto1k", "in1k", "in21k", "in22k", "in21ft1k", "in22ft1k",
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
    let instead = |ours: &str, remark: String| Found {
        remark: Some(remark),
        ..same(ours)
    };
    if let Some((_, ours)) = NAMES.iter().find(|(theirs, _)| *theirs == plain) {
        return Ok(same(ours));
    }
    if let Some(ours) = spelled(&plain) {
        return Ok(same(&ours));
    }
    if let Some((_, ours)) = UNBUILT.iter().find(|(theirs, _)| *theirs == plain) {
        let remark = format!("its project builds no network of this name; here it is {ours}");
        return Ok(instead(ours, remark));
    }
    let words = plain.replace('-', "_");
    let begins = |(theirs, _): &&(&str, &str)| words.starts_with(theirs);
    let near = NOT_OFFERED.iter().find(begins);
    let near = near.map(|(_, ours)| (*ours).to_owned());
    if let Some(ours) = near.or_else(|| sized(&plain).map(|(ours, _)| ours)) {
        let remark =
            format!("this network is not offered; the nearest is {ours}, which stands here");
        return Ok(instead(&ours, remark));
    }
    match plain.parse::<mobilenet::ModelName>() {
        Ok(ours) => Ok(same(&ours.to_string())),
        Err(known) => Err(format!(
            "expected a network of its project, such as mobilenetv3, or one that `classify models` lists: {known}"
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
        // Microsoft's and timm's: swin_small_patch4_window7_224.
        match sized(name) {
            Some((ours, true)) => ours,
            _ => String::new(),
        },
        name.replace("shufflenetv2", "shufflenet_v2")
            .replace('.', "_"),
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
    // The training of the weights follows the name, in newer names behind a dot.
    let (name, training) = name.split_once('.').unwrap_or((name.as_str(), ""));
    let words: Vec<&str> = name.split('_').collect();
    let is_training = |word: &&str| TRAININGS.contains(word);
    let end = words.iter().position(is_training).unwrap_or(words.len());
    let (network, trainings) = words.split_at(end);
    let mut trainings = trainings.iter().copied().chain(training.split('_'));
    match trainings.any(|word| word == "ap") {
        true => format!("adv-{}", network.join("_")),
        false => network.join("_"),
    }
}

/// The Swin or ConvNeXt of the size in this name, and whether the name asks for nothing else, such as other windows.
fn sized(name: &str) -> Option<(String, bool)> {
    // timm's words for the training follow a dot.
    let name = name.split('.').next().unwrap_or(name);
    let mut words = name.split(['_', '-']);
    let theirs = format!("{}_{}", words.next()?, words.next()?);
    let ours = match SWINS.iter().find(|(swin, _)| *swin == theirs) {
        Some((_, ours)) => (*ours).to_owned(),
        None if theirs.starts_with("convnext_") => theirs,
        None => return None,
    };
    // A number is the size of the images.
    let is_usual = |word: &str| {
        OUR_WINDOWS.contains(&word) || TRAININGS.contains(&word) || word.parse::<u32>().is_ok()
    };
    let is_known = ours.parse::<Variant>().is_ok();
    is_known.then(|| (ours, words.all(is_usual)))
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
            ("tf_efficientnet_b4_ap", "adv-efficientnet_b4"),
            ("tf_efficientnet_b4.ap_in1k", "adv-efficientnet_b4"),
            ("tf_efficientnet_b4.ns_jft_in1k", "efficientnet_b4"),
            ("tf_efficientnetv2_s_in21ft1k", "efficientnet_v2_s"),
            ("shufflenetv2_x0_5", "shufflenet_v2_x0_5"),
            ("shufflenetv2_x1_0", "shufflenet_v2_x1_0"),
            ("shufflenetv2_x1_5", "shufflenet_v2_x1_5"),
            ("ShuffleNetV2_x2.0", "shufflenet_v2_x2_0"),
            ("swin_large_patch4_window7_224.ms_in22k", "swin_l"),
            ("swin_base_patch4_window7_224_22kto1k", "swin_b"),
            ("convnext_tiny_22k_1k_384", "convnext_tiny"),
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
            ("swinv2_tiny_window8_256", "swin_t"),
            ("swinv2-base_window16_256", "swin_b"),
            ("swin_base_patch4_window12_384", "swin_b"),
            ("swin_large_patch4_window12_384.ms_in22k", "swin_l"),
            ("convnext_xlarge", "convnext_large"),
            ("convnext_atto_ols", "convnext_atto"),
            ("shufflenetv2_x3_0", "shufflenet_v2_x1_0"),
            ("mobile-former-508", "mobilenet_v3_large"),
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
        // No part of a word counts as a size.
        for name in ["vgg16", "swin_s3_tiny_224", "convnext_smallish"] {
            let problem = network(name).err().unwrap();
            assert!(problem.contains("nearest"), "{name}: {problem}");
        }
    }
}
