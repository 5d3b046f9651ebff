//! The configuration of a run: typed, with a default for every key, validated once.

mod changes;
mod choices;
mod data;
mod derived;
mod distillation;
mod error;
mod framing;
mod keys;
mod layers;
mod list;
#[cfg(test)]
mod odd_values;
mod optional;
mod saving;
#[cfg(test)]
mod spellings;
mod split;
#[cfg(test)]
mod tests;
mod validate;
mod words;
mod zoo;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use mnist_data::{AugmentConfig, MixConfig};
use mobilenet::weights::Overrides;
use mobilenet::zoo::ZooConfig;
use mobilenet::{
    HeadKind, ModelConfig, ModelDescription, ModelName, Precision, SCRATCH_MOMENTUM,
    TORCHVISION_MOMENTUM, Variant,
};
use optim::{AdamWConfig, EmaConfig, LrScheduleConfig, OneCycleConfig, OptimizerConfig, Warmup};
use serde::{Deserialize, Serialize};

pub use changes::Change;
pub use choices::{
    CheckpointPolicy, DataSource, DeviceChoice, Monitor, PaddingChoice, PrecisionChoice,
};
pub use data::{BAD_IMAGE_LIMIT, DataConfig};
pub(crate) use derived::{ANY, CLASS_WEIGHTS};
pub use distillation::DistillationConfig;
pub use error::ConfigError;
pub(crate) use framing::MNIST;
pub use framing::NormalisationChoice;
pub(crate) use keys::shortened;
pub use keys::{Key, Kind};
pub use layers::{Layer, MAX_FILE_BYTES};
pub use list::{KEYS, MAX_BATCH_SIZE, MAX_IMAGE_SIZE, MAX_THREADS, SECTIONS};
pub use saving::{MAX_SKIPPED, OnDivergence, SaveEvery, parse_time};
pub use split::SplitConfig;
pub use validate::check_batch;

pub use crate::loss::*;

use crate::device::cpu_threads;

/// The default dropout in front of a frozen backbone's classifier.
const ZOO_DROPOUT: f64 = 0.2;

/// All settings of a run.
///
/// The default is the recipe of `configs/mnist.toml`. [`RunConfig::validate`] checks a configuration once; later code
/// can rely on it.
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
    /// The warm-up: a linear ramp of the learning rate before the schedule.
    #[serde(with = "optional::none")]
    pub warmup: Option<Warmup>,
    /// A moving average of the weights, which is validated and saved beside the weights.
    #[serde(with = "optional::none")]
    pub ema: Option<EmaConfig>,
    /// Distillation: a trained network, the teacher, gives additional targets besides the labels.
    #[serde(with = "optional::none")]
    pub distillation: Option<DistillationConfig>,
    /// The images and how they are loaded.
    pub data: DataConfig,
    /// The network.
    pub model: NetworkConfig,
    /// The training loop.
    pub train: TrainConfig,
    /// The training loss.
    pub loss: LossConfig,
    /// Augmentation: random changes of the training images.
    pub augment: AugmentConfig,
    /// MixUp and CutMix of training images.
    pub mix: MixConfig,
    /// The optimizer: its update rule and settings.
    pub optimizer: OptimizerConfig,
    /// The learning-rate schedule.
    pub schedule: LrScheduleConfig,
}

/// `[model]`: the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// The network; `classify models` lists them. A backbone of the zoo stays frozen.
    pub name: ModelName,
    /// Number of classes; auto: the number in the training split.
    #[serde(with = "optional::auto")]
    pub classes: Option<usize>,
    /// Width multiplier of every layer.
    pub width: f64,
    /// The kind of classifier after the backbone.
    pub head: HeadKind,
    /// Dropout probability in the classifier; auto: the published network's.
    #[serde(with = "optional::auto")]
    pub dropout: Option<f64>,
    /// Stochastic depth: the share of images that skip the last residual block in training. It grows evenly over the
    /// blocks. auto: the published network's.
    #[serde(with = "optional::auto")]
    pub drop_path: Option<f64>,
    /// Weights to start from: safetensors or PyTorch's, under any names that
    /// [`Source`](mobilenet::weights::Source) recognises. For a backbone of the zoo: its weights
    /// under torchvision's or timm's names.
    #[serde(with = "optional::none")]
    pub pretrained: Option<PathBuf>,
    /// The share of each new batch in the running statistics; auto: 0.1 from scratch, 0.01 (torchvision's) with
    /// `pretrained`. From scratch, each epoch restarts the statistics: they are the plain average of its batches until
    /// this share is larger than theirs. Otherwise a short run would validate with statistics of outdated weights.
    /// Statistics of pretrained weights are kept instead.
    #[serde(with = "optional::auto")]
    pub batch_norm_momentum: Option<f64>,
    /// The epsilon that is added to variances; auto: the value of the network in `pretrained`.
    #[serde(with = "optional::auto")]
    pub batch_norm_epsilon: Option<f64>,
    /// The padding of convolutions.
    pub padding: PaddingChoice,
    /// Stride of the first convolution: 2 as published, 1 to keep resolution on small images.
    pub stem_stride: usize,
}

/// `[train]`: the training loop.
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
    /// The number format of matrix products; f16 uses dynamic loss scaling. auto: the fastest of f32 and the bf16
    /// instructions of the processor, measured once.
    pub precision: PrecisionChoice,
    /// CPU threads; auto: one for each physical core.
    #[serde(with = "optional::auto")]
    pub threads: Option<NonZeroUsize>,
    /// The number of epochs at the start in which only the head learns.
    pub freeze_epochs: usize,
    /// While the backbone is frozen, compute each image's features once instead of once per epoch. They are kept in
    /// memory, up to `data.cache_mb`, and on disk if `data.disk_cache_mb` is above 0.
    pub cache_features: bool,
    /// Stop after this many epochs without gain. An equal score with a lower validation loss is a
    /// gain.
    #[serde(with = "optional::none")]
    pub patience: Option<usize>,
    /// The score that selects the best epoch. Ties go to the lower validation loss, then to the
    /// later epoch.
    pub monitor: Monitor,
    /// Which weights are kept on disk.
    pub checkpoints: CheckpointPolicy,
    /// How often the state is saved from which the run can be resumed.
    pub save_every: SaveEvery,
    /// Whether to write event files for TensorBoard; see [`TensorBoard`](crate::TensorBoard).
    pub tensorboard: bool,
    /// What to do if a loss or a gradient is NaN or infinite.
    pub on_divergence: OnDivergence,
    /// Leave out an epoch's last batch if it is not full.
    pub drop_last: bool,
    /// Number of batches per optimizer step. Their gradients are combined as in one larger batch,
    /// but batch normalisation uses each batch separately.
    pub accumulate_batches: usize,
    /// The largest norm of the gradient; a larger gradient is scaled down.
    #[serde(with = "optional::none")]
    pub clip_gradient_norm: Option<f64>,
    /// The largest absolute value of each gradient component; clamped before the norm is clipped.
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

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            name: ModelName::MobileNet(Variant::SMALL),
            classes: None,
            width: 1.0,
            head: HeadKind::Torchvision,
            dropout: None,
            drop_path: None,
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
            precision: PrecisionChoice::Fixed(Precision::F32),
            threads: None,
            freeze_epochs: 0,
            cache_features: true,
            patience: None,
            monitor: Monitor::ValAccuracy,
            checkpoints: CheckpointPolicy::BestOne,
            save_every: SaveEvery::Time(Duration::from_secs(300)),
            tensorboard: false,
            on_divergence: OnDivergence::Stop,
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

impl TrainConfig {
    /// Number of CPU threads; see [`cpu_threads`].
    pub fn threads(&self) -> usize {
        cpu_threads(self.threads)
    }
}

impl RunConfig {
    /// The model's configuration for `classes` classes.
    pub fn model(&self, classes: usize) -> ModelDescription {
        match self.model.name {
            ModelName::MobileNet(variant) => self.mobilenet(variant, classes).into(),
            ModelName::Zoo(name) => ModelDescription::Zoo(ZooConfig {
                name,
                classes,
                dropout: self.model.dropout.unwrap_or(ZOO_DROPOUT),
            }),
        }
    }

    fn mobilenet(&self, variant: Variant, classes: usize) -> ModelConfig {
        let section = &self.model;
        let mut model = ModelConfig::new(variant, classes);
        model.width = section.width;
        model.head = section.head;
        model.dropout = section.dropout.unwrap_or(model.dropout);
        model.drop_path = section.drop_path.unwrap_or(model.drop_path);
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

    /// Every path that is set.
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let data = &mut self.data;
        let teacher = self
            .distillation
            .as_mut()
            .map(|distillation| &mut distillation.teacher);
        [
            data.root.as_mut(),
            data.idx_dir.as_mut(),
            data.train.as_mut(),
            data.val.as_mut(),
            data.test.as_mut(),
            data.class_names.as_mut(),
            data.sample_weights.file.as_mut(),
            self.model.pretrained.as_mut(),
            teacher,
        ]
        .into_iter()
        .flatten()
    }

    /// The number of decoding threads.
    ///
    /// The default is one per training thread, at most 8. More threads would not speed up training on a CPU, and each
    /// thread holds up to two batches in memory.
    pub fn workers(&self) -> usize {
        let auto = || self.train.threads().min(8);
        self.data.workers.unwrap_or_else(auto)
    }

    /// This configuration with every `"auto"` replaced by its value, as a run writes it to `config.toml`. Paths are
    /// absolute, so that the run can go on from any folder.
    ///
    /// `model` is the configuration of the network as built.
    pub fn resolved(&self, model: &ModelDescription) -> Self {
        let mut resolved = self.clone();
        resolved.data.root = Some(self.data.root());
        resolved.data.idx_dir = Some(self.data.idx_dir());
        resolved.paths().for_each(|path| {
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        });
        resolved.data.workers = Some(self.workers());
        resolved.model.classes = Some(model.classes());
        if let ModelDescription::MobileNet(model) = model {
            resolved.model.dropout = Some(model.dropout);
            resolved.model.drop_path = Some(model.drop_path);
            resolved.model.batch_norm_momentum = Some(model.batch_norm_momentum);
            resolved.model.batch_norm_epsilon = Some(model.batch_norm_epsilon);
            resolved.model.padding = model.padding.into();
        }
        resolved.train.threads = NonZeroUsize::new(self.train.threads());
        resolved.schedule = self.schedule();
        resolved
    }
}
