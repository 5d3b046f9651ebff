//! The settings for a folder of photos.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use mnist_data::ImageSizes;
use mobilenet::{ModelConfig, ModelName};
use toml::Value;

use crate::config::{ConfigError, Layer};

/// The image size for measuring the speed, in pixels per side.
pub(super) const REFERENCE_SIZE: u32 = 96;
/// The image sizes to choose from besides the network's own, in pixels per side.
const SIZES: [u32; 6] = [64, 96, 128, 160, 192, 224];
/// Photos are enlarged at most by this factor. Pretrained networks gain from enlarged small photos, up to a point.
const MAX_ENLARGEMENT: u32 = 3;
/// Number of training images over all epochs of a run, if there is time.
const SHOWN: usize = 24_000;
/// The same without pretrained weights, since such a network learns more slowly.
const SHOWN_FROM_SCRATCH: usize = 60_000;
/// The fewest and the most epochs.
const EPOCHS: (usize, usize) = (6, 20);
const EPOCHS_FROM_SCRATCH: (usize, usize) = (12, 60);
/// The default time of a run in seconds: a base, and an addition for each training image.
const BASE_SECONDS: f64 = 100.0;
const SECONDS_AN_IMAGE: f64 = 0.025;
/// A run's time in multiples of its training steps' time: validation, checkpoints and decoding come on top.
const OVERHEAD: f64 = 1.2;
/// Share of a time budget for training; the rest is for surveying the images and for the test.
const TRAINING_SHARE: f64 = 0.8;
/// The largest drop path for training from pretrained weights. That of training on ImageNet is too strong for a few
/// epochs.
const FINE_TUNING_DROP_PATH: f64 = 0.1;
/// Classes count as balanced if the largest one has at most this many times the images of the smallest.
const BALANCED: usize = 3;

/// The input of the choice: properties of the images, the network, the speed and the time.
#[derive(Clone, Debug)]
pub struct Photos {
    /// The network to train.
    pub model: ModelName,
    /// Number of training images.
    pub train_images: usize,
    /// Number of images of each class.
    pub class_counts: Vec<usize>,
    /// Their sides, if they are known.
    pub sizes: Option<ImageSizes>,
    /// The pretrained weights, if there are any.
    pub pretrained: Option<PathBuf>,
    /// Seconds of a training step for one image of 96 × 96 pixels ([`training_speed`](super::training_speed)).
    pub seconds_an_image: Option<f64>,
    /// The time budget of the whole run.
    pub budget: Option<Duration>,
    /// The image size in pixels a side, if it is set.
    pub image_size: Option<u32>,
    /// The number of epochs, if it is set.
    pub epochs: Option<usize>,
}

/// The chosen settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Image size, in pixels per side.
    pub image_size: u32,
    /// Passes over the training images.
    pub epochs: usize,
    /// Epochs at the beginning in which only the head learns.
    pub freeze_epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// Whether the time budget is too short for the shortest useful run.
    pub is_rushed: bool,
    /// The estimated time of the whole run, in seconds; 0 if the speed is unknown.
    pub seconds: f64,
    pretrained: Option<PathBuf>,
    model: ModelName,
    is_balanced: bool,
}

impl Photos {
    /// Chooses the settings. The image size is the largest one for which the fewest useful epochs fit into the time.
    /// Then the number of epochs is the largest that fits. Without a budget, a slow network gets the time for the fewest
    /// useful epochs of images of 96 pixels.
    #[must_use]
    pub fn recipe(&self) -> Recipe {
        let images = self.train_images.max(1);
        let (shown, (fewest, most)) = match self.pretrained {
            Some(_) => (SHOWN, EPOCHS),
            None => (SHOWN_FROM_SCRATCH, EPOCHS_FROM_SCRATCH),
        };
        let wanted = shown.div_ceil(images).clamp(fewest, most);
        let fewest = self.epochs.unwrap_or((wanted / 2).max(fewest));
        let epoch = |size: u32| self.epoch_seconds(size);
        let sizes = self.useful_sizes();
        let seconds = match self.budget {
            Some(budget) => budget.as_secs_f64() * TRAINING_SHARE,
            None => {
                let small = sizes.iter().copied().rfind(|&size| size <= REFERENCE_SIZE);
                let size = self.image_size.or(small).unwrap_or(sizes[0]);
                let usual = BASE_SECONDS + SECONDS_AN_IMAGE * images as f64;
                usual.max(epoch(size) * fewest as f64)
            }
        };
        let fits = |&size: &u32| epoch(size) * fewest as f64 <= seconds;
        let size = sizes.iter().copied().rev().find(fits);
        let image_size = self.image_size.or(size).unwrap_or(sizes[0]);
        // The factor covers rounding, where the time is a number of epochs.
        let fitting = (1.000_001 * seconds / epoch(image_size).max(f64::MIN_POSITIVE)) as usize;
        // With a budget, a small set is shown more often than it has to be.
        let most = if self.budget.is_some() { most } else { wanted };
        let epochs = self.epochs.unwrap_or(fitting.clamp(1, most));
        let needed = epoch(image_size) * epochs as f64 / TRAINING_SHARE;
        let is_zoo = matches!(self.model, ModelName::Zoo(_));
        let frozen = self.pretrained.is_some() && !is_zoo && epochs > 2;
        Recipe {
            image_size,
            epochs,
            freeze_epochs: usize::from(frozen),
            batch_size: batch_size(images),
            is_rushed: epochs < fewest,
            seconds: needed,
            pretrained: self.pretrained.clone(),
            model: self.model,
            is_balanced: self.is_balanced(),
        }
    }

    /// The estimated time of an epoch.
    fn epoch_seconds(&self, size: u32) -> f64 {
        let scale = (f64::from(size) / f64::from(REFERENCE_SIZE)).powi(2);
        let images = self.train_images.max(1) as f64;
        self.seconds_an_image.unwrap_or(0.0) * scale * images * OVERHEAD
    }

    /// The sizes, in rising order, up to that of the network's published weights and the largest that is useful for
    /// these photos; at least one.
    fn useful_sizes(&self) -> Vec<u32> {
        let side = self.sizes.map_or(u32::MAX, |sizes| sizes.shorter_side);
        let own = match self.model {
            ModelName::MobileNet(variant) => variant.image_size(),
            ModelName::Zoo(backbone) => backbone.image_size() as u32,
        };
        let smaller = SIZES.into_iter().filter(|&size| size < own);
        let largest = side.saturating_mul(MAX_ENLARGEMENT);
        let mut sizes: Vec<u32> = smaller.chain([own]).collect();
        let count = sizes.iter().filter(|&&size| size <= largest).count();
        sizes.truncate(count.max(1));
        sizes
    }

    fn is_balanced(&self) -> bool {
        let counts = || self.class_counts.iter().filter(|&&count| count > 0);
        let (least, most) = (counts().min(), counts().max());
        least
            .zip(most)
            .is_none_or(|(&least, &most)| most <= BALANCED * least)
    }
}

/// The batch size: at most half of the images, so that an epoch has several steps.
fn batch_size(images: usize) -> usize {
    let fits = |size: &&usize| images >= 8 * **size;
    [32, 16]
        .iter()
        .find(fits)
        .copied()
        .unwrap_or(8)
        .min(images.max(2))
}

impl Recipe {
    /// The default of `model.drop_path`, which is that of training on ImageNet.
    fn drop_path(&self) -> f64 {
        match self.model {
            ModelName::MobileNet(variant) => ModelConfig::new(variant, 2).drop_path,
            ModelName::Zoo(_) => 0.0,
        }
    }

    fn learning_rate(&self) -> f64 {
        let has_batch_norm = match self.model {
            ModelName::MobileNet(variant) => {
                let plan = ModelConfig::new(variant, 2).plan();
                plan.is_ok_and(|plan| !plan.statistics.is_empty())
            }
            ModelName::Zoo(_) => true,
        };
        match (self.pretrained.is_some(), has_batch_norm) {
            (true, true) => 0.0005,
            (false, true) => 0.003,
            // ConvNeXt and Swin, whose layer normalisations stand fewer changes at once.
            (true, false) => 0.0001,
            (false, false) => 0.0005,
        }
    }

    /// The settings as TOML: only those that differ from the defaults, without the path of the images.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let is_zoo = matches!(self.model, ModelName::Zoo(_));
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        };
        line(format_args!("ema = {{ decay = 0.99, warmup = true }}"));
        line(format_args!("\n[data]"));
        line(format_args!("image_size = {}", self.image_size));
        line(format_args!("batch_size = {}", self.batch_size));
        line(format_args!("\n[model]"));
        line(format_args!("name = \"{}\"", self.model));
        if let Some(path) = &self.pretrained {
            let path = Value::String(path.to_string_lossy().into_owned());
            line(format_args!("pretrained = {path}"));
        }
        if is_zoo {
            line(format_args!("head = \"linear\""));
        }
        if self.pretrained.is_some() && self.drop_path() > FINE_TUNING_DROP_PATH {
            line(format_args!("drop_path = {FINE_TUNING_DROP_PATH}"));
        }
        line(format_args!("\n[train]"));
        line(format_args!("epochs = {}", self.epochs));
        line(format_args!("freeze_epochs = {}", self.freeze_epochs));
        line(format_args!("learning_rate = {}", self.learning_rate()));
        line(format_args!("patience = {}", (self.epochs / 2).max(5)));
        line(format_args!("drop_last = false"));
        if !self.is_balanced {
            line(format_args!("monitor = \"val_macro_f1\""));
        }
        line(format_args!("\n[loss]"));
        line(format_args!("type = \"cross_entropy\""));
        line(format_args!("label_smoothing = 0.1"));
        if !self.is_balanced {
            line(format_args!("class_weights = \"balanced\""));
        }
        line(format_args!("\n[augment]"));
        line(format_args!("preset = \"photos\""));
        text
    }

    /// The settings as a layer of configuration.
    ///
    /// # Errors
    ///
    /// None for settings from [`Photos::recipe`].
    pub fn layer(&self) -> Result<Layer, ConfigError> {
        Layer::from_toml(&self.to_toml(), "the settings for photos")
    }
}

#[cfg(test)]
mod tests {
    use mobilenet::Variant;

    use super::*;
    use crate::RunConfig;

    fn photos(images: usize, side: u32) -> Photos {
        Photos {
            model: ModelName::MobileNet(Variant::V2),
            train_images: images,
            class_counts: vec![images / 2; 2],
            sizes: Some(ImageSizes {
                smallest: (side, side),
                median: (side, side),
                largest: (side, side),
                shorter_side: side,
                images,
            }),
            pretrained: Some("w.pth".into()),
            seconds_an_image: Some(0.005),
            budget: None,
            image_size: None,
            epochs: None,
        }
    }

    #[test]
    fn the_size_follows_the_photos_and_the_time() {
        assert_eq!(photos(1600, 32).recipe().image_size, 96);
        assert_eq!(photos(1600, 20).recipe().image_size, 64);
        let large = photos(1600, 500);
        assert_eq!(large.recipe().image_size, 128);
        let fast = Photos {
            seconds_an_image: Some(0.0005),
            ..large.clone()
        };
        assert_eq!(fast.recipe().image_size, 224);
        let unknown = Photos {
            seconds_an_image: None,
            ..large.clone()
        };
        assert_eq!(unknown.recipe().image_size, 224);
        // A budget moves both.
        let budget = |seconds| Photos {
            budget: Some(Duration::from_secs(seconds)),
            ..large.clone()
        };
        let long = budget(3600).recipe();
        assert_eq!(
            (long.image_size, long.epochs, long.is_rushed),
            (224, 20, false)
        );
        let short = budget(10).recipe();
        assert_eq!(
            (short.image_size, short.epochs, short.is_rushed),
            (64, 1, true)
        );
    }

    #[test]
    fn a_slow_network_gets_more_time_instead_of_tiny_images() {
        let slow = Photos {
            seconds_an_image: Some(0.05),
            ..photos(1600, 500)
        };
        let recipe = slow.recipe();
        assert_eq!((recipe.image_size, recipe.epochs), (96, 7));
        assert!(recipe.seconds > 600.0 && !recipe.is_rushed, "{recipe:?}");
        let large = Photos {
            image_size: Some(224),
            ..slow
        };
        assert_eq!(large.recipe().epochs, 7);
    }

    #[test]
    fn networks_with_layer_normalisation_learn_more_slowly() {
        let of = |name: &str, pretrained: Option<PathBuf>| {
            let photos = Photos {
                model: name.parse().unwrap(),
                pretrained,
                ..photos(1600, 500)
            };
            photos.recipe().to_toml()
        };
        let swin = of("swin_b", Some("w.pth".into()));
        assert!(swin.contains("learning_rate = 0.0001\n") && swin.contains("drop_path = 0.1\n"));
        let scratch = of("swin_b", None);
        assert!(scratch.contains("learning_rate = 0.0005\n") && !scratch.contains("drop_path"));
        let resnet = of("resnet50", Some("w.pth".into()));
        assert!(resnet.contains("learning_rate = 0.0005\n") && !resnet.contains("drop_path"));
    }

    #[test]
    fn the_largest_size_is_that_of_the_published_weights() {
        let of = |name: &str| {
            let photos = Photos {
                model: name.parse().unwrap(),
                seconds_an_image: None,
                ..photos(1600, 500)
            };
            photos.recipe().image_size
        };
        assert_eq!(of("xception"), 299);
        assert_eq!(of("mobilenetv4_conv_medium"), 256);
        assert_eq!(of("mobilenet_v2"), 224);
    }

    #[test]
    fn a_size_or_a_number_of_epochs_that_is_set_is_kept() {
        let budget = Some(Duration::from_secs(60));
        let of = |image_size, epochs| {
            let photos = Photos {
                budget,
                image_size,
                epochs,
                ..photos(1600, 500)
            };
            let recipe = photos.recipe();
            (recipe.image_size, recipe.epochs, recipe.seconds > 60.0)
        };
        assert_eq!(of(Some(224), None), (224, 1, true));
        assert_eq!(of(None, Some(3)), (96, 3, false));
        assert_eq!(of(Some(224), Some(20)), (224, 20, true));
    }

    #[test]
    fn few_images_are_shown_more_often() {
        let epochs = |images| photos(images, 32).recipe().epochs;
        assert_eq!([epochs(100), epochs(1600), epochs(20_000)], [20, 14, 6]);
        let scratch = Photos {
            pretrained: None,
            ..photos(1600, 32)
        };
        assert!(scratch.recipe().epochs > 15);
        assert_eq!(scratch.recipe().freeze_epochs, 0);
    }

    #[test]
    fn a_batch_leaves_an_epoch_steps() {
        assert_eq!([1, 3, 40, 200, 5000].map(batch_size), [2, 3, 8, 16, 32]);
    }

    #[test]
    fn every_choice_is_a_valid_configuration() {
        let uneven = Photos {
            class_counts: vec![10, 100],
            ..photos(110, 300)
        };
        let scratch = Photos {
            pretrained: None,
            ..photos(9, 300)
        };
        let rushed = Photos {
            budget: Some(Duration::from_millis(1)),
            ..photos(9, 300)
        };
        #[cfg(feature = "zoo")]
        let zoo = Photos {
            model: "repvgg_a0".parse().unwrap(),
            ..photos(900, 300)
        };
        for photos in [
            photos(9, 8),
            photos(100_000, 4000),
            uneven,
            scratch,
            rushed,
            #[cfg(feature = "zoo")]
            zoo,
        ] {
            let recipe = photos.recipe();
            let root = "[data]\nsource = 'folder'\nroot = 'photos'\nnormalisation = { mean = [0.5, 0.5, 0.5] }\n";
            let layers = [
                recipe.layer().unwrap(),
                Layer::from_toml(root, "root").unwrap(),
            ];
            let config = RunConfig::from_layers(&layers).unwrap();
            assert_eq!(config.train.epochs, recipe.epochs);
            assert_eq!(
                config.data.image_size,
                mnist_data::ImageSize::square(recipe.image_size)
            );
        }
        let monitor = |photos: Photos| photos.recipe().to_toml().contains("balanced");
        assert!(
            !monitor(photos(100, 32))
                && monitor(Photos {
                    class_counts: vec![1, 4],
                    ..photos(5, 32)
                })
        );
    }
}
