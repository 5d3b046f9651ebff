//! Framing, orientation and normalisation: the settings of `[data]` that weights files also contain. This module
//! replaces their `"auto"` by values.

use mnist_data::{DatasetName, DecodeOptions, DiskCache, Fit, Framing, ImageSize, Orientation};
use mobilenet::ModelName;
use mobilenet::weights::{self, Normalisation, WeightsMetadata};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{DataConfig, DataSource, RunConfig};
use crate::{Result, disk_cache};

/// Mean and standard deviation of MNIST.
pub(crate) const MNIST: Normalisation = Normalisation {
    mean: [0.1307; 3],
    std: [0.3081; 3],
};

/// Mean and standard deviation of Fashion-MNIST.
const FASHION_MNIST: Normalisation = Normalisation {
    mean: [0.286; 3],
    std: [0.353; 3],
};

/// The default orientation: images are turned upright.
pub(super) const ORIENTATION: Orientation = Orientation::Apply;

/// Mean and standard deviation of the pixels. `None` means `"auto"`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NormalisationChoice {
    /// Mean per channel of pixels scaled to 0..1.
    pub mean: Option<[f32; 3]>,
    /// Standard deviation per channel.
    pub std: Option<[f32; 3]>,
}

impl NormalisationChoice {
    fn is_complete(&self) -> bool {
        self.mean.is_some() && self.std.is_some()
    }

    /// These values, with `auto` in place of missing ones.
    fn over(&self, auto: Normalisation) -> Normalisation {
        Normalisation {
            mean: self.mean.unwrap_or(auto.mean),
            std: self.std.unwrap_or(auto.std),
        }
    }
}

impl From<Normalisation> for NormalisationChoice {
    fn from(Normalisation { mean, std }: Normalisation) -> Self {
        Self {
            mean: Some(mean),
            std: Some(std),
        }
    }
}

/// The serialised form: `"auto"`, or a table of the values that are set.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    Table(Figures),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figures {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mean: Option<[f32; 3]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    std: Option<[f32; 3]>,
}

impl Serialize for NormalisationChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Self { mean, std } = *self;
        match (mean, std) {
            (None, None) => Written::Word("auto".to_owned()),
            _ => Written::Table(Figures { mean, std }),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NormalisationChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Table(Figures { mean, std }) => Ok(Self { mean, std }),
            Written::Word(word) if word == "auto" => Ok(Self::default()),
            Written::Word(_) => Err(D::Error::custom(
                "expected \"auto\", or a table with mean and std",
            )),
        }
    }
}

impl DataSource {
    /// The default mean and standard deviation of this source; for a folder or CSV files ImageNet's, or those of the
    /// network's published weights, if the network is given.
    fn normalisation(self, network: Option<ModelName>) -> Normalisation {
        match (self, self.dataset()) {
            (_, Some(DatasetName::FashionMnist)) => FASHION_MNIST,
            (Self::Mnist | Self::FashionMnist | Self::Idx, _) => MNIST,
            (Self::Folder | Self::Csv, _) => match network {
                Some(ModelName::MobileNet(variant)) => variant.normalisation(),
                _ => Normalisation::IMAGENET,
            },
        }
    }
}

impl DataConfig {
    /// How images are fitted to `image_size`. `"auto"` gives the defaults without pretrained weights: squash, 0.875 and
    /// bilinear.
    pub fn framing(&self) -> Framing {
        let auto = Framing::default();
        let framing = Framing {
            fit: self.fit.unwrap_or(auto.fit),
            crop_pct: self.crop_pct.unwrap_or(auto.crop_pct),
            interpolation: self.interpolation.unwrap_or(auto.interpolation),
        };
        framing.normal()
    }

    /// Mean and standard deviation of the pixels. `"auto"` gives the defaults without pretrained weights: the source's
    /// values.
    pub fn normalisation(&self) -> Normalisation {
        self.normalisation.over(self.source.normalisation(None))
    }

    /// The options for decoding images.
    pub fn decode_options(&self) -> DecodeOptions {
        DecodeOptions {
            decoding: self.decode,
            truncated: self.truncated_images,
            orientation: self.orientation,
            ..DecodeOptions::default()
        }
    }

    /// The cache file for the decoded images of a split, if caching on disk is on. Each combination of
    /// image size, framing and decoding options has its own file, in a folder that image listings skip.
    pub fn disk_cache(
        &self,
        split: &str,
        image_size: ImageSize,
        framing: Framing,
    ) -> Option<DiskCache> {
        let decode = self.decode_options();
        (self.disk_cache_mb > 0).then(|| DiskCache {
            path: disk_cache::path(&self.folder(), split, image_size, framing, decode),
            max_bytes: self.disk_cache_mb.saturating_mul(1 << 20),
            read_only: false,
        })
    }
}

impl RunConfig {
    /// The same configuration with `"auto"` replaced in [`framing`](DataConfig::framing) and
    /// [`normalisation`](DataConfig::normalisation). The values are those of `model.pretrained`; if that
    /// file lacks metadata, the normalisation is that of the network's published weights, mostly ImageNet's. A run does this once, before it begins.
    ///
    /// # Errors
    ///
    /// If the weights file cannot be read.
    pub fn settled(&self) -> Result<Self> {
        let mut settled = self.clone();
        let data = &mut settled.data;
        let pretrained = self.model.pretrained.as_deref();
        let is_open = data.fit.is_none()
            || data.crop_pct.is_none()
            || data.interpolation.is_none()
            || !data.normalisation.is_complete();
        let file = match pretrained.filter(|_| is_open) {
            Some(path) => weights::describe(path)?,
            None => None,
        };
        let own = file
            .as_ref()
            .map_or_else(Framing::default, |file| file.framing);
        let fit = *data.fit.get_or_insert(own.fit);
        let share = match fit {
            Fit::Crop => own.crop_pct,
            Fit::Squash | Fit::Letterbox => Framing::CROP_PCT,
        };
        data.crop_pct.get_or_insert(share);
        data.interpolation.get_or_insert(own.interpolation);
        let figures = |file: &WeightsMetadata| file.normalisation;
        let source = || match pretrained {
            Some(_) => DataSource::Folder.normalisation(Some(self.model.name)),
            None => self.data.source.normalisation(Some(self.model.name)),
        };
        let auto = file.as_ref().map_or_else(source, figures);
        data.normalisation = data.normalisation.over(auto).into();
        Ok(settled)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use mnist_data::Interpolation;
    use mobilenet::{ClassOrder, ModelConfig, Network, Variant};

    use super::*;

    fn settled(text: &str) -> DataConfig {
        let config = RunConfig::from_toml(text, "a.toml").unwrap();
        let settled = config.settled().unwrap();
        // The configuration that a run writes has no `"auto"` left, so it does not depend on the weights file.
        let written = toml::to_string(&settled).unwrap();
        let again = RunConfig::from_toml(&written, "config.toml").unwrap();
        assert_eq!(again.settled().unwrap(), settled);
        settled.data
    }

    #[test]
    fn without_weights_the_source_decides() {
        for (source, expected) in [
            ("source = 'mnist'", MNIST),
            ("source = 'idx', idx_dir = 'x'", MNIST),
            ("source = 'fashion-mnist'", FASHION_MNIST),
            ("source = 'folder', root = 'x'", Normalisation::IMAGENET),
            ("source = 'csv', root = 'x'", Normalisation::IMAGENET),
        ] {
            let data = settled(&format!("data = {{ {source} }}"));
            assert_eq!(data.normalisation, expected.into(), "{source}");
            assert_eq!(data.framing(), Framing::default(), "{source}");
        }
        let data = settled("data = { fit = 'crop', crop_pct = 1, interpolation = 'bicubic' }");
        assert_eq!(data.framing().to_string(), "crop 1, bicubic");
        let given = "data.normalisation = { mean = [0, 0, 0], std = [1, 1, 1] }";
        assert_eq!(settled(given).normalisation().std, [1.0; 3]);
        let half = settled("data = { source = 'folder', root = 'x' }\nmodel.name = 'xception'");
        assert_eq!(half.normalisation(), Normalisation::HALF);
        // If only mean or standard deviation is set, the other one stays automatic.
        let mean = "data = { source = 'folder', root = 'x', normalisation = { mean = [0, 0, 0] } }";
        let found = settled(mean).normalisation();
        assert_eq!(
            (found.mean, found.std),
            ([0.0; 3], Normalisation::IMAGENET.std)
        );
    }

    #[test]
    fn a_weights_file_brings_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let model = ModelConfig {
            width: 0.25,
            ..ModelConfig::new(Variant::SMALL, 2)
        };
        let network = Network::new(&model, 1, &Device::Cpu).unwrap();
        let half = Normalisation {
            mean: [0.5; 3],
            std: [0.25; 3],
        };
        let metadata = WeightsMetadata {
            model: model.into(),
            class_names: ["a", "b"].map(str::to_owned).to_vec(),
            class_order: ClassOrder::Named,
            image_size: ImageSize::square(64),
            framing: Framing {
                crop_pct: 0.95,
                ..Framing::TIMM
            },
            orientation: Orientation::Ignore,
            normalisation: half,
            epoch: None,
            score: None,
            temperature: None,
            training: None,
        };
        weights::save(&path, &network, &metadata).unwrap();
        let from = |more: &str| {
            let path = path.display();
            settled(&format!("model.pretrained = '{path}'\n[data]\n{more}"))
        };
        let data = from("");
        assert_eq!(data.framing(), metadata.framing);
        assert_eq!(data.normalisation(), half);
        let data = from("fit = 'squash'\nnormalisation = { mean = [0, 0, 0], std = [1, 1, 1] }");
        let framing = data.framing();
        assert_eq!(
            (framing.fit, framing.interpolation),
            (Fit::Squash, Interpolation::Bicubic)
        );
        assert_eq!(data.normalisation().mean, [0.0; 3]);

        // Weights files of other projects have no metadata.
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let data = from("");
        assert_eq!(data.framing(), Framing::default());
        assert_eq!(data.normalisation(), Normalisation::IMAGENET);
    }
}
