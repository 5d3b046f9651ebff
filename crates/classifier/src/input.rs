//! What a classifier is shown.

use std::path::Path;

use mnist_data::{DecodeOptions, Image};

/// An image, encoded or decoded. References to bytes and to [`Image`]s become one by themselves.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Input<'i> {
    /// The contents of a JPEG, PNG, GIF, BMP, PNM, TIFF or WebP file.
    Bytes(&'i [u8]),
    /// A decoded image, gray or RGB, of any size.
    Image(&'i Image),
}

impl Input<'_> {
    /// The image at the size that a network sees, `size` × `size`; or what is wrong with it.
    pub(crate) fn at_size(self, size: u32, decode: DecodeOptions) -> Result<Image, String> {
        let image = match self {
            Self::Bytes(bytes) => Image::decode_at(bytes, Path::new(""), size, decode),
            Self::Image(image) => image.resized(size),
        };
        image.map_err(|error| match error {
            // Bytes have no path that a message could name.
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
