//! Arguments of `classify predict`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::InferenceArgs;
use super::values::{PictureFile, at_most, picture};

/// Classify images: write predictions.csv, print JSON, sort the images into folders, or draw some with their predictions.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("outputs").args(["out", "json", "sort_into", "sheet", "explain"]).required(true).multiple(true)))]
#[command(after_help = "\
Examples:
  classify predict --weights W --out out photos/
  classify predict --weights W --json --top-k 3 photos/
  classify predict --weights W --sort-into sorted photos/
  classify predict --weights W --explain why photos/
  classify predict --weights W --sheet wrong.png --count 30 --wrong photos/test

At least one output is needed: --out, --json, --sort-into, --sheet or --explain.

--out writes DIR/predictions.csv: image_id,label,probability; with --top-k then
label_2,probability_2 and so on; with --probabilities then p_NAME for each class NAME.
Probabilities have six decimals there, and all digits with --json. An id is the image's path
relative to its input; with several inputs, it begins with the input. Ids and class names are
written unchanged: import them into a spreadsheet as text, since it may take one for a formula.

The true class of an image is known if it is in a folder with the name of one of the classes of
the weights, or if a CSV file lists it.")]
pub(crate) struct PredictArgs {
    /// Weights file, of any origin, or the name of fetched weights; several form an ensemble that
    /// averages their probabilities
    #[arg(long, required = true, value_name = "FILE")]
    pub(crate) weights: Vec<PathBuf>,
    /// Folder for predictions.csv
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object a line for each image: image_id, label and probability; with --top-k
    /// top_k, a list of label and probability; with --probabilities an object of them by class
    #[arg(long)]
    pub(crate) json: bool,
    /// Also give the second most probable class and so on, up to the K-th
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<NonZeroUsize>,
    /// Also give the probability of every class
    #[arg(long)]
    pub(crate) probabilities: bool,
    #[command(flatten)]
    pub(crate) sort: SortArgs,
    #[command(flatten)]
    pub(crate) sheet: SheetArgs,
    /// Draw where in each image the network looked for the predicted class (Grad-CAM): a PNG per
    /// image in DIR, and DIR/index.csv with layer, class, probability, and row and column of the
    /// maximum as fractions of the image; needs a single weights file
    #[arg(long, value_name = "DIR")]
    pub(crate) explain: Option<PathBuf>,
    /// Images, folders to search for images, or CSV files with the columns path and label
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) inference: InferenceArgs,
}

/// Options for sorting images into folders.
#[derive(Debug, Args)]
pub(crate) struct SortArgs {
    /// Copy each image into a folder of DIR named after its predicted class, under its path
    /// relative to the input. Originals stay, and nothing is overwritten: an image that is there
    /// already is left, and another file in its place is an error. A character that no folder's
    /// name should have is written as %XX
    #[arg(long, value_name = "DIR")]
    pub(crate) sort_into: Option<PathBuf>,
    /// How --sort-into makes the files
    #[arg(
        long,
        value_name = "HOW",
        default_value = "copy",
        requires = "sort_into",
        ignore_case = true
    )]
    pub(crate) sort_by: SortBy,
}

/// How an image comes into another folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortBy {
    /// Copy the file
    Copy,
    /// Give the same file a second name; only within one file system
    Hardlink,
    /// Link to the original's absolute path
    Symlink,
}

/// Options for a sheet of predictions.
#[derive(Debug, Args)]
pub(crate) struct SheetArgs {
    /// Draw some images with predicted class and probability; FILE ends in .png or .svg. Where the
    /// true class is known, right answers have a tick, wrong ones a cross and the true class
    #[arg(long, value_name = "FILE", value_parser = picture)]
    pub(crate) sheet: Option<PictureFile>,
    /// The number of images on the sheet, drawn at random
    #[arg(long, value_name = "N", default_value = "4", requires = "sheet", value_parser = at_most::<1000>)]
    pub(crate) count: NonZeroUsize,
    /// The seed of that draw
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "sheet")]
    pub(crate) seed: u64,
    /// Draw only images with a wrong answer
    #[arg(long, requires = "sheet")]
    pub(crate) wrong: bool,
}
