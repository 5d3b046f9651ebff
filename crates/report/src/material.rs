//! The inputs of a report: the files of a run, or an evaluation of any weights.

use std::path::{Path, PathBuf};

use framing::{Framing, ImageSize};
use mnist_data::{DecodeOptions, ImageFolder};
use trainer::{EpochReport, Evaluation, Measured, RunConfig, RunDir, RunRecord, read_metrics};

use crate::{Error, Result};

/// How images are shown: as the network sees them.
#[derive(Clone, Debug)]
pub struct View {
    /// The network's image size.
    pub size: ImageSize,
    /// How images are fitted to the size.
    pub framing: Framing,
    /// How images are decoded.
    pub decode: DecodeOptions,
}

/// The image files. Without them, a report has placeholders.
#[derive(Clone, Debug, Default)]
pub struct Images<'a> {
    /// The training images.
    pub training: Option<&'a ImageFolder>,
    /// The images that were measured; their ids are those of the answers.
    pub measured: Option<&'a ImageFolder>,
    /// How they are shown; `None`: no image is shown.
    pub view: Option<View>,
}

/// Everything that a report shows. Parts that are missing are named in the report, with the command that makes them.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// The heading: the name of the run's folder, or of the weights.
    pub name: String,
    /// The folder of the run, if it is a run.
    pub run: Option<PathBuf>,
    /// `run.json`.
    pub record: Option<RunRecord>,
    /// The configuration, and its text as in `config.toml`.
    pub config: Option<(RunConfig, String)>,
    /// The reports of the epochs.
    pub epochs: Vec<EpochReport>,
    /// The scores, and the images they belong to.
    pub scores: Option<(Evaluation, Measured)>,
    /// The file with the answers for each image.
    pub answers: Option<PathBuf>,
    /// The folder of explanations, with `index.csv`.
    pub explanations: Option<PathBuf>,
}

impl Material {
    /// Reads the files of a run. A run that was interrupted, or that an older version wrote, lacks some.
    ///
    /// # Errors
    ///
    /// [`Error::NoRun`] if the folder has no `config.toml`; [`Error::Io`] and [`Error::Run`] for a file that cannot be
    /// read or understood.
    pub fn of_run(run: &Path) -> Result<Self> {
        let path = run.join("config.toml");
        if !path.is_file() {
            return Err(Error::NoRun {
                path: run.to_owned(),
                problem:
                    "it has no config.toml; expected the folder of a run, such as runs/mnist-001"
                        .to_owned(),
            });
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let config = RunConfig::from_toml(&text, &path.display().to_string())
            .map_err(trainer::Error::from)?;
        let metrics = run.join("metrics.jsonl");
        let epochs = match metrics.is_file() {
            true => read_metrics(&metrics)?,
            false => Vec::new(),
        };
        let scores = Evaluation::of_run(run)?;
        let answers = scores
            .as_ref()
            .map(|(_, measured)| RunDir::answers(run, *measured));
        let real = std::fs::canonicalize(run).unwrap_or_else(|_| run.to_owned());
        let name = real
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        Ok(Self {
            name: name.unwrap_or_else(|| "run".to_owned()),
            run: Some(run.to_owned()),
            record: RunRecord::read(run)?,
            config: Some((config, text)),
            epochs,
            scores,
            answers: answers.filter(|path| path.is_file()),
            explanations: Some(run.join("explanations"))
                .filter(|path| path.join("index.csv").is_file()),
        })
    }

    /// The scores, and the images they belong to.
    pub(crate) fn scores(&self) -> Option<(&Evaluation, Measured)> {
        let (scores, measured) = self.scores.as_ref()?;
        Some((scores, *measured))
    }

    /// The view of the run's images; `None` without a configuration.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        let (config, _) = self.config.as_ref()?;
        Some(View {
            size: config.data.image_size,
            framing: config.data.framing(),
            decode: config.data.decode_options(),
        })
    }

    /// The epoch of the best weights.
    pub(crate) fn best_epoch(&self) -> Option<usize> {
        self.record.as_ref()?.best_epoch
    }
}
