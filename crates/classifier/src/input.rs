//! The input of a classifier.

use std::path::Path;

use mnist_data::{DecodeOptions, Image};
use mobilenet::weights::WeightsMetadata;

/// An image to classify, encoded or decoded. References to bytes and to [`Image`]s convert into it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Input<'i> {
    /// The contents of a JPEG, PNG, GIF, BMP, PNM, TIFF or WebP file.
    Bytes(&'i [u8]),
    /// A decoded image, gray or RGB, of any size.
    Image(&'i Image),
}

impl Input<'_> {
    /// The image, decoded and resized for the network with this metadata, or the problem with it.
    pub(crate) fn prepared(
        self,
        network: &WeightsMetadata,
        decode: DecodeOptions,
    ) -> Result<Image, String> {
        let (size, framing) = (network.image_size, network.framing);
        let decode = DecodeOptions {
            orientation: network.orientation,
            ..decode
        };
        let image = match self {
            Self::Bytes(bytes) => Image::decode_at(bytes, Path::new(""), size, framing, decode),
            Self::Image(image) => image.fitted(size, framing),
        };
        image.map_err(|error| match error {
            // Bytes have no path, so the message contains only the problem.
            mnist_data::Error::BadImage { problem, .. } => problem,
            other => mnist_data::with_causes(&other),
        })
    }
}

impl<'i> From<&'i [u8]> for Input<'i> {
    fn from(bytes: &'i [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'i> From<&'i &[u8]> for Input<'i> {
    fn from(bytes: &'i &[u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'i> From<&'i Vec<u8>> for Input<'i> {
    fn from(bytes: &'i Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'i, const N: usize> From<&'i [u8; N]> for Input<'i> {
    fn from(bytes: &'i [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'i> From<&'i Image> for Input<'i> {
    fn from(image: &'i Image) -> Self {
        Self::Image(image)
    }
}
