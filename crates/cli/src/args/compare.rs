//! Arguments of `classify compare`.

use std::path::PathBuf;

use clap::Args;

use super::values::{PictureFile, picture};

/// Compare training runs: settings that differ, scores, and whether their answers differ by more than chance.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  classify compare runs/mnist-001 runs/mnist-002
  classify compare runs/* --curves curves.svg

Each run is tested against the first with McNemar's test, on the images that both have classified:
the p-value is the probability of such a difference or a larger one between networks that are
equally good. It says nothing about another seed or other training images.")]
pub(crate) struct CompareArgs {
    /// Folders of runs
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Print everything as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw the curves of all runs in one picture; FILE ends in .png or .svg
    #[arg(long, value_name = "FILE", value_parser = picture)]
    pub(crate) curves: Option<PictureFile>,
}
