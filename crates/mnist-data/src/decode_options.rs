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
    /// What becomes of the orientation that the EXIF data of a JPEG, PNG or WebP file give. That of a TIFF file is always
    /// applied, as Pillow does.
    pub orientation: Orientation,
}

/// How the pixels of an image are computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoding {
    /// The same pixels as PIL and torchvision.
    #[default]
    Exact,
    /// Decodes only as much of a JPEG as needed. One that is resized to at most a quarter, an
    /// eighth or a sixteenth is decoded at a half, a quarter or an eighth of its size, as in PIL's
    /// `thumbnail`. The result differs by some grey levels.
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
