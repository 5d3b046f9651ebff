//! How images are decoded.

use framing::Orientation;
use serde::{Deserialize, Serialize};

use crate::decode::MAX_BYTES;

/// How an image file becomes pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecodeOptions {
    /// How the pixels are computed.
    pub decoding: Decoding,
    /// What to do with an image that lacks data at its end.
    pub truncated: TruncatedImages,
    /// Whether the EXIF orientation of JPEG, PNG and WebP files is applied. The orientation of a TIFF file is always
    /// applied, as in Pillow.
    pub orientation: Orientation,
    /// The most memory in bytes for decoding one image, its file and pixels included. Larger images are refused before
    /// memory is allocated. The default is [`MAX_IMAGE_BYTES`](crate::MAX_IMAGE_BYTES); a program that decodes the
    /// images of strangers wants less.
    pub max_bytes: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            decoding: Decoding::default(),
            truncated: TruncatedImages::default(),
            orientation: Orientation::default(),
            max_bytes: MAX_BYTES,
        }
    }
}

/// How the pixels of an image are computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoding {
    /// Gives the same pixels as PIL and torchvision.
    #[default]
    Exact,
    /// Decodes a JPEG at reduced size if possible: at one to seven eighths of its size, the fewest
    /// that the resize need not enlarge, as in PIL's `draft`. A photo of 500 × 375 pixels for 224 × 224
    /// is decoded at five eighths. The result differs by a grey level on average.
    Fast,
}

impl Decoding {
    /// The option's name in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
        }
    }
}

/// What to do with an image that lacks data at its end, for example after an interrupted download.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruncatedImages {
    /// The image is a bad image, as in PIL by default.
    #[default]
    Refuse,
    /// The image is used and counted if it is a JPEG, PNG, GIF, BMP or PNM file. Its missing pixels are gray or black.
    Accept,
}
