use std::path::PathBuf;

/// What can go wrong while training, evaluating or predicting.
///
/// Every variant names the file, key or batch it is about and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The images or their folders cannot be used.
    #[error(transparent)]
    Data(#[from] mnist_data::Error),
    /// The network or a weights file cannot be used.
    #[error(transparent)]
    Network(#[from] mobilenet::Error),
    /// Networks cannot answer together, or give no answer.
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
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The run's folder already holds something.
    #[error(
        "run folder {} is not empty; a run never overwrites another one: choose a new folder with --run-dir, or leave it out to get the next number",
        .0.display()
    )]
    RunExists(PathBuf),
    /// Another run that is going on has the folder.
    #[error(
        "run folder {} belongs to another run, which is going on; choose another folder",
        .0.display()
    )]
    RunInUse(PathBuf),
    /// Weights name no classes, and the images they are measured on do not tell either.
    #[error(
        "{}: the weights have {outputs} outputs and name no classes; the images have {found}, so that nothing tells which output is which class; give the class names in the order of the outputs",
        data.display()
    )]
    UnnamedClasses {
        /// The images.
        data: PathBuf,
        /// Number of their classes.
        found: usize,
        /// Number of outputs.
        outputs: usize,
    },
    /// Weights name no classes, and labels refute the order that was assumed.
    #[error(
        "{}: the weights name no classes; with the classes in the order of their names as text the accuracy is {as_text:.4}, and {other:.4} with {order}; give the class names in the order of the outputs",
        data.display()
    )]
    ClassOrder {
        /// The images.
        data: PathBuf,
        /// Accuracy with the classes sorted as text, which is what was assumed.
        as_text: f64,
        /// A better order.
        order: &'static str,
        /// Accuracy in that order.
        other: f64,
    },
    /// The folders hold another number of classes than the configuration says.
    #[error(
        "{}: {found} class folders ({names}), but model.classes is {expected}; correct model.classes, or leave it at \"auto\" to take the number from the folders",
        root.display()
    )]
    ClassCount {
        /// The training split.
        root: PathBuf,
        /// Number of class folders found.
        found: usize,
        /// Number the configuration asks for.
        expected: usize,
        /// The first class names found.
        names: String,
    },
    /// The loss is not a finite number any more.
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
        /// The best weights on disk, where there are any.
        best: Option<PathBuf>,
    },
    /// The last step of an epoch left weights that are not finite numbers any more.
    #[error(
        "epoch {epoch}: its last step left weights that are not finite; lower train.learning_rate, or set train.clip_gradient_norm = 1.0{}",
        kept(best)
    )]
    NonFiniteWeights {
        /// Epoch, counted from 1.
        epoch: usize,
        /// The best weights on disk, where there are any.
        best: Option<PathBuf>,
    },
    /// After an epoch, an answer to a validation image is no number.
    #[error(
        "epoch {epoch}: a logit of a validation image is {logit}; lower train.learning_rate, or set train.clip_gradient_norm = 1.0{}",
        kept(best)
    )]
    NonFiniteValidation {
        /// Epoch, counted from 1.
        epoch: usize,
        /// The logit.
        logit: f32,
        /// The best weights on disk, where there are any.
        best: Option<PathBuf>,
    },
    /// The best weights of a finished run could not be written, though it was tried after each
    /// epoch since and once more at the end.
    #[error(
        "{}: the best weights, of epoch {epoch}, could not be written: {problem}; make room for them and train again{}",
        path.display(), kept(best)
    )]
    WeightsUnwritten {
        /// The file.
        path: PathBuf,
        /// Epoch, counted from 1.
        epoch: usize,
        /// What the operating system said.
        problem: String,
        /// The best weights on disk, where there are any.
        best: Option<PathBuf>,
    },
    /// No image was left to work on.
    #[error("{0}")]
    NoImages(String),
    /// The chosen device is not there.
    #[error("device {device}: {reason}")]
    Device {
        /// The device as written in the configuration.
        device: String,
        /// Why it cannot be used, and what to do.
        reason: String,
    },
    /// Something of one class count met something of another.
    #[error("{0}")]
    Shape(String),
}

/// What a classifier meets in a loader, a network or a device is the same error without one.
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

/// Says where the best weights are, where there are any.
fn kept(best: &Option<PathBuf>) -> String {
    let said = |path: &PathBuf| format!("; the best weights so far are kept in {}", path.display());
    best.as_ref().map(said).unwrap_or_default()
}

impl Error {
    /// Whether arguments or configuration are at fault, be it that they show it only later: when
    /// the data, the network or the optimizer meet them.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::ClassCount { .. }
            | Self::UnnamedClasses { .. }
            | Self::ClassOrder { .. } => true,
            Self::Data(error) => error.is_usage(),
            Self::Network(error) => error.is_usage(),
            Self::Classifier(error) => error.is_usage(),
            Self::Optim(error) => error.is_usage(),
            _ => false,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// The same, which says where the best weights on disk are, if it can.
    pub(crate) fn keeping(mut self, kept: Option<PathBuf>) -> Self {
        if let Self::NonFiniteLoss { best, .. } | Self::NonFiniteWeights { best, .. } = &mut self {
            *best = kept;
        }
        self
    }
}

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;
