//! Arguments of the commands that use trained networks.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use framing::{Fit, ImageSize, Interpolation, Orientation};
use trainer::config::{DeviceChoice, MAX_BATCH_SIZE, MAX_THREADS, PrecisionChoice};

use super::values::{at_most, crop_share, image_size, share};

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
    /// Write a report, one HTML file that needs no other, and beside it the answer for each image as
    /// a CSV file of the same name
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Largest share of unreadable images to leave out; one image may always be left out unless
    /// this is 0; no class may lose all its images
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = trainer::config::BAD_IMAGE_LIMIT)]
    pub(crate) bad_image_limit: f64,
    #[command(flatten)]
    pub(crate) inference: InferenceArgs,
}

/// Make report.html and the pictures of a finished or interrupted run anew.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  classify report runs/mnist-001

Writes into the folder of the run: report.html, one page that needs no other file; for a paper
curves.svg, confusion.svg, roc.svg, reliability.svg, curves.png, confusion.png, predictions.png,
metrics.csv and MODEL_CARD.md. It reads the run's files and the images, not the network.")]
pub(crate) struct ReportArgs {
    /// Folder of the run, such as runs/mnist-001
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
}

/// Overrides for metadata that a weights file lacks.
#[derive(Debug, Args)]
pub(crate) struct OverrideArgs {
    /// Image size: PIXELS on each side, or HEIGHTxWIDTH [default: from the weights, else the network's own]
    #[arg(long, value_name = "PIXELS", value_parser = image_size)]
    pub(crate) image_size: Option<ImageSize>,
    /// How images are fitted to the size: squash (change the proportions), crop (the center, as in torchvision and
    /// timm) or letterbox (add a gray border) [default: from the weights, else the network's own]
    #[arg(long)]
    pub(crate) fit: Option<Fit>,
    /// With crop, the share of the shorter side that is kept [default: from the weights, else the network's own]
    #[arg(long, value_name = "SHARE", value_parser = crop_share)]
    pub(crate) crop_pct: Option<f64>,
    /// bilinear or bicubic [default: from the weights, else the network's own]
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
    /// the normalisation of TensorFlow's network of this name
    #[arg(long)]
    pub(crate) tensorflow: bool,
}

/// Options for loading a trained network.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "auto")]
    pub(crate) device: DeviceChoice,
    /// f32, bf16 (networks of convolutions, on CPUs with AMX or AVX-512 BF16), bf16_amx or
    /// bf16_avx512 (with these instructions), f16 (CUDA GPUs) or auto (the fastest of f32 and bf16 on
    /// this CPU, measured once)
    #[arg(long, default_value = "f32")]
    pub(crate) precision: PrecisionChoice,
    /// CPU threads [default: one per physical core]
    #[arg(long, value_parser = at_most::<MAX_THREADS>)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Divide the logits by the temperature that training has fitted on the validation images, so that probabilities
    /// are right as often as they say
    #[arg(long)]
    pub(crate) calibrated: bool,
}

/// Options for running a trained network on lists of images.
#[derive(Debug, Args)]
pub(crate) struct InferenceArgs {
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
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
    /// ONNX: with --softmax, divide the logits by the temperature that training has fitted on the validation images,
    /// so that probabilities are right as often as they say
    #[arg(long, requires = "softmax")]
    pub(crate) calibrated: bool,
    /// ONNX: fold batch normalisations into their convolutions
    #[arg(long)]
    pub(crate) fold_batch_norm: bool,
    /// ONNX: images, or folders of them, for the check, besides generated images
    #[arg(long, value_name = "INPUT", num_args = 1..)]
    pub(crate) check_images: Vec<PathBuf>,
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
