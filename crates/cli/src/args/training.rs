//! Arguments of the commands that train.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::time;

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
    /// Write the run's events to stdout, one JSON object per line; docs/events.md lists them
    #[arg(long)]
    pub(crate) json_log: bool,
    /// Show the run full-screen, with curves; keys: s saves the state, q stops, ? shows help
    #[arg(long, conflicts_with = "json_log")]
    pub(crate) tui: bool,
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
    /// Write the events of all folds to stdout, one JSON object per line; docs/events.md lists them
    #[arg(long)]
    pub(crate) json_log: bool,
}
