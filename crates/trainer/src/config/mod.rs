//! The configuration of a run: typed, with a default for every key, validated once.

mod choices;
mod distillation;
mod error;
mod framing;
mod keys;
mod layers;
mod list;
#[cfg(test)]
mod odd_values;
mod optional;
#[cfg(test)]
mod spellings;
mod split;
#[cfg(test)]
mod tests;
mod validate;
mod words;
mod zoo;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use mnist_data::{
    AugmentConfig, BadImage, Decoding, Fit, ImageSize, Interpolation, MixConfig, Orientation,
    TruncatedImages, Validation, WeightsConfig,
};
use mobilenet::weights::{Normalisation, Overrides};
use mobilenet::zoo::ZooConfig;
use mobilenet::{
    HeadKind, ModelConfig, ModelDescription, ModelName, Precision, SCRATCH_MOMENTUM,
    TORCHVISION_MOMENTUM, Variant,
};
use optim::{AdamWConfig, EmaConfig, LrScheduleConfig, OneCycleConfig, OptimizerConfig, Warmup};
use serde::{Deserialize, Serialize};

pub use choices::{CheckpointPolicy, DataSource, DeviceChoice, Monitor, PaddingChoice};
pub use distillation::DistillationConfig;
pub use error::ConfigError;
pub(crate) use framing::MNIST;
pub(crate) use keys::shortened;
pub use keys::{Key, Kind};
pub use layers::{Layer, MAX_FILE_BYTES};
pub use list::{KEYS, MAX_BATCH_SIZE, MAX_IMAGE_SIZE, MAX_THREADS};
pub use split::SplitConfig;
pub use validate::check_batch;

pub use crate::loss::{
    BinaryCrossEntropyConfig, ClassWeights, CrossEntropyConfig, FocalConfig, LossConfig,
};

use crate::device::cpu_threads;

/// All settings of a run.
///
/// The default is the recipe of `configs/mnist.toml`. A configuration from outside passes
/// [`RunConfig::validate`] once; later code interprets no strings.
///
/// ```
/// let config = trainer::RunConfig::from_toml("[train]\nepochs = 3\n", "my.toml")?;
/// assert_eq!(config.train.epochs, 3);
/// let error = trainer::RunConfig::from_toml("[train]\nepoch = 3\n", "my.toml").unwrap_err();
/// assert!(error.to_string().contains("did you mean `train.epochs`?"));
/// # Ok::<(), trainer::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// The linear ramp before the schedule.
    #[serde(with = "optional::none")]
    pub warmup: Option<Warmup>,
    /// A moving average of the weights, which is validated and saved beside them.
    #[serde(with = "optional::none")]
    pub ema: Option<EmaConfig>,
    /// A trained network that supplies targets besides the labels.
    #[serde(with = "optional::none")]
    pub distillation: Option<DistillationConfig>,
    /// The images.
    pub data: DataConfig,
    /// The network.
    pub model: NetworkConfig,
    /// The loop.
    pub train: TrainConfig,
    /// The training loss.
    pub loss: LossConfig,
    /// Random changes of the training images.
    pub augment: AugmentConfig,
    /// Mixtures of training images.
    pub mix: MixConfig,
    /// The update rule.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time.
    pub schedule: LrScheduleConfig,
}

/// `[data]`: the images and their loading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The source of the images.
    pub source: DataSource,
    /// Folder with (after unpacking) `train`, `val` and `test`, or `train.csv` and so on; auto:
    /// `data/<source>`.
    #[serde(with = "optional::auto")]
    pub root: Option<PathBuf>,
    /// Folder of the IDX files; auto: `<root>/idx`.
    #[serde(with = "optional::auto")]
    pub idx_dir: Option<PathBuf>,
    /// The training split, if it has no usual name in `root`: a folder with one sub-folder per class, or a CSV
    /// file.
    #[serde(with = "optional::auto")]
    pub train: Option<PathBuf>,
    /// The validation split, likewise.
    #[serde(with = "optional::auto")]
    pub val: Option<PathBuf>,
    /// The test split, likewise.
    #[serde(with = "optional::auto")]
    pub test: Option<PathBuf>,
    /// How class folders without split folders above them are divided.
    pub split: SplitConfig,
    /// File with one class name per line, in label order; none: the sorted class names of the
    /// training images.
    #[serde(with = "optional::none")]
    pub class_names: Option<PathBuf>,
    /// The training images that become the validation split when IDX files are unpacked.
    pub validation: Validation,
    /// Weights of single training images in the loss.
    pub sample_weights: WeightsConfig,
    /// The size of the images that the network sees: a number of pixels on each side, or `[height, width]`.
    pub image_size: ImageSize,
    /// What becomes of the proportions of an image; auto: as the weights file says that the run
    /// starts from, else squash.
    #[serde(with = "optional::auto")]
    pub fit: Option<Fit>,
    /// With `fit = "crop"`: the share of the shorter side that is kept; auto: likewise, else 0.875.
    #[serde(with = "optional::auto")]
    pub crop_pct: Option<f64>,
    /// How pixels are computed in a resize; auto: likewise, else bilinear.
    #[serde(with = "optional::auto")]
    pub interpolation: Option<Interpolation>,
    /// Whether photographs are turned upright, as their EXIF data say.
    pub orientation: Orientation,
    /// Train on this many images only, drawn once by the seed.
    #[serde(with = "optional::none")]
    pub limit: Option<usize>,
    /// Validate on this many images only, drawn once by the seed.
    #[serde(with = "optional::none")]
    pub val_limit: Option<usize>,
    /// Images per step.
    pub batch_size: usize,
    /// Decoding threads; auto: one per training thread, at most 8.
    #[serde(with = "optional::auto")]
    pub workers: Option<usize>,
    /// Batches decoded ahead of training.
    pub prefetch: usize,
    /// Memory for decoded images, in MiB, so that later epochs skip decoding.
    pub cache_mb: usize,
    /// Disk for decoded images, in MiB, so that later runs skip decoding; 0 for none.
    pub disk_cache_mb: u64,
    /// Treatment of files that are not images.
    pub on_bad_image: BadImage,
    /// The largest share of a split's images that `on_bad_image = "skip"` may leave out; more are an
    /// error. One image per split may always be left out, unless this is 0; no class may lose all its
    /// images.
    pub bad_image_limit: f64,
    /// The decoding of JPEG pixels.
    pub decode: Decoding,
    /// Treatment of images that lack data at their end.
    pub truncated_images: TruncatedImages,
    /// Mean and standard deviation per channel of pixels scaled to 0..1; auto: as the weights file says
    /// that the run starts from (ImageNet's, where it says nothing), else the data set's own, and
    /// ImageNet's for a folder or CSV files.
    #[serde(with = "optional::auto")]
    pub normalisation: Option<Normalisation>,
}

/// `[model]`: the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// The network: a MobileNet, or a backbone of the zoo, which stays frozen.
    pub name: ModelName,
    /// Number of classes; auto: the number in the training split.
    #[serde(with = "optional::auto")]
    pub classes: Option<usize>,
    /// Width multiplier of every layer.
    pub width: f64,
    /// The classifier on top.
    pub head: HeadKind,
    /// Dropout probability in the classifier.
    pub dropout: f64,
    /// Weights to start from: safetensors or PyTorch's, under any names that
    /// [`Source`](mobilenet::weights::Source) recognises. For a backbone of the zoo: its weights
    /// under torchvision's or timm's names.
    #[serde(with = "optional::none")]
    pub pretrained: Option<PathBuf>,
    /// Share of each batch in the running statistics; auto: 0.1 from scratch, 0.01 (torchvision's) with `pretrained`.
    /// From scratch each epoch restarts the statistics, and its first batches count equally until
    /// this share is larger. Otherwise a short run would validate with statistics of outdated
    /// weights. Statistics of pretrained weights are good from the start and are kept.
    #[serde(with = "optional::auto")]
    pub batch_norm_momentum: Option<f64>,
    /// Added to variances; auto: the value of the network in `pretrained`.
    #[serde(with = "optional::auto")]
    pub batch_norm_epsilon: Option<f64>,
    /// The padding of convolutions.
    pub padding: PaddingChoice,
    /// Stride of the first convolution: 2 as published, 1 to keep resolution on small images.
    pub stem_stride: usize,
}

/// `[train]`: the loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training split.
    pub epochs: usize,
    /// The learning rate at the schedule's start, or at its peak.
    pub learning_rate: f64,
    /// Seed of initialisation, shuffling and dropout.
    pub seed: u64,
    /// The device.
    pub device: DeviceChoice,
    /// The number format of matrix products; f16 uses dynamic loss scaling.
    pub precision: Precision,
    /// CPU threads; auto: one for each physical core.
    #[serde(with = "optional::auto")]
    pub threads: Option<NonZeroUsize>,
    /// Epochs in which only the head learns.
    pub freeze_epochs: usize,
    /// Compute each image's features once, not once per epoch, while the backbone is frozen. They
    /// are kept in memory, up to `data.cache_mb`, and on disk if `data.disk_cache_mb` is above 0.
    pub cache_features: bool,
    /// Stop after this many epochs without gain. An equal score with a lower validation loss is a
    /// gain.
    #[serde(with = "optional::none")]
    pub patience: Option<usize>,
    /// The score that selects the best epoch. Ties go to the lower validation loss, then to the
    /// later epoch.
    pub monitor: Monitor,
    /// The weights kept on disk.
    pub checkpoints: CheckpointPolicy,
    /// Leave out an epoch's last batch if it is not full.
    pub drop_last: bool,
    /// Batches whose gradients form one optimizer step, like a single larger batch (but batch
    /// normalisation sees each separately).
    pub accumulate_batches: usize,
    /// Gradients are scaled down to this norm.
    #[serde(with = "optional::none")]
    pub clip_gradient_norm: Option<f64>,
    /// Each gradient is clamped to plus and minus this, before the norm is clipped.
    #[serde(with = "optional::none")]
    pub clip_gradient_value: Option<f64>,
    /// The backbone's learning rate, as a share of the head's.
    pub backbone_learning_rate: f64,
    /// Each block's learning rate, as a share of the next block's.
    pub layer_decay: f64,
    /// Whether the optimizer's weight decay applies to biases and normalisations.
    pub decay_norm_and_bias: bool,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            warmup: None,
            ema: None,
            distillation: None,
            data: DataConfig::default(),
            model: NetworkConfig::default(),
            train: TrainConfig::default(),
            loss: LossConfig::default(),
            augment: AugmentConfig::default(),
            mix: MixConfig::default(),
            optimizer: OptimizerConfig::AdamW(AdamWConfig {
                weight_decay: 0.02,
                ..AdamWConfig::default()
            }),
            schedule: LrScheduleConfig::OneCycle(OneCycleConfig::default()),
        }
    }
}

/// The default for the share of a split's images that may be left out.
pub const BAD_IMAGE_LIMIT: f64 = 0.05;

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            source: DataSource::Mnist,
            root: None,
            idx_dir: None,
            train: None,
            val: None,
            test: None,
            split: SplitConfig::default(),
            class_names: None,
            validation: Validation::default(),
            sample_weights: WeightsConfig::default(),
            image_size: ImageSize::square(32),
            fit: None,
            crop_pct: None,
            interpolation: None,
            orientation: framing::ORIENTATION,
            limit: None,
            val_limit: None,
            batch_size: 128,
            workers: None,
            prefetch: 4,
            cache_mb: 512,
            disk_cache_mb: 4096,
            on_bad_image: BadImage::Skip,
            bad_image_limit: BAD_IMAGE_LIMIT,
            decode: Decoding::Exact,
            truncated_images: TruncatedImages::Refuse,
            normalisation: None,
        }
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            name: ModelName::MobileNet(Variant::Small),
            classes: None,
            width: 1.0,
            head: HeadKind::Torchvision,
            dropout: 0.2,
            pretrained: None,
            batch_norm_momentum: None,
            batch_norm_epsilon: None,
            padding: PaddingChoice::Auto,
            stem_stride: 2,
        }
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 6,
            learning_rate: 3e-3,
            seed: 1,
            device: DeviceChoice::Auto,
            precision: Precision::F32,
            threads: None,
            freeze_epochs: 0,
            cache_features: true,
            patience: None,
            monitor: Monitor::ValAccuracy,
            checkpoints: CheckpointPolicy::BestOne,
            drop_last: true,
            accumulate_batches: 1,
            clip_gradient_norm: None,
            clip_gradient_value: None,
            backbone_learning_rate: 1.0,
            layer_decay: 1.0,
            decay_norm_and_bias: true,
        }
    }
}

impl DataConfig {
    /// Folder with `train`, `val` and `test`.
    pub fn root(&self) -> PathBuf {
        let beside_train = || Some(self.train.as_deref()?.parent()?.to_owned());
        let default = || Path::new("data").join(self.source.name());
        self.root
            .clone()
            .or_else(beside_train)
            .unwrap_or_else(default)
    }

    /// Folder of the IDX files.
    pub fn idx_dir(&self) -> PathBuf {
        self.idx_dir
            .clone()
            .unwrap_or_else(|| self.root().join("idx"))
    }

    /// The folder of the splits: `root`, or the folder of a CSV file that is `root`.
    pub fn folder(&self) -> PathBuf {
        let root = self.root();
        match root.is_file() {
            true => root.parent().unwrap_or(Path::new("")).to_owned(),
            false => root,
        }
    }
}

impl TrainConfig {
    /// Number of CPU threads; see [`cpu_threads`].
    pub fn threads(&self) -> usize {
        cpu_threads(self.threads)
    }
}

impl RunConfig {
    /// The description of the model for `classes` classes.
    pub fn model(&self, classes: usize) -> ModelDescription {
        match self.model.name {
            ModelName::MobileNet(variant) => self.mobilenet(variant, classes).into(),
            ModelName::Zoo(name) => ModelDescription::Zoo(ZooConfig {
                name,
                classes,
                dropout: self.model.dropout,
            }),
        }
    }

    fn mobilenet(&self, variant: Variant, classes: usize) -> ModelConfig {
        let section = &self.model;
        let mut model = ModelConfig::new(variant, classes);
        model.width = section.width;
        model.head = section.head;
        model.dropout = section.dropout;
        model.stem_stride = section.stem_stride;
        model.batch_norm_momentum =
            section
                .batch_norm_momentum
                .unwrap_or(match section.pretrained {
                    Some(_) => TORCHVISION_MOMENTUM,
                    None => SCRATCH_MOMENTUM,
                });
        let epsilon = section.batch_norm_epsilon;
        model.batch_norm_epsilon = epsilon.unwrap_or(model.batch_norm_epsilon);
        model.padding = section.padding.chosen().unwrap_or(model.padding);
        model
    }

    /// The learning rate over time; a plateau schedule follows the monitored score's direction.
    pub fn schedule(&self) -> LrScheduleConfig {
        let mut schedule = self.schedule.clone();
        schedule.resolve_mode(self.train.monitor.plateau_mode());
        schedule
    }

    /// Overrides for the file of `model.pretrained`.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            padding: self.model.padding.chosen(),
            batch_norm_epsilon: self.model.batch_norm_epsilon,
            ..Overrides::default()
        }
    }

    /// The number of decoding threads.
    ///
    /// The default is limited to the most that keep CPU training busy: each holds up to two
    /// batches.
    pub fn workers(&self) -> usize {
        let auto = || self.train.threads().min(8);
        self.data.workers.unwrap_or_else(auto)
    }

    /// The same configuration with every `"auto"` replaced by its value, as a run records it.
    ///
    /// `model` is the network as built.
    pub fn resolved(&self, model: &ModelDescription) -> Self {
        let mut resolved = self.clone();
        resolved.data.root = Some(self.data.root());
        resolved.data.idx_dir = Some(self.data.idx_dir());
        resolved.data.workers = Some(self.workers());
        resolved.model.classes = Some(model.classes());
        if let ModelDescription::MobileNet(model) = model {
            resolved.model.batch_norm_momentum = Some(model.batch_norm_momentum);
            resolved.model.batch_norm_epsilon = Some(model.batch_norm_epsilon);
            resolved.model.padding = model.padding.into();
        }
        resolved.train.threads = NonZeroUsize::new(self.train.threads());
        resolved.schedule = self.schedule();
        resolved
    }
}
