//! The definition of the command line. Values are not interpreted here.

mod values;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use framing::{Fit, ImageSize, Interpolation, Orientation};
use mobilenet::Precision;
use trainer::config::{DeviceChoice, MAX_BATCH_SIZE, MAX_THREADS};

use values::{at_most, crop_share, dataset, image_size, share, time};

/// Train, evaluate and use MobileNetV3 image classifiers.
#[derive(Debug, Parser)]
#[command(name = "classify", version, propagate_version = true, after_help = ROOT_EXAMPLE)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Log more (-v: debug, -vv: trace); RUST_LOG sets levels by target.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Fetch(FetchArgs),
    Unpack(UnpackArgs),
    Train(TrainArgs),
    LrFind(LrFindArgs),
    CrossValidate(CrossValidateArgs),
    Evaluate(EvaluateArgs),
    Predict(PredictArgs),
    Inspect(InspectArgs),
    Export(ExportArgs),
    ImportConfig(ImportConfigArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

const ROOT_EXAMPLE: &str = "\
Examples:
  classify train                             fetch MNIST, train on it, print the test accuracy
  classify predict --weights W --out out photos/
  classify export --weights W --to onnx --out model.onnx";

/// Download and verify a data set's IDX files or published weights.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  classify fetch fashion-mnist --dir data/fashion-mnist/idx
  classify fetch weights mobilenet_v2"
)]
pub(crate) struct FetchArgs {
    #[command(subcommand)]
    pub(crate) command: Option<FetchCommand>,
    /// mnist or fashion-mnist
    #[arg(default_value = "mnist", value_parser = dataset)]
    pub(crate) dataset: mnist_data::DatasetName,
    /// Folder for the files [default: idx in data/DATASET]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FetchCommand {
    Weights(FetchWeightsArgs),
}

/// Download torchvision's ImageNet weights into the cache, and verify them.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  classify fetch weights mobilenet_v2
  classify train --config configs/finetune.toml --set model.pretrained=mobilenet_v2

A model's name means torchvision's IMAGENET1K_V1; a file's name, such as mobilenet_v2-7ebf99e0,
means that file. The cache is classify/weights in XDG_CACHE_HOME [default: ~/.cache; on macOS
~/Library/Caches, on Windows %LOCALAPPDATA%]. model.pretrained, --weights and inspect find files
there by either name. Nothing that is there is overwritten.")]
pub(crate) struct FetchWeightsArgs {
    /// Name of a model or of a file: mobilenet_v3_small, mobilenet_v3_large, mobilenet_v2,
    /// efficientnet_b0 to b4, resnet18, resnet34, resnet50
    #[arg(value_name = "NAME")]
    pub(crate) name: mnist_data::PublishedWeights,
    /// Folder for the file [default: the cache]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

/// Unpack IDX files into train, val and test with a folder per class and a PNG per image.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  classify unpack data/mnist/idx data/mnist")]
pub(crate) struct UnpackArgs {
    /// Folder of the four IDX files (plain or .gz)
    pub(crate) idx_dir: PathBuf,
    /// Folder for train, val and test
    pub(crate) out_dir: PathBuf,
    /// Name the class folders after this data set's classes, instead of by number
    #[arg(long, value_parser = dataset)]
    pub(crate) classes_of: Option<mnist_data::DatasetName>,
    /// Training images that become the validation split
    #[arg(long, default_value_t = 1000)]
    pub(crate) validation: usize,
    /// Draw the same share of every class for the validation split, by this seed, instead of taking the
    /// last images
    #[arg(long, value_name = "SEED")]
    pub(crate) stratified: Option<u64>,
}

/// Train, then evaluate on the test split.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  classify train photos/
  classify train photos/ --time-budget 30m
  classify train --resume runs/photos-001    go on with a run that was interrupted
  classify train                             MNIST, as configs/mnist.toml says
  classify train --config configs/mnist-224.toml --set data.limit=640 --set train.epochs=1

PHOTOS holds train, val and test with a folder for each class, or the class folders alone: then 70 %
of each class is trained on, 15 % chooses the best epoch and 15 % gives the final score. It may also
be a CSV file with the columns path and label. The settings are chosen by the photos and printed.

Settings are layered: defaults < those for the photos < file < CLASSIFY_* variables < --set.
CLASSIFY_TRAIN__EPOCHS=3 is the same as --set train.epochs=3.")]
pub(crate) struct TrainArgs {
    /// Folder of photos, or a CSV file that lists them
    #[arg(value_name = "PHOTOS", group = "images")]
    pub(crate) photos: Option<PathBuf>,
    /// The same as PHOTOS
    #[arg(long, value_name = "PHOTOS", group = "images")]
    pub(crate) data: Option<PathBuf>,
    /// Time for the whole run, such as 90s, 10m or 2h: image size and epochs are chosen to fit
    #[arg(long, value_name = "TIME", value_parser = time, requires = "images")]
    pub(crate) time_budget: Option<Duration>,
    /// Go on with the run in this folder, from its last saved state; Ctrl-C and SIGTERM save the state before the
    /// program ends. --set may change epochs (unless the schedule depends on them), threads, workers, caches and paths
    #[arg(long, value_name = "RUN", conflicts_with_all = ["images", "run_dir"])]
    pub(crate) resume: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// A run's configuration and folder.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Configuration file [default: configs/mnist.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Override one setting; a value that is not valid TOML is text
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Folder of the run [default: the next free number in runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
}

/// Find a learning rate: train with rates that grow from step to step, and write the losses.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  classify lr-find --config configs/finetune.toml

Writes lr-find.csv (learning_rate,loss,smoothed_loss) and lr-find.svg. The suggested rate is where
the smoothed loss falls most steeply: use it as the peak of one_cycle, or the start of others.")]
pub(crate) struct LrFindArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// The first rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-7)]
    pub(crate) from: f64,
    /// The last rate
    #[arg(long, value_name = "RATE", default_value_t = 1.0)]
    pub(crate) to: f64,
    /// Number of optimizer steps
    #[arg(long, default_value_t = 100)]
    pub(crate) steps: usize,
}

/// Train once per fold of the images, and report the mean and standard deviation of the scores.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  classify cross-validate --folds 5 --config configs/finetune.toml

Divides the images of train and, if present, val into folds with the same share of each class;
data.sample_weights apply to both. cross-validation.json reports every finished fold. The folds'
weights can form an ensemble: classify evaluate --weights A --weights B …")]
pub(crate) struct CrossValidateArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Go on with the cross-validation in this folder: finished folds are kept
    #[arg(long, value_name = "RUN", conflicts_with_all = ["run_dir", "folds", "seed"])]
    pub(crate) resume: Option<PathBuf>,
    /// Number of folds and runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..))]
    pub(crate) folds: u16,
    /// Seed of the division into folds
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// Evaluate weights on labelled images.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  classify evaluate --weights W --data data/mnist/test --json")]
pub(crate) struct EvaluateArgs {
    /// Weights file, of any origin, or the name of fetched weights; several form an ensemble that
    /// averages their probabilities
    #[arg(long, required = true, value_name = "FILE")]
    pub(crate) weights: Vec<PathBuf>,
    /// Folder with one sub-folder per class, or a CSV file with the columns path and label
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Print everything as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the wrong answers to this CSV file, each with its second choice
    #[arg(long, value_name = "FILE")]
    pub(crate) wrong: Option<PathBuf>,
    /// Largest share of unreadable images to leave out; one image may always be left out unless
    /// this is 0; no class may lose all its images
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = trainer::config::BAD_IMAGE_LIMIT)]
    pub(crate) bad_image_limit: f64,
    #[command(flatten)]
    pub(crate) inference: InferenceArgs,
}

/// Classify images and write predictions.csv.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  classify predict --weights W --out out photos/

Writes out/predictions.csv: image_id,label,probability. An id is the image's path relative
to its input; with several inputs, it begins with the input. Ids and class names are written
unchanged: import them into a spreadsheet as text, since it may take one for a formula.")]
pub(crate) struct PredictArgs {
    /// Weights file, of any origin, or the name of fetched weights; several form an ensemble that
    /// averages their probabilities
    #[arg(long, required = true, value_name = "FILE")]
    pub(crate) weights: Vec<PathBuf>,
    /// Folder for predictions.csv
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Images, or folders to search for images
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) inference: InferenceArgs,
}

/// Overrides for metadata that a weights file lacks.
#[derive(Debug, Args)]
pub(crate) struct OverrideArgs {
    /// Image size: PIXELS on each side, or HEIGHTxWIDTH [default: from the weights, else 224]
    #[arg(long, value_name = "PIXELS", value_parser = image_size)]
    pub(crate) image_size: Option<ImageSize>,
    /// How images are fitted to the size: squash (change the proportions), crop (the center, as in torchvision and
    /// timm) or letterbox (add a gray border) [default: from the weights, else crop]
    #[arg(long)]
    pub(crate) fit: Option<Fit>,
    /// With crop, the share of the shorter side that is kept [default: from the weights, else 0.875]
    #[arg(long, value_name = "SHARE", value_parser = crop_share)]
    pub(crate) crop_pct: Option<f64>,
    /// bilinear or bicubic [default: from the weights, else bicubic for timm's files and bilinear for others]
    #[arg(long)]
    pub(crate) interpolation: Option<Interpolation>,
    /// EXIF orientation: apply (turn images upright) or ignore [default: from the weights, else ignore]
    #[arg(long)]
    pub(crate) orientation: Option<Orientation>,
    /// Text file of class names, one per line, in the order of the outputs [default: from the
    /// weights; else evaluate uses the names of the folders or labels, sorted as text, and other
    /// commands use numbers]
    #[arg(long, value_name = "FILE")]
    pub(crate) classes: Option<PathBuf>,
    /// The weights come from TensorFlow, like timm's tf_ models: "same" padding, epsilon 0.001,
    /// mean and standard deviation 0.5
    #[arg(long)]
    pub(crate) tensorflow: bool,
}

/// Options for running a trained network.
#[derive(Debug, Args)]
pub(crate) struct InferenceArgs {
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "auto")]
    pub(crate) device: DeviceChoice,
    /// f32, bf16 (CPUs with AVX-512 BF16) or f16 (CUDA GPUs)
    #[arg(long, default_value = "f32")]
    pub(crate) precision: Precision,
    /// CPU threads [default: one per physical core]
    #[arg(long, value_parser = at_most::<MAX_THREADS>)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Images per batch
    #[arg(long, default_value = "64", value_parser = at_most::<MAX_BATCH_SIZE>)]
    pub(crate) batch_size: NonZeroUsize,
    /// Average the predictions for several views of each image
    #[arg(long, value_name = "VIEWS", default_value = "none", ignore_case = true)]
    pub(crate) tta: Views,
    /// Fail on an unreadable image, instead of leaving it out with a warning
    #[arg(long)]
    pub(crate) strict: bool,
    /// Use images that lack data at their end, with a warning that counts them, instead of refusing
    /// them
    #[arg(long)]
    pub(crate) accept_truncated: bool,
}

/// The views of an image for prediction.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Views {
    /// The image alone
    None,
    /// The image and its mirror image, for photographs
    Flip,
    /// The image, and four copies shifted by a 28th of its side, for digits
    Shifts,
}

impl From<Views> for mnist_data::TtaConfig {
    fn from(views: Views) -> Self {
        match views {
            Views::None => Self::None,
            Views::Flip => Self::Flip,
            Views::Shifts => Self::Shifts,
        }
    }
}

/// Show the contents of a weights file.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  classify inspect runs/mnist-001/*.safetensors")]
pub(crate) struct InspectArgs {
    /// Weights file, of any origin, or the name of fetched weights
    pub(crate) weights: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,
}

/// Export a trained network for other programs, and check the result.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  classify export --weights W --to onnx --out model.onnx
  classify export --weights W --to torchvision --out model.safetensors
  classify export --weights W --to onnx --out model.onnx --preprocess --softmax --check-images photos/

An ONNX file takes f32 images [n, 3, h, w] and returns logits [n, classes]; its metadata has the
classes, the size and fit of the images, and the mean and standard deviation of the pixels. It does
not resize: fit the images before, as printed. The file is kept only if rten reproduces this
program's logits. For other formats, Python code that loads the file is printed.")]
pub(crate) struct ExportArgs {
    /// Weights file, or the name of fetched weights
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: PathBuf,
    /// Kind of file
    #[arg(long, value_name = "FORMAT", ignore_case = true)]
    pub(crate) to: ExportFormat,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,
    /// ONNX: take u8 images [n, h, w, 3], fitted to the size, and normalise them in the graph
    #[arg(long)]
    pub(crate) preprocess: bool,
    /// ONNX: return probabilities instead of logits
    #[arg(long)]
    pub(crate) softmax: bool,
    /// ONNX: fold batch normalisations into their convolutions
    #[arg(long)]
    pub(crate) fold_batch_norm: bool,
    /// ONNX: images, or folders of them, for the check, besides generated images
    #[arg(long, value_name = "INPUT", num_args = 1..)]
    pub(crate) check_images: Vec<PathBuf>,
}

/// Translate a PyTorch project's Python dictionary of settings into a configuration file.
///
/// The file is parsed as text and never run. Keys without effect in that project are listed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  classify import-config config.py --out my.toml")]
pub(crate) struct ImportConfigArgs {
    /// The Python file
    pub(crate) file: PathBuf,
    /// The file to write [default: the configuration is printed]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Print a script for shell completion of classify's commands and options.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  classify completions bash > ~/.local/share/bash-completion/completions/classify
  classify completions fish > ~/.config/fish/completions/classify.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Write a man page for classify and one for each command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  classify man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Folder to write to
    pub(crate) dir: PathBuf,
}

/// The formats of an export.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One file with graph and weights, for onnxruntime and many others
    Onnx,
    /// Safetensors that torchvision's model of the same name loads with strict=True
    Torchvision,
    /// Safetensors under timm's names
    Timm,
}
