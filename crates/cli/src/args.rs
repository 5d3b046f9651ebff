//! The definition of the command line. Values are not interpreted here.

mod compare;
mod models;
mod predict;
mod serve;
mod training;
mod using;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use compare::CompareArgs;
pub(crate) use models::ModelsArgs;
pub(crate) use predict::{PredictArgs, SheetArgs, SortBy};
pub(crate) use serve::{NamedWeights, ServeArgs};
pub(crate) use training::{CrossValidateArgs, LrFindArgs, RunArgs, TrainArgs};
pub(crate) use using::{
    EvaluateArgs, ExportArgs, ExportFormat, InferenceArgs, InspectArgs, NetworkArgs, OverrideArgs,
    ReportArgs,
};
use values::dataset;
pub(crate) use values::{PictureFile, PictureFormat};

/// Train, evaluate and use image classifiers.
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
    Report(ReportArgs),
    Predict(PredictArgs),
    Compare(CompareArgs),
    Inspect(InspectArgs),
    Models(ModelsArgs),
    Export(ExportArgs),
    Serve(ServeArgs),
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
    /// Name of a model or of a file; `classify models` marks the models that can be fetched
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
