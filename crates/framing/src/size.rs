//! Height and width.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The height and width of a network's images, in pixels.
///
/// It is serialised as one number if height and width are equal, otherwise as `[height, width]`. Its text form is `224`
/// or `160x224`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageSize {
    /// The height in pixels.
    pub height: u32,
    /// The width in pixels.
    pub width: u32,
}

impl ImageSize {
    /// A square of this side.
    #[must_use]
    pub const fn square(side: u32) -> Self {
        Self {
            height: side,
            width: side,
        }
    }

    /// Height and width.
    #[must_use]
    pub fn sides(self) -> [u32; 2] {
        [self.height, self.width]
    }

    /// The longer side.
    #[must_use]
    pub fn longest(self) -> u32 {
        self.height.max(self.width)
    }

    /// Number of pixels.
    #[must_use]
    pub fn pixels(self) -> u64 {
        u64::from(self.height) * u64::from(self.width)
    }
}

/// Writes text such as `224` or `160x224`, height by width.
impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.height == self.width {
            true => write!(f, "{}", self.height),
            false => write!(f, "{}x{}", self.height, self.width),
        }
    }
}

/// The error for a text that is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number of pixels, such as 224, or height by width, such as 160x224")]
pub struct NoSize;

impl FromStr for ImageSize {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        let side = |text: &str| text.parse().map_err(|_| NoSize);
        match text.split_once('x') {
            Some((height, width)) => Ok(Self {
                height: side(height)?,
                width: side(width)?,
            }),
            None => side(text).map(Self::square),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of pixels or [height, width]")]
enum Written {
    Square(u32),
    Sides([u32; 2]),
}

impl Serialize for ImageSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.height == self.width {
            true => Written::Square(self.height),
            false => Written::Sides(self.sides()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ImageSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Square(side) => Self::square(side),
            Written::Sides([height, width]) => Self { height, width },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_is_one_number() {
        let oblong = ImageSize {
            height: 160,
            width: 224,
        };
        for (size, json, text) in [
            (ImageSize::square(224), "224", "224"),
            (oblong, "[160,224]", "160x224"),
        ] {
            assert_eq!(serde_json::to_string(&size).unwrap(), json);
            assert_eq!(serde_json::from_str::<ImageSize>(json).unwrap(), size);
            assert_eq!(size.to_string(), text);
            assert_eq!(text.parse(), Ok(size));
        }
        for text in ["", "x", "3x", "x3", "3x4x5", "-3", "3.0", "3X4"] {
            assert_eq!(text.parse::<ImageSize>(), Err(NoSize), "{text}");
        }
        for json in ["-1", "1.5", "[1]", "[1,2,3]", "\"224\""] {
            assert!(serde_json::from_str::<ImageSize>(json).is_err(), "{json}");
        }
    }
}
