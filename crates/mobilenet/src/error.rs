//! The errors of this crate.

use std::io;
use std::path::{Path, PathBuf};

use crate::{BadNumbers, LoadReport};

/// An error of the model or of its weight files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor operation or a device failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// The configured model cannot be built.
    #[error(transparent)]
    Spec(#[from] engine::SpecError),
    /// The width multiplier is invalid.
    #[error("model width is {0}, expected a number above 0 and at most {max}", max = crate::MAX_WIDTH)]
    Width(f64),
    /// A value is out of range.
    #[error("`{key}` is {found}; expected {expected}")]
    Setting {
        /// Name of the setting.
        key: &'static str,
        /// The value.
        found: String,
        /// The accepted values.
        expected: &'static str,
    },
    /// A batch normalisation got a single value per channel, which has no variance.
    #[error(
        "{layer} sees one value per channel in training; give more than one image in a batch \
         or larger images (the last, partial batch may be the one: drop it)"
    )]
    OneValuePerChannel {
        /// Name of the layer.
        layer: String,
    },
    /// Images have the wrong shape or type, or no pixels.
    #[error(
        "images are {found}, expected {expected} of shape [n, height, width, 3], channels last, \
         none of them 0"
    )]
    Images {
        /// Type and shape that were found.
        found: String,
        /// The expected type.
        expected: &'static str,
    },
    /// Images are smaller than the windows of a layer.
    #[error(
        "images of {}×{} pixels are too small for this network: nothing is left of them after \
         {layer}; use larger images",
        found.0, found.1
    )]
    ImagesTooSmall {
        /// Height and width.
        found: (usize, usize),
        /// Name of the layer.
        layer: String,
    },
    /// A file could not be read or written.
    #[error("cannot access {path}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file is not a weights file, or is damaged.
    #[error("{path}: {reason}")]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A file contains weights that are not usable numbers.
    #[error("{path}: {}", bad_numbers(found))]
    BadNumbers {
        /// Path of the file.
        path: PathBuf,
        /// Tensors with unusable values.
        found: Vec<BadNumbers>,
    },
    /// A file contains weights that do not fit the model.
    #[error("{path} holds weights of another model: {report}{}", list(nearest))]
    OtherModel {
        /// Path of the file.
        path: PathBuf,
        /// The matches and mismatches.
        report: Box<LoadReport>,
        /// Some of the missing names, each with the most similar name in the file.
        nearest: Vec<(String, String)>,
    },
    /// An exported file failed its check and was not kept.
    #[error("{path} was not written")]
    Export {
        /// Path of the file.
        path: PathBuf,
        /// Why the file was not kept.
        source: Box<Error>,
    },
    /// A network cannot be encoded as an ONNX file.
    #[error("cannot encode the ONNX file: {0}")]
    OnnxWrite(String),
    /// An ONNX file gives other results than the network.
    #[error("the ONNX file is not this network: {0}")]
    OnnxCheck(String),
    /// The gradient of the logits has another shape than the logits.
    #[error("the gradient of logits {expected:?} has the shape {found:?}")]
    GradientShape {
        /// Shape of the gradient.
        found: Vec<usize>,
        /// Shape of the logits.
        expected: Vec<usize>,
    },
    /// An update was requested, but no gradient is available.
    #[error(
        "no gradient to update by: call `backward` on a forward pass, or on a loss of \
         `forward_train`'s logits, first"
    )]
    NoGradient,
    /// This processor does not support bf16.
    #[error(transparent)]
    NoBf16(#[from] engine::NoBf16),
    /// This processor lacks the instructions that a precision names.
    #[error("{}", .0.lack())]
    NoInstructions(crate::Precision),
    /// The device does not support this precision.
    #[error(
        "precision {0} does not run on this device: bf16 is for CPUs, f16 for CUDA GPUs; use f32"
    )]
    Precision(crate::Precision),
    /// There is no such GPU, or it failed.
    #[cfg(feature = "cuda")]
    #[error("{0}")]
    Gpu(#[from] gpu::DeviceError),
    /// The GPU's engine has no kernel for one of the network's layers.
    #[error("{0} has layers that do not run on this GPU: use the CPU")]
    NotOnGpu(String),
    /// bf16 was requested for a network that is not made of convolutions alone.
    #[error("on CPUs bf16 is for networks of convolutions, and {0} has other layers: use f32")]
    OnlyConvolutions(String),
    /// A model of the zoo was requested in a build without it; see
    /// [`Backbone::is_built`](crate::zoo::Backbone::is_built).
    #[error("{0} is a model of the zoo, which this build leaves out; build with --features zoo")]
    NotBuilt(crate::zoo::Backbone),
    /// A frozen backbone cannot be trained.
    #[error("the backbone of {0} is frozen; only its head can be trained")]
    Frozen(crate::zoo::Backbone),
    /// A backbone gives only pooled features, so Grad-CAM has no map.
    #[error(
        "{0} gives only pooled features, so there is no map of places to explain its answers by; \
         explanations need a network that is not of the zoo"
    )]
    NoMap(crate::zoo::Backbone),
    /// A Grad-CAM map has a value that is not finite.
    #[error(
        "the map of {layer} has values that are not finite numbers: the weights are too large, as \
         after diverged training; use other weights"
    )]
    MapNotFinite {
        /// Name of the layer.
        layer: String,
    },
    /// A model does not support this precision.
    #[error("{0} computes in f32, not in {1}")]
    OnlyF32(crate::zoo::Backbone, crate::Precision),
    /// The fused engine failed.
    #[error(transparent)]
    Engine(engine::FusedError),
    /// A buffer for the parameters has the wrong length.
    #[error("{what} has {found} numbers, the model has {expected}")]
    Length {
        /// Name of the buffer.
        what: &'static str,
        /// Length of the buffer.
        found: usize,
        /// Length that the model needs.
        expected: usize,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the error comes from arguments or settings (an unsupported precision, a backbone without maps
    /// or an invalid network), not from a file or from this crate.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Setting { .. }
                | Self::Spec(_)
                | Self::Precision(_)
                | Self::NotOnGpu(_)
                | Self::OnlyConvolutions(_)
                | Self::NoBf16(_)
                | Self::NoInstructions(_)
                | Self::OnlyF32(..)
                | Self::NoMap(_)
                | Self::ImagesTooSmall { .. }
                | Self::Width(_)
        )
    }

    /// Converts an I/O error of the file at `path`.
    pub(crate) fn file(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Error::File {
            path: path.into(),
            source,
        }
    }

    /// An error that says why the file at `path` is invalid.
    pub(crate) fn format(path: &Path, reason: impl Into<String>) -> Self {
        Error::Format {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

impl From<engine::FusedError> for Error {
    fn from(error: engine::FusedError) -> Self {
        match error {
            engine::FusedError::OneValuePerChannel { layer } => Error::OneValuePerChannel { layer },
            engine::FusedError::NoPixels {
                layer,
                height,
                width,
            } => Error::ImagesTooSmall {
                found: (height, width),
                layer,
            },
            other => Error::Engine(other),
        }
    }
}

/// Returns [`Error::Setting`] unless `valid`.
pub(crate) fn require(
    valid: bool,
    key: &'static str,
    found: impl std::fmt::Debug,
    expected: &'static str,
) -> Result<()> {
    if valid {
        return Ok(());
    }
    Err(Error::Setting {
        key,
        found: format!("{found:?}"),
        expected,
    })
}

fn list(nearest: &[(String, String)]) -> String {
    let each = nearest.iter();
    each.map(|(wanted, near)| format!("\nthe nearest to {wanted} is {near}"))
        .collect()
}

fn bad_numbers(found: &[BadNumbers]) -> String {
    let first = found.first().map(BadNumbers::to_string);
    let count: usize = found.iter().map(|found| found.count).sum();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let tensors = found.len();
    format!(
        "{}: in all, {count} number{} of {tensors} tensor{} cannot be computed with (NaN, \
         infinite, or a variance below 0); the file is damaged or its training diverged: use an \
         earlier checkpoint",
        first.unwrap_or_default(),
        plural(count),
        plural(tensors)
    )
}
