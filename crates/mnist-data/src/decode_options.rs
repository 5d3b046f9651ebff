//! How images are decoded.

use framing::Orientation;
use serde::{Deserialize, Serialize};

/// How an image file becomes pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct DecodeOptions {
    /// How the pixels are computed.
    pub decoding: Decoding,
    /// Treatment of an image that lacks data at its end.
    pub truncated: TruncatedImages,
    /// Whether the EXIF orientation of JPEG, PNG and WebP files is applied. The orientation of a TIFF file always is,
    /// as in Pillow.
    pub orientation: Orientation,
}

/// How the pixels of an image are computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoding {
    /// The same pixels as PIL and torchvision.
    #[default]
    Exact,
    /// Decodes a JPEG at reduced size if possible. If it will be resized to at most a quarter, an
    /// eighth or a sixteenth, it is decoded at half, a quarter or an eighth of its size, as in
    /// PIL's `thumbnail`. The result differs by a few grey levels.
    Fast,
}

impl Decoding {
    /// Its name in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
        }
    }
}

/// Treatment of an image that lacks data at its end, as after an interrupted download.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruncatedImages {
    /// It is a bad image, as in PIL by default.
    #[default]
    Refuse,
    /// It is used and counted if it is a JPEG, PNG, GIF, BMP or PNM file. Missing pixels are gray or
    /// black.
    Accept,
}
