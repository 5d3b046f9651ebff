//! The one list of keys: where each stands, what it may be, and what it is for.
//!
//! The fields of the configuration's structs hold the values and their defaults; a test holds
//! this list and them together.

use mnist_data::{
    BadImage, Decoding, Fit, ImageSize, Interpolation, Orientation, Preset, TruncatedImages,
    WeightPattern,
};
use mobilenet::weights::{IMAGE_SIZES, MEANS, STDS};
use mobilenet::{HeadKind, MAX_WIDTH, ModelName, Precision, is_dropout, is_epsilon, is_momentum};
use optim::{Anneal, Interval, LrScheduleConfig, PlateauMode, ThresholdMode};
use serde::Deserialize;
use toml::Value;

use super::keys::Kind::{List, Number, OneOf, Or, Read, Section, Switch, Text, Whole};
use super::keys::{Key, Kind, reads};
use super::{CheckpointPolicy, DataSource, DeviceChoice, Monitor, PaddingChoice};

/// The largest whole number that TOML has.
pub(super) const MOST: u64 = i64::MAX as u64;
/// The most threads that a command starts, of each sort.
pub const MAX_THREADS: usize = 1024;
/// The most images in a batch.
pub const MAX_BATCH_SIZE: usize = 65_536;
/// The largest images, in pixels a side.
pub const MAX_IMAGE_SIZE: u32 = *IMAGE_SIZES.end();

const OPTIMIZERS: &[&str] = &[
    "adam",
    "adamw",
    "sgd",
    "rmsprop",
    "lion",
    "adabelief",
    "ranger",
];
const LOSSES: &[&str] = &["cross_entropy", "focal", "binary_cross_entropy"];
#[rustfmt::skip]
const SCHEDULES: &[&str] = &[
    "constant", "plateau", "step", "multi_step", "sgdr", "cosine", "one_cycle", "polynomial", "exponential",
];

/// Ranges of the sections that check their numbers themselves are not repeated here.
const ANY: Kind = Number("a finite number", |_| true);
const ABOVE_0: Kind = Number("a finite number above 0", |x| x > 0.0);
const SHARE_ABOVE_0: Kind = Number("a share above 0 and at most 1", |x| x > 0.0 && x <= 1.0);
const MEAN: Kind = Number("a number from 0 to 1", |x| MEANS.contains(&(x as f32)));
const STD: Kind = Number("a number from 0.0001 to 1", |x| STDS.contains(&(x as f32)));
const COUNT: Kind = Whole(0, MOST);
const BYTE: Kind = Whole(0, 255);
const PAIR: Kind = List(Some(2), &ANY);
const CLASS_WEIGHTS: Kind = Or("none", &Or("balanced", &List(None, &ANY)));

macro_rules! keys {
    ($($path:literal $(@[$($of:literal)*])? $kind:expr; $text:literal)*) => {
        /// Every key that a configuration may have, by section.
        pub static KEYS: &[Key] = &[$(Key {
            path: $path,
            types: &[$($($of),*)?],
            kind: $kind,
            text: $text,
        }),*];
    };
}

keys! {
    "data.source" Read(reads::<DataSource>); "Where the images come from."
    "data.root" Or("auto", &Text); "Folder that holds train, val and test, or their CSV files; auto: data/<source>."
    "data.idx_dir" Or("auto", &Text); "Folder of the IDX files; auto: <root>/idx."
    "data.class_names" Or("none", &Text); "File of class names, one a line, in the order of their labels."
    "data.validation.count" Whole(1, MOST); "Training images that become the validation split of IDX files."
    "data.validation.stratified" Switch; "Draw them evenly from the classes instead of taking the last ones."
    "data.validation.seed" COUNT; "Decides a stratified draw."
    "data.sample_weights.file" Text; "CSV file with the columns path and weight."
    "data.sample_weights.patterns" Read(patterns); "Weights of the training images whose ids match a pattern."
    "data.image_size" Read(image_size); "The size of the images, in pixels: a number, or [height, width]."
    "data.fit" Or("auto", &Read(reads::<Fit>)); "What becomes of the proportions of an image."
    "data.crop_pct" Or("auto", &SHARE_ABOVE_0); "With fit = crop: the share of the shorter side that is kept."
    "data.interpolation" Or("auto", &Read(reads::<Interpolation>)); "How pixels are computed in a resize."
    "data.orientation" Read(reads::<Orientation>); "Whether images are turned by their EXIF data."
    "data.limit" Or("none", &Whole(1, MOST)); "Train on this many images only, drawn once by the seed."
    "data.val_limit" Or("none", &Whole(1, MOST)); "Validate on this many images only, drawn once by the seed."
    "data.batch_size" Whole(2, MAX_BATCH_SIZE as u64); "Images per step."
    "data.workers" Or("auto", &Whole(1, MAX_THREADS as u64)); "Decoding threads; auto: one per training thread, at most 8."
    "data.prefetch" Whole(1, 1024); "Batches decoded ahead of training."
    "data.cache_mb" Whole(0, 1 << 30); "Memory for decoded images, in MiB."
    "data.disk_cache_mb" Whole(0, 1 << 30); "Disk for decoded images, in MiB; 0 for none."
    "data.on_bad_image" Read(reads::<BadImage>); "What to do with a file that is no image."
    "data.bad_image_limit" Number("a share of the images from 0 to 1", |x| (0.0..=1.0).contains(&x)); "Most images of a split that may be unreadable, as a share."
    "data.decode" Read(reads::<Decoding>); "How the pixels of a JPEG are computed."
    "data.truncated_images" Read(reads::<TruncatedImages>); "What to do with an image that lacks data at its end."
    "data.normalisation" Or("auto", &Section); "What pixels are scaled by."
    "data.normalisation.mean" List(Some(3), &MEAN); "Mean per channel of pixels scaled to 0..1."
    "data.normalisation.std" List(Some(3), &STD); "Standard deviation per channel."

    "model.name" Read(reads::<ModelName>); "Which network."
    "model.classes" Or("auto", &Whole(2, 65_536)); "Number of classes; auto: as many as the training split has."
    "model.width" Number("a multiplier above 0 and at most 10", |x| x > 0.0 && x <= MAX_WIDTH); "Width multiplier of every layer."
    "model.head" Read(reads::<HeadKind>); "The classifier on top."
    "model.dropout" Number("a probability from 0 to below 1", is_dropout); "Dropout in the classifier."
    "model.pretrained" Or("none", &Text); "Weights file to start from."
    "model.batch_norm_momentum" Or("auto", &Number("a share above 0 and at most 1", is_momentum)); "Share of each batch in the running statistics."
    "model.batch_norm_epsilon" Or("auto", &Number("a number between 0 and 1", is_epsilon)); "Added to variances."
    "model.padding" Read(reads::<PaddingChoice>); "How convolutions are padded."
    "model.stem_stride" Whole(1, 2); "Stride of the first convolution."

    "train.epochs" Whole(1, 1_000_000); "Passes over the training split."
    "train.learning_rate" ABOVE_0; "The learning rate that the schedule starts from, or peaks at."
    "train.seed" COUNT; "Seed of initialisation, shuffling and dropout."
    "train.device" Read(reads::<DeviceChoice>); "Where to run."
    "train.precision" Read(reads::<Precision>); "Numbers that matrix products multiply."
    "train.threads" Or("auto", &Whole(1, MAX_THREADS as u64)); "CPU threads; auto: one for each physical core."
    "train.freeze_epochs" COUNT; "Epochs in which only the head learns."
    "train.cache_features" Switch; "Compute features once while the backbone is frozen, not once an epoch."
    "train.patience" Or("none", &Whole(1, MOST)); "Stop after this many epochs without gain."
    "train.monitor" Read(reads::<Monitor>); "The figure that says which epoch is best."
    "train.checkpoints" Read(reads::<CheckpointPolicy>); "Which weights stay on disk."
    "train.drop_last" Switch; "Leave out an epoch's last batch when it is not full."
    "train.accumulate_batches" Whole(1, 65_536); "Batches whose gradients make one step together."
    "train.clip_gradient_norm" Or("none", &ABOVE_0); "Gradients are scaled down to this norm."
    "train.clip_gradient_value" Or("none", &ABOVE_0); "Each gradient is clamped to plus and minus this."
    "train.backbone_learning_rate" Number("a share from 0 to 1 (to hold the backbone still, set train.freeze_epochs)", |x| (0.0..=1.0).contains(&x)); "The backbone's rate, as a share of the head's."
    "train.layer_decay" SHARE_ABOVE_0; "Each block's rate, as a share of that of the block behind it."
    "train.decay_norm_and_bias" Switch; "Whether weight decay also holds for biases and normalisations."

    "loss.type" OneOf(LOSSES); "What is minimised."
    "loss.label_smoothing" @["cross_entropy" "binary_cross_entropy"] ANY; "Share of the target that is spread over all classes."
    "loss.class_weights" @["cross_entropy" "binary_cross_entropy"] CLASS_WEIGHTS; "How much each class counts."
    "loss.gamma" @["focal"] ANY; "How much less an image counts the surer the network is of its class."
    "loss.alpha" @["focal"] CLASS_WEIGHTS; "How much each class counts."

    "augment.preset" Read(reads::<Preset>); "The operations to start from."
    "augment.resized_crop" Switch; "A part of the image at full size."
    "augment.resized_crop.scale" PAIR; "The smallest and the largest share of the area."
    "augment.resized_crop.ratio" PAIR; "The smallest and the largest ratio of width to height."
    "augment.horizontal_flip" Switch; "Left and right exchanged."
    "augment.horizontal_flip.p" ANY; "Probability of a flip."
    "augment.vertical_flip" Switch; "Top and bottom exchanged."
    "augment.vertical_flip.p" ANY; "Probability of a flip."
    "augment.affine" Switch; "Rotation, scale, shear and shift."
    "augment.affine.degrees" ANY; "Largest rotation to either side."
    "augment.affine.translate" PAIR; "Largest shift, as shares of width and height."
    "augment.affine.scale" PAIR; "The smallest and the largest scale."
    "augment.affine.shear" PAIR; "Largest shear in degrees."
    "augment.affine.fill" BYTE; "Grey level of what lies outside."
    "augment.elastic" Switch; "A smooth random distortion."
    "augment.elastic.alpha" ANY; "How far pixels move."
    "augment.elastic.sigma" ANY; "How smooth the distortion is."
    "augment.elastic.fill" BYTE; "Grey level of what lies outside."
    "augment.rand_augment" Switch; "Operations from a fixed list."
    "augment.rand_augment.num_ops" Whole(0, u32::MAX as u64); "Operations an image."
    "augment.rand_augment.magnitude" Whole(0, u32::MAX as u64); "How strong they are."
    "augment.rand_augment.fill" BYTE; "Grey level of what lies outside."
    "augment.color_jitter" Switch; "Brightness, contrast, saturation and hue."
    "augment.color_jitter.brightness" ANY; "The factor is 1 plus or minus this."
    "augment.color_jitter.contrast" ANY; "The factor is 1 plus or minus this."
    "augment.color_jitter.saturation" ANY; "The factor is 1 plus or minus this."
    "augment.color_jitter.hue" ANY; "Share of the circle of colours by which hues move."
    "augment.erasing" Switch; "A hole in the image."
    "augment.erasing.p" ANY; "Probability of a hole."
    "augment.erasing.scale" PAIR; "The smallest and the largest share of the area."
    "augment.erasing.ratio" PAIR; "The smallest and the largest ratio of height to width."
    "augment.erasing.value" Or("random", &BYTE); "Grey level in the hole."

    "mix.mixup_alpha" ANY; "MixUp's share is drawn from Beta(alpha, alpha); 0 switches it off."
    "mix.cutmix_alpha" ANY; "CutMix's share is drawn from Beta(alpha, alpha); 0 switches it off."
    "mix.probability" ANY; "Share of the batches that are mixed."
    "mix.switch_probability" ANY; "Where both are on: CutMix's share."

    "optimizer.type" OneOf(OPTIMIZERS); "The update rule."
    "optimizer.betas" @["adam" "adamw" "lion" "adabelief" "ranger"] PAIR; "Decays of the running means."
    "optimizer.eps" @["adam" "adamw" "rmsprop" "adabelief" "ranger"] ANY; "Keeps divisors from being 0."
    "optimizer.weight_decay" ANY; "How much weights shrink."
    "optimizer.amsgrad" @["adam" "adamw" "adabelief"] Switch; "Divide by the largest mean square so far."
    "optimizer.momentum" @["sgd" "rmsprop"] ANY; "Decay of the momentum buffer."
    "optimizer.dampening" @["sgd"] ANY; "Share of each gradient that the buffer leaves out."
    "optimizer.nesterov" @["sgd"] Switch; "Nesterov's look-ahead."
    "optimizer.alpha" @["rmsprop"] ANY; "Decay of the running mean square."
    "optimizer.alpha" @["ranger"] ANY; "LookAhead: share of the way towards the fast weights."
    "optimizer.centered" @["rmsprop"] Switch; "Divide by an estimate of the standard deviation."
    "optimizer.weight_decouple" @["adabelief"] Switch; "Whether weight decay is decoupled from the gradient."
    "optimizer.rectify" @["adabelief"] Switch; "Rectify the step as RAdam does."
    "optimizer.k" @["ranger"] COUNT; "LookAhead: steps between two meetings."
    "optimizer.use_gc" @["ranger"] Switch; "Centralise gradients."
    "optimizer.gc_conv_only" @["ranger"] Switch; "Centralise those of convolutions only."

    "schedule" Read(schedule); "The learning rate over time, in short."
    "schedule.type" OneOf(SCHEDULES); "The learning rate over time."
    "schedule.mode" @["plateau"] Read(reads::<PlateauMode>); "Whether the metric is better when lower or higher."
    "schedule.factor" @["plateau"] ANY; "The rate is multiplied by this."
    "schedule.patience" @["plateau"] COUNT; "Epochs without gain that are borne."
    "schedule.threshold" @["plateau"] ANY; "Least change that counts as a gain."
    "schedule.threshold_mode" @["plateau"] Read(reads::<ThresholdMode>); "Whether it is a share or a difference."
    "schedule.cooldown" @["plateau"] COUNT; "Epochs after a reduction that do not count."
    "schedule.min_lr" @["plateau"] ANY; "The rate is never reduced below this."
    "schedule.eps" @["plateau"] ANY; "A smaller reduction is not made."
    "schedule.step_size" @["step"] COUNT; "Epochs between two changes."
    "schedule.gamma" @["step" "multi_step" "exponential"] ANY; "The rate is multiplied by this."
    "schedule.milestones" @["multi_step"] List(None, &COUNT); "Epochs at which the rate changes."
    "schedule.t_0" @["sgdr"] COUNT; "Epochs of the first cycle."
    "schedule.t_mult" @["sgdr"] COUNT; "Each cycle is this times as long as the one before."
    "schedule.eta_min" @["sgdr" "cosine"] ANY; "The rate at the end."
    "schedule.interval" @["sgdr" "cosine" "polynomial"] Read(reads::<Interval>); "When the rate moves on."
    "schedule.power" @["polynomial"] ANY; "Power of the part of the run that is left."
    "schedule.pct_start" @["one_cycle"] ANY; "Share of the steps in which the rate rises."
    "schedule.anneal_strategy" @["one_cycle"] Read(reads::<Anneal>); "Shape of both phases."
    "schedule.div_factor" @["one_cycle"] ANY; "The first rate is the highest one over this."
    "schedule.final_div_factor" @["one_cycle"] ANY; "The last rate is the first one over this."
    "schedule.three_phase" @["one_cycle"] Switch; "Fall to the first rate before falling to the last one."

    "warmup" Or("none", &Section); "The linear ramp in front of the schedule."
    "warmup.steps" COUNT; "Its length in steps."
    "warmup.epochs" ANY; "Its length in epochs."
    "warmup.start_factor" ANY; "Share of the rate that the first step has."

    "ema" Or("none", &Section); "A moving average of the weights."
    "ema.decay" ANY; "Share of the past in the average."
    "ema.warmup" Switch; "Begin with a shorter memory."

    "distillation" Or("none", &Section); "A trained network that this one learns from."
    "distillation.teacher" Text; "Its weights file."
    "distillation.temperature" ABOVE_0; "Softmaxes are taken of logits over this."
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

fn patterns(value: &Value) -> Result<(), String> {
    let read = Vec::<WeightPattern>::deserialize(value.clone());
    let expected = "a list of tables such as { pattern = \"cats/**\", weight = 2.0 }";
    read.map(drop).map_err(|_| expected.to_owned())
}

/// A schedule in short; as a table it has keys of its own.
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
