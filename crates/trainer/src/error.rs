use std::path::PathBuf;

use crate::state::Place;

/// Errors of training, evaluation and prediction.
///
/// Every variant names the file, key or batch, and suggests a remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The images or their folders are invalid.
    #[error(transparent)]
    Data(#[from] mnist_data::Error),
    /// The network or a weights file is invalid.
    #[error(transparent)]
    Network(#[from] mobilenet::Error),
    /// A classifier failed: for example, networks do not form an ensemble, or a logit is not finite.
    #[error(transparent)]
    Classifier(classifier::Error),
    /// The optimizer or the learning-rate schedule refuses its settings.
    #[error(transparent)]
    Optim(#[from] optim::Error),
    /// A tensor operation failed.
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
    /// A file or folder of the run cannot be read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The run's folder is not empty.
    #[error(
        "run folder {} is not empty; a run never overwrites another one: choose a new folder with --run-dir, or leave it out to get the next number",
        .0.display()
    )]
    RunExists(PathBuf),
    /// Another active run uses the folder.
    #[error(
        "run folder {} belongs to another run, which is still running; wait for its end, or choose another folder",
        .0.display()
    )]
    RunInUse(PathBuf),
    /// The weights have no class names, and the evaluated images do not determine them.
    #[error(
        "{}: the weights have {outputs} outputs and name no classes; the images have {found}, so the class of each output is unknown; give the class names in the order of the outputs",
        data.display()
    )]
    UnnamedClasses {
        /// The name of the images in messages.
        data: PathBuf,
        /// The number of classes of the images.
        found: usize,
        /// The number of the network's outputs.
        outputs: usize,
    },
    /// The weights have no class names, and the labels contradict the assumed order.
    #[error(
        "{}: the weights name no classes; with the classes in the order of their names as text the accuracy is {as_text:.4}, and {other:.4} with {order}; give the class names in the order of the outputs",
        data.display()
    )]
    ClassOrder {
        /// The name of the images in messages.
        data: PathBuf,
        /// Accuracy with the assumed order: classes sorted as text.
        as_text: f64,
        /// An order of the classes with a higher accuracy.
        order: &'static str,
        /// Accuracy in that order.
        other: f64,
    },
    /// The number of class folders differs from the configured one.
    #[error(
        "{}: {found} class folders ({names}), but model.classes is {expected}; correct model.classes, or leave it at \"auto\" to take the number from the folders",
        root.display()
    )]
    ClassCount {
        /// The training split.
        root: PathBuf,
        /// Number of class folders found.
        found: usize,
        /// The number of classes in the configuration.
        expected: usize,
        /// The first few class names that were found.
        names: String,
    },
    /// The loss is not finite.
    #[error(
        "epoch {epoch}, batch {batch}: the loss is {loss}; lower train.learning_rate, set train.clip_gradient_norm = 1.0, or check the input images{}",
        kept(best)
    )]
    NonFiniteLoss {
        /// Epoch, counted from 1.
        epoch: usize,
        /// Batch within the epoch, counted from 1.
        batch: usize,
        /// The loss.
        loss: f64,
        /// The best weights on disk, if any.
        best: Option<PathBuf>,
    },
    /// A gradient is not finite.
    #[error(
        "epoch {epoch}, batch {batch}: the gradient is not finite; lower train.learning_rate, set \
         train.clip_gradient_norm = 1.0, or check the input images{}",
        kept(best)
    )]
    NonFiniteGradient {
        /// Epoch, counted from 1.
        epoch: usize,
        /// Batch within the epoch, counted from 1.
        batch: usize,
        /// The best weights on disk, if any.
        best: Option<PathBuf>,
    },
    /// The last step of an epoch left weights that are not finite.
    #[error(
        "epoch {epoch}: its last step left weights that are not finite; lower train.learning_rate, or set train.clip_gradient_norm = 1.0{}",
        kept(best)
    )]
    NonFiniteWeights {
        /// Epoch, counted from 1.
        epoch: usize,
        /// The best weights on disk, if any.
        best: Option<PathBuf>,
    },
    /// A logit of a validation image is not finite.
    #[error(
        "epoch {epoch}: a logit of a validation image is {logit}; lower train.learning_rate, or set train.clip_gradient_norm = 1.0{}",
        kept(best)
    )]
    NonFiniteValidation {
        /// Epoch, counted from 1.
        epoch: usize,
        /// The logit.
        logit: f32,
        /// The best weights on disk, if any.
        best: Option<PathBuf>,
    },
    /// The best weights of a finished run could not be written, despite retries after each epoch
    /// and at the end.
    #[error(
        "{}: the best weights, of epoch {epoch}, could not be written: {problem}; make room for them and train again{}",
        path.display(), kept(best)
    )]
    WeightsUnwritten {
        /// The file.
        path: PathBuf,
        /// Epoch, counted from 1.
        epoch: usize,
        /// The operating system's reason.
        problem: String,
        /// The best weights on disk, if any.
        best: Option<PathBuf>,
    },
    /// The saved state of a run cannot be used.
    #[error("{}: the state of this run cannot be used: {problem}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The state could not be saved at the end of a run or when it was interrupted, despite earlier attempts.
    #[error(
        "{}: the state of this run could not be saved: {problem}{}; {}",
        path.display(), kept(best), last_state(*last)
    )]
    StateUnsaved {
        /// The folder of the states.
        path: PathBuf,
        /// The operating system's reason.
        problem: String,
        /// The best weights on disk, if any.
        best: Option<PathBuf>,
        /// The place of the last state that was saved.
        last: Option<Place>,
    },
    /// A run cannot be resumed with other images or another teacher.
    #[error("the run cannot go on: {0}; restore what was there, or start a new run")]
    Changed(String),
    /// A folder is not that of a run that can be resumed.
    #[error("{}: {problem}", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// The problem and a remedy.
        problem: String,
    },
    /// A file of results cannot be understood.
    #[error("{}: {problem}; expected {expected}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// The problem, with its line.
        problem: String,
        /// The contents of such a file.
        expected: &'static str,
    },
    /// No images are left to use.
    #[error("{0}")]
    NoImages(String),
    /// The chosen device is unavailable.
    #[error("device {device}: {reason}")]
    Device {
        /// The device as configured.
        device: String,
        /// The reason, and a remedy.
        reason: String,
    },
    /// Incompatible shapes or numbers of classes.
    #[error("{0}")]
    Shape(String),
}

/// Converts a classifier's errors. Those of a loader, a network or a device get the variant that they have in this
/// crate.
impl From<classifier::Error> for Error {
    fn from(error: classifier::Error) -> Self {
        match error {
            classifier::Error::Network(error) => Self::Network(error),
            classifier::Error::Data(error) => Self::Data(error),
            classifier::Error::Tensor(error) => Self::Tensor(error),
            other => Self::Classifier(other),
        }
    }
}

/// The end of a message that names the best weights on disk, if any.
fn kept(best: &Option<PathBuf>) -> String {
    let said = |path: &PathBuf| format!("; the best weights so far are kept in {}", path.display());
    best.as_ref().map(said).unwrap_or_default()
}

fn last_state(last: Option<Place>) -> String {
    match last {
        Some(place) => format!(
            "the last saved state is that of epoch {}, batch {}",
            place.epoch, place.batch
        ),
        None => "no state was saved before".to_owned(),
    }
}

impl Error {
    /// Whether the caller's arguments or configuration are wrong, even if the error comes from the data, the network or
    /// the optimizer.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::ClassCount { .. }
            | Self::NoRun { .. }
            | Self::UnnamedClasses { .. }
            | Self::ClassOrder { .. } => true,
            Self::Data(error) => error.is_usage(),
            Self::Network(error) => error.is_usage(),
            Self::Classifier(error) => error.is_usage(),
            Self::Optim(error) => error.is_usage(),
            _ => false,
        }
    }

    /// Whether training diverged: a loss, a gradient, a weight or a logit is not finite.
    #[must_use]
    pub fn is_divergence(&self) -> bool {
        matches!(
            self,
            Self::NonFiniteLoss { .. }
                | Self::NonFiniteGradient { .. }
                | Self::NonFiniteWeights { .. }
                | Self::NonFiniteValidation { .. }
        )
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// This error with the path of the best weights on disk, if its variant has such a field.
    pub(crate) fn keeping(mut self, kept: Option<PathBuf>) -> Self {
        if let Self::NonFiniteLoss { best, .. }
        | Self::NonFiniteGradient { best, .. }
        | Self::NonFiniteWeights { best, .. } = &mut self
        {
            *best = kept;
        }
        self
    }
}

/// This crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;
