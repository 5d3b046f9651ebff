/// Errors of loading weights and classifying images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights cannot be used, or the network or its device failed.
    #[error(transparent)]
    Network(#[from] mobilenet::Error),
    /// A loader could not read its images.
    #[error(transparent)]
    Data(#[from] mnist_data::Error),
    /// A tensor operation failed.
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
    /// An input image cannot be decoded.
    #[error("{}: {problem}", image_name(*index, *count))]
    Image {
        /// The index of the image, from 0; messages count from 1.
        index: usize,
        /// The number of input images.
        count: usize,
        /// The problem and its remedy.
        problem: String,
    },
    /// The number of bytes does not match the shape.
    #[error(
        "{found} bytes of pixels for the shape {shape:?}; expected [n, height, width, 3] and a byte for each of n × height × width × 3 values"
    )]
    Pixels {
        /// The number of bytes.
        found: usize,
        /// The shape that was given.
        shape: [usize; 4],
    },
    /// The number of normalised values does not match the shape.
    #[error("{found} values for the shape {shape:?}, [n, 3, height, width]")]
    Values {
        /// The number of values.
        found: usize,
        /// The shape that was given.
        shape: [usize; 4],
    },
    /// The number of class names differs from the number of outputs.
    #[error(
        "the metadata names {names} classes and the network has {outputs} outputs; give a name for each output"
    )]
    ClassNames {
        /// The number of names.
        names: usize,
        /// The number of outputs.
        outputs: usize,
    },
    /// The networks cannot form an ensemble.
    #[error(
        "these weights cannot form an ensemble: {0}; expected networks for the same classes and images"
    )]
    Ensemble(String),
    /// Calibrated probabilities need a temperature, and the weights have none.
    #[error(
        "the weights have no temperature, so their probabilities cannot be calibrated; weights that are saved in training have one, fitted on the validation images"
    )]
    NoTemperature,
    /// A temperature is not a finite number above 0.
    #[error("a temperature of {0}; expected a finite number above 0")]
    Temperature(f64),
    /// An ensemble has no explanations.
    #[error(
        "an explanation is of one network, and these are several; give the weights of one of them"
    )]
    ExplainEnsemble,
    /// A logit of an image is not finite.
    #[error(
        "a logit of {image} is {logit}, not a finite number: the weights are too large, as after diverged training; use other weights, or precision f32"
    )]
    NonFiniteAnswer {
        /// The name of the image.
        image: String,
        /// The value of the logit.
        logit: f32,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the caller's input is wrong (an image, pixels or a setting such as the temperature), rather than the weights,
    /// the network or the device. A server would answer such an error with status 400.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Image { .. }
            | Self::Pixels { .. }
            | Self::Values { .. }
            | Self::NoTemperature
            | Self::Temperature(_)
            | Self::ExplainEnsemble => true,
            Self::Network(error) => error.is_usage(),
            Self::Data(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// The name of an input image in messages.
pub(crate) fn image_name(index: usize, count: usize) -> String {
    match count {
        1 => "the image".to_owned(),
        _ => format!("image {} of {count}", index + 1),
    }
}
