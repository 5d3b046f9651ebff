//! The list of all keys: path, valid values, and purpose.
//!
//! The structs of the configuration have a field with a default for each key; a test compares them with this list.

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
use super::{
    CheckpointPolicy, DataSource, DeviceChoice, Monitor, OnDivergence, PaddingChoice, SaveEvery,
};

/// The largest whole number in TOML.
pub(super) const MOST: u64 = i64::MAX as u64;
/// The largest number of compute threads, and of decoding threads.
pub const MAX_THREADS: usize = 1024;
/// The most images in a batch.
pub const MAX_BATCH_SIZE: usize = 65_536;
/// The largest image size, in pixels per side.
pub const MAX_IMAGE_SIZE: u32 = *IMAGE_SIZES.end();

const ABOVE_0: Kind = Number("a finite number above 0", |x| x > 0.0);
const SHARE_ABOVE_0: Kind = Number("a share above 0 and at most 1", |x| x > 0.0 && x <= 1.0);
const SHARE_BELOW_1: Kind = Number("a share of at least 0 and below 1", |x| {
    (0.0..1.0).contains(&x)
});
const MEAN: Kind = Number("a number from 0 to 1", |x| MEANS.contains(&(x as f32)));
const STD: Kind = Number("a number from 0.0001 to 1", |x| STDS.contains(&(x as f32)));

/// Every section with its purpose. The generated files `configs/mnist.toml` and `docs/settings.md` show it at the start
/// of each section.
#[rustfmt::skip]
pub static SECTIONS: &[(&str, &str)] = &[
    ("data", "The images."),
    ("data.split", "Class folders without train and val above them are divided: shares of each class, by the seed."),
    ("data.validation", "The validation split of IDX files, which have none."),
    ("data.sample_weights", "Weights of single training images in the loss."),
    ("data.normalisation", "Scaling of the pixels."),
    ("model", "The network."),
    ("train", "The loop."),
    ("loss", "The training loss. Its keys depend on its type."),
    ("augment", "Random changes of the training images, new in each epoch. On top of the preset, each operation is false, true, or a table such as affine = { degrees = 15.0 }."),
    ("mix", "Mixtures of training images: MixUp, CutMix (an alpha of 0 is off), or both in turn."),
    ("optimizer", "The update rule. Its keys and defaults are those of torch or of the package pytorch-optimizer."),
    ("schedule", "The learning rate over time, with torch's keys and defaults. A short text may replace the whole section, for example schedule = \"step-4-0.8\" at the top."),
    ("warmup", "The linear ramp before the schedule."),
    ("ema", "A moving average of the weights."),
    ("distillation", "A trained network that supplies targets besides the labels."),
];

/// Every key of a configuration, by section. The parser checks layers against this list. `configs/mnist.toml` and
/// `docs/settings.md` are generated from it.
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
    "data.source" OneOf(words_of::<DataSource>); "Source of the images:\n  \"mnist\", \"fashion-mnist\": fetched and unpacked if missing.\n  \"idx\": unpacks your own IDX files (idx_dir).\n  \"folder\": root/train, root/val and root/test, each with one sub-folder per class.\n  \"csv\": root/train.csv, root/val.csv and root/test.csv with the columns path, label and, optionally, weight; paths are relative to root.\nFor \"folder\" and \"csv\", other names are: valid, validation, dev or eval for val; training for train; testing for test. Without val, a tenth of the training images is held out."
    "data.root" Or("auto", &Text); "Folder of the splits, or a CSV file; auto: data/<source>."
    "data.idx_dir" Or("auto", &Text); "Folder of the IDX files; auto: <root>/idx."
    "data.class_names" Or("none", &Text); "File with one class name per line, in label order (\"folder\" and \"csv\" only)."
    "data.train" Or("auto", &Text); "The training split, if its name in root is not a usual one: a folder of class folders, or a CSV file."
    "data.val" Or("auto", &Text); "The validation split, likewise."
    "data.test" Or("auto", &Text); "The test split, likewise."
    "data.split.val" SHARE_BELOW_1; "Share that validates."
    "data.split.test" SHARE_BELOW_1; "Share that is kept for the final test."
    "data.split.seed" COUNT; "Decides which images these are."
    "data.split.keep_bursts" Switch; "Keep near-identical neighbours by name, such as the photos of a burst, in one split."
    "data.validation.count" Whole(1, MOST); "Training images that become the validation split: the last ones."
    "data.validation.stratified" Switch; "Draw the same share of every class instead."
    "data.validation.seed" COUNT; "Seed of that draw."
    "data.sample_weights.file" Text; "CSV file with the columns path and weight; it overrides the patterns."
    "data.sample_weights.patterns" Read(patterns); "Such as { pattern = \"cats/**\", weight = 2.0 }; the last match wins."
    "data.image_size" Read(image_size); "The size of the network's images, in pixels: a number, or [height, width]."
    "data.fit" Or("auto", &OneOf(words_of::<Fit>)); "Treatment of an image's proportions: \"squash\" (they change), \"crop\" (resized to cover image_size / crop_pct, then the middle is cut out, as torchvision and timm evaluate) or \"letterbox\" (the whole image, on gray). auto: as the pretrained file says, else \"squash\"."
    "data.crop_pct" Or("auto", &SHARE_ABOVE_0); "With \"crop\": the share of the shorter side that is kept. auto: as the pretrained file says, else 0.875 (224 of 256 pixels)."
    "data.interpolation" Or("auto", &OneOf(words_of::<Interpolation>)); "\"bilinear\" or \"bicubic\"; auto: as the pretrained file says, else bilinear."
    "data.orientation" OneOf(words_of::<Orientation>); "\"apply\": turn photographs upright, as their EXIF data say; \"ignore\": as they are in the file."
    "data.limit" Or("none", &Whole(1, MOST)); "Train on this many images only, drawn once by the seed, for a quick try."
    "data.val_limit" Or("none", &Whole(1, MOST)); "Validate on this many images only, drawn once by the seed."
    "data.batch_size" Whole(2, MAX_BATCH_SIZE as u64); "Images per step."
    "data.workers" Or("auto", &Whole(1, MAX_THREADS as u64)); "Decoding threads; auto: one per training thread, at most 8."
    "data.prefetch" Whole(1, 1024); "Batches decoded ahead of training."
    "data.cache_mb" Whole(0, 1 << 30); "MiB of memory for decoded images, so later epochs skip decoding."
    "data.disk_cache_mb" Whole(0, 1 << 30); "MiB of disk for them, in <root>/.classify-cache, so later runs skip decoding; 0 for none."
    "data.on_bad_image" OneOf(words_of::<BadImage>); "Treatment of files that are not images: \"skip\" or \"fail\"."
    "data.bad_image_limit" Number("a share of the images from 0 to 1", |x| (0.0..=1.0).contains(&x)); "With \"skip\": largest share of unreadable images in a split. A class without readable images is an error. One image per split may always be left out, unless this is 0."
    "data.decode" OneOf(words_of::<Decoding>); "\"exact\": pixels equal PIL's; \"fast\": large JPEGs at reduced size, a few grey levels off."
    "data.truncated_images" OneOf(words_of::<TruncatedImages>); "Images that lack data at their end: \"refuse\" (they are not images) or \"accept\"."
    "data.normalisation" Or("auto", &Section); "(pixel / 255 - mean) / std for red, green and blue, such as { mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }, ImageNet's. auto: as the pretrained file says, else the figures of MNIST or Fashion-MNIST, and for \"folder\", \"csv\" or a pretrained file without any those of the network's published weights (mostly ImageNet's)."
    "data.normalisation.mean" List(Some(3), &MEAN); "Mean per channel of pixels scaled to 0..1; without it, as with auto."
    "data.normalisation.std" List(Some(3), &STD); "Standard deviation per channel; without it, as with auto."

    "model.name" OneOf(networks); "Such as \"mobilenet_v2\", \"resnet50\", \"efficientnet_b0\" or \"swin_t\"; `classify models` lists all. The backbones of the zoo stay frozen."
    "model.classes" Or("auto", &Whole(2, 65_536)); "Number of classes; auto: the number in the training split."
    "model.width" Number("a multiplier above 0 and at most 10", |x| x > 0.0 && x <= MAX_WIDTH); "Multiplies every layer's channels."
    "model.head" OneOf(words_of::<HeadKind>); "\"torchvision\": hidden layer and output layer; \"linear\": output layer only."
    "model.dropout" Or("auto", &Number("a probability from 0 to below 1", is_dropout)); "Dropout in the classifier; auto: the published network's (0.2 in MobileNets)."
    "model.drop_path" Or("auto", &Number("a probability from 0 to below 1", is_dropout)); "Stochastic depth: share of the images that skip the last residual block in training. It grows evenly from block to block. auto: the published network's (0 in MobileNets, 0.2 in EfficientNets)."
    "model.pretrained" Or("none", &Text); "A file to start from: safetensors or PyTorch; names of torchvision, timm or others."
    "model.batch_norm_momentum" Or("auto", &Number("a share above 0 and at most 1", is_momentum)); "Share of each batch in the running statistics. auto: 0.1 from scratch, torchvision's 0.01 with pretrained weights. From scratch each epoch restarts the statistics for the sake of short runs: its first batches count equally until that share is larger."
    "model.batch_norm_epsilon" Or("auto", &Number("a number between 0 and 1", is_epsilon)); "Added to variances; auto: the network's own value."
    "model.padding" OneOf(words_of::<PaddingChoice>); "Padding of convolutions. auto: as the pretrained file says, else the network's own; \"same\" is for networks that come from TensorFlow, such as timm's tf_ models."
    "model.stem_stride" Whole(1, 2); "Stride of the first convolution; 1 keeps the resolution of small images, at four times the work."

    "train.epochs" Whole(1, 1_000_000); "Passes over the training split."
    "train.learning_rate" ABOVE_0; "Learning rate at the schedule's start, or at its peak (one_cycle)."
    "train.seed" COUNT; "Seed of initialisation, shuffling and dropout."
    "train.device" Read(device); "\"auto\", \"cpu\", \"cuda\", \"cuda:1\" or \"metal\"."
    "train.precision" Or("auto", &OneOf(words_of::<Precision>)); "\"f32\", \"bf16\" (networks of convolutions, on CPUs with AMX or AVX-512 BF16: mostly faster, and for networks of the fused executor half the memory), \"bf16_amx\" or \"bf16_avx512\" (bf16 with these instructions) or \"f16\" (CUDA GPUs). auto: the fastest of f32 and the CPU's bf16 instructions, measured once on each processor in two to three seconds; f32 for other networks and on GPUs. The run keeps the measured word."
    "train.threads" Or("auto", &Whole(1, MAX_THREADS as u64)); "CPU threads; auto: one for each physical core."
    "train.freeze_epochs" COUNT; "Epochs in which only the head learns; the schedule counts them too."
    "train.cache_features" Switch; "Compute features once while the backbone is frozen, not once per epoch."
    "train.patience" Or("none", &Whole(1, MOST)); "A number: stop after this many epochs without gain."
    "train.monitor" OneOf(words_of::<Monitor>); "Selects the best epoch: \"val_accuracy\", \"val_macro_f1\" or \"val_loss\"; the lower loss breaks ties."
    "train.checkpoints" OneOf(words_of::<CheckpointPolicy>); "The weights kept on disk: \"best_one\", \"best_all\" or \"every_epoch\"."
    "train.save_every" Read(save_every); "How often the state is saved, in the run's folder, from which --resume goes on: a time (\"5m\", \"30s\"; less often where saving would take more than a hundredth of the time) or steps (\"200 steps\"), and after each epoch; \"none\": never."
    "train.tensorboard" Switch; "Write event files for TensorBoard into the run's folder."
    "train.on_divergence" OneOf(words_of::<OnDivergence>); "A loss or gradient that is NaN or infinite: \"stop\" (diverged.json says where) or \"skip\" (leave out the batch, at most 10 in a row)."
    "train.drop_last" Switch; "Leave out an epoch's last batch if it is not full."
    "train.accumulate_batches" Whole(1, 65_536); "Batches per step; their gradients are accumulated."
    "train.clip_gradient_norm" Or("none", &ABOVE_0); "A number: gradients are scaled down to this norm."
    "train.clip_gradient_value" Or("none", &ABOVE_0); "A number: each gradient is clamped to plus and minus this."
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
    "schedule.type" OneOf(|| derived::names(LrScheduleConfig::all().iter().map(LrScheduleConfig::name))); "\"constant\", \"plateau\", \"step\", \"multi_step\", \"exponential\", \"polynomial\", \"sgdr\", \"cosine\" or \"one_cycle\"."
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
    "schedule.anneal_strategy" @["one_cycle"] OneOf(words_of::<Anneal>); "Shape of both phases: \"cos\" or \"linear\"."
    "schedule.div_factor" @["one_cycle"] ANY; "The first rate is the peak divided by this."
    "schedule.final_div_factor" @["one_cycle"] ANY; "The last rate is the first divided by this."
    "schedule.three_phase" @["one_cycle"] Switch; "Fall to the first rate before falling to the last one."

    "warmup" Or("none", &Section); "A linear ramp of the learning rate before the schedule: a table such as { epochs = 0.5, start_factor = 0.1 }. A one_cycle schedule has its own ramp."
    "warmup.steps" COUNT; "Its length in steps, or else `epochs`."
    "warmup.epochs" ANY; "Its length in epochs, or else `steps`."
    "warmup.start_factor" ANY; "The first step's rate, as a share of the full rate."

    "ema" Or("none", &Defaults); "A moving average of the weights, validated and saved beside them: a table such as { decay = 0.999, warmup = true }. The run ends with the best average, unless the weights are better by more than a standard error."
    "ema.decay" ANY; "Share of the past in the average."
    "ema.warmup" Switch; "Begin with a smaller decay."

    "distillation" Or("none", &Section); "A trained network that supplies targets besides the labels: a table such as { teacher = \"large.safetensors\", temperature = 4.0, weight = 0.5 }."
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

fn save_every(value: &Value) -> Result<(), String> {
    let read = value.as_str().unwrap_or_default().parse();
    read.map(|_: SaveEvery| ())
}

fn patterns(value: &Value) -> Result<(), String> {
    let read = Vec::<WeightPattern>::deserialize(value.clone());
    let expected = "a list of tables such as { pattern = \"cats/**\", weight = 2.0 }";
    read.map(drop).map_err(|_| expected.to_owned())
}

/// A schedule as a short text; the keys of its table form are listed separately.
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
