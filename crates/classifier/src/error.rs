/// Errors between a weights file and an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights cannot be used, or the network or its device gave out.
    #[error(transparent)]
    Network(#[from] mobilenet::Error),
    /// A loader could not read its images.
    #[error(transparent)]
    Data(#[from] mnist_data::Error),
    /// A tensor operation failed.
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
    /// One of the images that were given cannot be decoded.
    #[error("{}: {problem}", image_name(*index, *count))]
    Image {
        /// Its place among them, from 0; messages count from 1.
        index: usize,
        /// Number of images that were given together.
        count: usize,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// Pixels that do not fill the shape that was given with them.
    #[error(
        "{found} bytes of pixels for the shape {shape:?}; expected [n, height, width, 3] and a byte for each of n × height × width × 3 values"
    )]
    Pixels {
        /// Number of bytes.
        found: usize,
        /// The shape.
        shape: [usize; 4],
    },
    /// A network and class names that do not belong together.
    #[error(
        "the metadata names {names} classes and the network has {outputs} outputs; give a name for each output"
    )]
    ClassNames {
        /// Number of names.
        names: usize,
        /// Number of outputs.
        outputs: usize,
    },
    /// Networks that do not form an ensemble.
    #[error(
        "these weights cannot form an ensemble: {0}; expected networks for the same classes and images"
    )]
    Ensemble(String),
    /// A logit of an image is not finite.
    #[error(
        "a logit of {image} is {logit}, not a finite number: the weights are too large, as after diverged training; use other weights, or precision f32"
    )]
    NonFiniteAnswer {
        /// The image.
        image: String,
        /// The logit.
        logit: f32,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether what the caller gave is at fault (an image, pixels, a setting), and not the weights,
    /// the network or the device. A server answers such an error with a status of 400.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Image { .. } | Self::Pixels { .. } => true,
            Self::Network(error) => error.is_usage(),
            Self::Data(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// What messages call an image of those that were given together.
pub(crate) fn image_name(index: usize, count: usize) -> String {
    match count {
        1 => "the image".to_owned(),
        _ => format!("image {} of {count}", index + 1),
    }
}
