//! The list of all keys: path, valid values, and purpose.
//!
//! The fields of the configuration's structs hold the values and their defaults; a test compares
//! them with this list.

use std::sync::LazyLock;

use mnist_data::{
    BadImage, Decoding, Fit, ImageSize, Interpolation, Orientation, TruncatedImages, WeightPattern,
};
use mobilenet::weights::{IMAGE_SIZES, MEANS, STDS};
use mobilenet::{HeadKind, MAX_WIDTH, Precision, is_dropout, is_epsilon, is_momentum};
use optim::{Anneal, Interval, LrScheduleConfig, PlateauMode, ThresholdMode};
use serde::Deserialize;
use toml::Value;

use super::derived::{self, ANY, COUNT};
use super::keys::Kind::{Defaults, List, Number, OneOf, Or, Read, Section, Switch, Text, Whole};
use super::keys::{Key, Kind};
use super::words::{networks, words_of};
use super::{CheckpointPolicy, DataSource, DeviceChoice, Monitor, PaddingChoice};

/// The largest whole number in TOML.
pub(super) const MOST: u64 = i64::MAX as u64;
/// The most threads of each kind.
pub const MAX_THREADS: usize = 1024;
/// The most images in a batch.
pub const MAX_BATCH_SIZE: usize = 65_536;
/// The largest images, in pixels a side.
pub const MAX_IMAGE_SIZE: u32 = *IMAGE_SIZES.end();

const ABOVE_0: Kind = Number("a finite number above 0", |x| x > 0.0);
const SHARE_ABOVE_0: Kind = Number("a share above 0 and at most 1", |x| x > 0.0 && x <= 1.0);
const SHARE_BELOW_1: Kind = Number("a share of at least 0 and below 1", |x| {
    (0.0..1.0).contains(&x)
});
const MEAN: Kind = Number("a number from 0 to 1", |x| MEANS.contains(&(x as f32)));
const STD: Kind = Number("a number from 0.0001 to 1", |x| STDS.contains(&(x as f32)));

/// Every key of a configuration, by section.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    [
        BEFORE_LOSS,
        &derived::loss(),
        &derived::augment(),
        MIX,
        &derived::optimizer(),
        AFTER_OPTIMIZER,
    ]
    .concat()
});

macro_rules! keys {
    ($name:ident: $($path:literal $(@[$($of:literal)*])? $kind:expr; $text:literal)*) => {
        static $name: &[Key] = &[$(Key {
            path: $path,
            types: &[$($($of),*)?],
            kind: $kind,
            text: $text,
        }),*];
    };
}

keys! { BEFORE_LOSS:
    "data.source" OneOf(words_of::<DataSource>); "Source of the images."
    "data.root" Or("auto", &Text); "Folder with train, val and test, or their CSV files; auto: data/<source>."
    "data.idx_dir" Or("auto", &Text); "Folder of the IDX files; auto: <root>/idx."
    "data.class_names" Or("none", &Text); "File with one class name per line, in label order."
    "data.train" Or("auto", &Text); "The training split: a folder of class folders, or a CSV file; auto: by its name in root."
    "data.val" Or("auto", &Text); "The validation split."
    "data.test" Or("auto", &Text); "The test split."
    "data.split.val" SHARE_BELOW_1; "Share of class folders without split folders that validates."
    "data.split.test" SHARE_BELOW_1; "Share of them that is kept for the final test."
    "data.split.seed" COUNT; "Decides which images these are."
    "data.split.keep_bursts" Switch; "Keep near-identical neighbours by name in one split."
    "data.validation.count" Whole(1, MOST); "Training images that become the validation split of IDX files."
    "data.validation.stratified" Switch; "Draw the same share of every class instead of taking the last images."
    "data.validation.seed" COUNT; "Seed of a stratified draw."
    "data.sample_weights.file" Text; "CSV file with the columns path and weight."
    "data.sample_weights.patterns" Read(patterns); "Weights of the training images whose ids match a pattern."
    "data.image_size" Read(image_size); "The size of the images, in pixels: a number, or [height, width]."
    "data.fit" Or("auto", &OneOf(words_of::<Fit>)); "Treatment of an image's proportions."
    "data.crop_pct" Or("auto", &SHARE_ABOVE_0); "With fit = crop: the share of the shorter side that is kept."
    "data.interpolation" Or("auto", &OneOf(words_of::<Interpolation>)); "Interpolation of a resize."
    "data.orientation" OneOf(words_of::<Orientation>); "Whether images are turned by their EXIF data."
    "data.limit" Or("none", &Whole(1, MOST)); "Train on this many images only, drawn once by the seed."
    "data.val_limit" Or("none", &Whole(1, MOST)); "Validate on this many images only, drawn once by the seed."
    "data.batch_size" Whole(2, MAX_BATCH_SIZE as u64); "Images per step."
    "data.workers" Or("auto", &Whole(1, MAX_THREADS as u64)); "Decoding threads; auto: one per training thread, at most 8."
    "data.prefetch" Whole(1, 1024); "Batches decoded ahead of training."
    "data.cache_mb" Whole(0, 1 << 30); "Memory for decoded images, in MiB."
    "data.disk_cache_mb" Whole(0, 1 << 30); "Disk for decoded images, in MiB; 0 for none."
    "data.on_bad_image" OneOf(words_of::<BadImage>); "Treatment of files that are not images."
    "data.bad_image_limit" Number("a share of the images from 0 to 1", |x| (0.0..=1.0).contains(&x)); "Largest share of unreadable images in a split."
    "data.decode" OneOf(words_of::<Decoding>); "Decoding of JPEG pixels."
    "data.truncated_images" OneOf(words_of::<TruncatedImages>); "Treatment of images that lack data at their end."
    "data.normalisation" Or("auto", &Section); "Scaling of the pixels."
    "data.normalisation.mean" List(Some(3), &MEAN); "Mean per channel of pixels scaled to 0..1."
    "data.normalisation.std" List(Some(3), &STD); "Standard deviation per channel."

    "model.name" OneOf(networks); "The network."
    "model.classes" Or("auto", &Whole(2, 65_536)); "Number of classes; auto: the number in the training split."
    "model.width" Number("a multiplier above 0 and at most 10", |x| x > 0.0 && x <= MAX_WIDTH); "Width multiplier of every layer."
    "model.head" OneOf(words_of::<HeadKind>); "The classifier on top."
    "model.dropout" Number("a probability from 0 to below 1", is_dropout); "Dropout in the classifier."
    "model.pretrained" Or("none", &Text); "Weights file to start from."
    "model.batch_norm_momentum" Or("auto", &Number("a share above 0 and at most 1", is_momentum)); "Share of each batch in the running statistics."
    "model.batch_norm_epsilon" Or("auto", &Number("a number between 0 and 1", is_epsilon)); "Added to variances."
    "model.padding" OneOf(words_of::<PaddingChoice>); "Padding of convolutions."
    "model.stem_stride" Whole(1, 2); "Stride of the first convolution."

    "train.epochs" Whole(1, 1_000_000); "Passes over the training split."
    "train.learning_rate" ABOVE_0; "Learning rate at the schedule's start, or at its peak."
    "train.seed" COUNT; "Seed of initialisation, shuffling and dropout."
    "train.device" Read(device); "The device."
    "train.precision" OneOf(words_of::<Precision>); "Number format of matrix products."
    "train.threads" Or("auto", &Whole(1, MAX_THREADS as u64)); "CPU threads; auto: one for each physical core."
    "train.freeze_epochs" COUNT; "Epochs in which only the head learns."
    "train.cache_features" Switch; "Compute features once while the backbone is frozen, not once per epoch."
    "train.patience" Or("none", &Whole(1, MOST)); "Stop after this many epochs without gain."
    "train.monitor" OneOf(words_of::<Monitor>); "The score that selects the best epoch."
    "train.checkpoints" OneOf(words_of::<CheckpointPolicy>); "The weights kept on disk."
    "train.drop_last" Switch; "Leave out an epoch's last batch if it is not full."
    "train.accumulate_batches" Whole(1, 65_536); "Batches per step; their gradients are accumulated."
    "train.clip_gradient_norm" Or("none", &ABOVE_0); "Gradients are scaled down to this norm."
    "train.clip_gradient_value" Or("none", &ABOVE_0); "Each gradient is clamped to plus and minus this."
    "train.backbone_learning_rate" Number("a share from 0 to 1 (to hold the backbone still, set train.freeze_epochs)", |x| (0.0..=1.0).contains(&x)); "The backbone's rate as a share of the head's."
    "train.layer_decay" SHARE_ABOVE_0; "Each block's rate as a share of the next block's."
    "train.decay_norm_and_bias" Switch; "Whether weight decay applies to biases and normalisations."
}

keys! { MIX:
    "mix.mixup_alpha" ANY; "MixUp's share is drawn from Beta(alpha, alpha); 0 switches it off."
    "mix.cutmix_alpha" ANY; "CutMix's share is drawn from Beta(alpha, alpha); 0 switches it off."
    "mix.probability" ANY; "Share of the batches that are mixed."
    "mix.switch_probability" ANY; "CutMix's share if both are on."
}

keys! { AFTER_OPTIMIZER:
    "schedule" Read(schedule); "The learning rate over time, as a short text."
    "schedule.type" OneOf(|| derived::names(LrScheduleConfig::all().iter().map(LrScheduleConfig::name))); "The learning rate over time."
    "schedule.mode" @["plateau"] OneOf(words_of::<PlateauMode>); "Whether the metric is better when lower or higher."
    "schedule.factor" @["plateau"] ANY; "The rate is multiplied by this."
    "schedule.patience" @["plateau"] COUNT; "Epochs without gain before a reduction."
    "schedule.threshold" @["plateau"] ANY; "Smallest change that counts as a gain."
    "schedule.threshold_mode" @["plateau"] OneOf(words_of::<ThresholdMode>); "Whether the threshold is a share or a difference."
    "schedule.cooldown" @["plateau"] COUNT; "Epochs after a reduction that do not count."
    "schedule.min_lr" @["plateau"] ANY; "The rate is never reduced below this."
    "schedule.eps" @["plateau"] ANY; "Smaller reductions are skipped."
    "schedule.step_size" @["step"] COUNT; "Epochs between two changes."
    "schedule.gamma" @["step" "multi_step" "exponential"] ANY; "The rate is multiplied by this."
    "schedule.milestones" @["multi_step"] List(None, &COUNT); "Epochs at which the rate changes."
    "schedule.t_0" @["sgdr"] COUNT; "Epochs of the first cycle."
    "schedule.t_mult" @["sgdr"] COUNT; "Each cycle is longer than the previous one by this factor."
    "schedule.eta_min" @["sgdr" "cosine"] ANY; "The rate at the end."
    "schedule.interval" @["sgdr" "cosine" "polynomial"] OneOf(words_of::<Interval>); "Whether the rate changes per step or per epoch."
    "schedule.power" @["polynomial"] ANY; "Power of the remaining share of the run."
    "schedule.pct_start" @["one_cycle"] ANY; "Share of the steps in which the rate rises."
    "schedule.anneal_strategy" @["one_cycle"] OneOf(words_of::<Anneal>); "Shape of both phases."
    "schedule.div_factor" @["one_cycle"] ANY; "The first rate is the peak divided by this."
    "schedule.final_div_factor" @["one_cycle"] ANY; "The last rate is the first divided by this."
    "schedule.three_phase" @["one_cycle"] Switch; "Fall to the first rate before falling to the last one."

    "warmup" Or("none", &Section); "The linear ramp before the schedule."
    "warmup.steps" COUNT; "Its length in steps."
    "warmup.epochs" ANY; "Its length in epochs."
    "warmup.start_factor" ANY; "The first step's rate, as a share of the full rate."

    "ema" Or("none", &Defaults); "A moving average of the weights."
    "ema.decay" ANY; "Share of the past in the average."
    "ema.warmup" Switch; "Begin with a smaller decay."

    "distillation" Or("none", &Section); "A trained network that supplies targets besides the labels."
    "distillation.teacher" Text; "Its weights file."
    "distillation.temperature" ABOVE_0; "Divisor of the logits before softmax."
    "distillation.weight" SHARE_ABOVE_0; "Share of the teacher in the loss."
}

fn image_size(value: &Value) -> Result<(), String> {
    let read = ImageSize::deserialize(value.clone());
    let fits = |size: &ImageSize| size.sides().iter().all(|side| IMAGE_SIZES.contains(side));
    read.ok().filter(fits).map(drop).ok_or_else(|| {
        format!(
            "a whole number, at least {} and at most {MAX_IMAGE_SIZE}, or two such as [height, width]",
            IMAGE_SIZES.start()
        )
    })
}

fn device(value: &Value) -> Result<(), String> {
    let read = value.as_str().and_then(|text| text.parse().ok());
    let expected = "one of auto, cpu, cuda, cuda:N, metal";
    read.map(|_: DeviceChoice| ())
        .ok_or_else(|| expected.to_owned())
}

fn patterns(value: &Value) -> Result<(), String> {
    let read = Vec::<WeightPattern>::deserialize(value.clone());
    let expected = "a list of tables such as { pattern = \"cats/**\", weight = 2.0 }";
    read.map(drop).map_err(|_| expected.to_owned())
}

/// A schedule as a short text; the table form has its own keys.
fn schedule(value: &Value) -> Result<(), String> {
    let read = value.as_str().unwrap_or_default().parse();
    read.map(|_: LrScheduleConfig| ())
        .map_err(|error| match error {
            optim::Error::Setting {
                key: "type",
                expected,
                ..
            } => expected.to_owned(),
            optim::Error::Setting {
                key,
                value,
                expected,
                ..
            } => format!("{key} in it: {expected}, not {value}"),
            other => other.to_string(),
        })
}
