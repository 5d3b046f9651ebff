//! Arguments of `classify models`.

use std::num::NonZeroUsize;

use clap::Args;
use framing::ImageSize;
use trainer::config::{MAX_BATCH_SIZE, MAX_THREADS};

use super::values::{at_most, image_size};

/// List the networks: parameters, cost, image size, normalisation, executor, and the projects whose weights they load.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  classify models
  classify models resnet regnet_y_400mf --measure --image-size 224

Parameters are for 1000 classes. GFLOP are billions of multiply-adds for an image of the network's size, as in papers.
The executor is the code that runs the network on a CPU: fused (whole blocks in one pass), layered (layer by layer with
this project's kernels) or composed (candle's operators, slower). `classify fetch weights NAME` downloads ImageNet weights
of the networks with a yes under fetch.")]
pub(crate) struct ModelsArgs {
    /// Networks to list, by name or part of a name or family [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Measure images per second on this machine, in inference and in training, from random weights
    #[arg(long)]
    pub(crate) measure: bool,
    /// With --measure: images per batch
    #[arg(long, value_name = "IMAGES", default_value = "8", value_parser = at_most::<MAX_BATCH_SIZE>)]
    pub(crate) batch_size: NonZeroUsize,
    /// PIXELS on each side, or HEIGHTxWIDTH, for the cost and the measurement [default: each network's own]
    #[arg(long, value_name = "PIXELS", value_parser = image_size)]
    pub(crate) image_size: Option<ImageSize>,
    /// CPU threads [default: one per physical core]
    #[arg(long, value_parser = at_most::<MAX_THREADS>)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Print everything as JSON, one object per line
    #[arg(long)]
    pub(crate) json: bool,
}
