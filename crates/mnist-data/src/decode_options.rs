//! How images are decoded.

use framing::Orientation;
use serde::{Deserialize, Serialize};

/// How the pixels of an image are made of its file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct DecodeOptions {
    /// How the pixels are computed.
    pub decoding: Decoding,
    /// What becomes of an image that lacks data at its end.
    pub truncated: TruncatedImages,
    /// What becomes of the orientation that the EXIF data of a JPEG, PNG or WebP file give. That of a TIFF file is always
    /// applied, as Pillow does.
    pub orientation: Orientation,
}

/// How the pixels of an image are computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoding {
    /// As PIL and torchvision do it: the same pixels.
    #[default]
    Exact,
    /// As little of a JPEG as its use needs: one that is resized to at most a quarter, an eighth or a sixteenth is
    /// decoded at a half, a quarter or an eighth of its size, as PIL's `thumbnail` does. The result differs by some levels.
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

/// What becomes of an image that lacks data at its end, as after a download that was cut off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruncatedImages {
    /// It is a bad image, as for PIL by default.
    #[default]
    Refuse,
    /// It is used, and counted: a JPEG, PNG, GIF, BMP or PNM file whose missing pixels are gray or black.
    Accept,
}
