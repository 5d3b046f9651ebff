#![doc = include_str!("../README.md")]

mod size;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use size::{ImageSize, NoSize};

/// The grey level around a letterboxed image, as in Ultralytics' `LetterBox`.
pub const BACKGROUND: u8 = 114;

macro_rules! words {
    ($type:ident, $what:literal: $($variant:ident $name:literal),*) => {
        impl $type {
            /// The word for this value in configurations, arguments and weights files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(UnknownWord { what: $what, words: &[$($name),*] }),
                }
            }
        }
    };
}

/// The error for an invalid word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {what}: one of {}", words.join(", "))]
pub struct UnknownWord {
    what: &'static str,
    words: &'static [&'static str],
}

/// How an image is fitted to a size with other proportions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Resize to exactly this size. The proportions change.
    #[default]
    Squash,
    /// Resize so that the image covers the size divided by `crop_pct`, then crop the center: torchvision's `Resize`
    /// and `CenterCrop`, and timm's evaluation. This keeps the proportions and loses the borders.
    Crop,
    /// Resize so that the whole image fits inside, and center it on a gray background ([`BACKGROUND`]). This keeps
    /// the proportions and the borders.
    Letterbox,
}

words!(Fit, "a fit": Squash "squash", Crop "crop", Letterbox "letterbox");

/// The filter of a resize. Both are antialiased: the filter widens when the image shrinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Pillow's and torchvision's `BILINEAR`: a triangle filter.
    #[default]
    Bilinear,
    /// Pillow's and timm's `BICUBIC`: a cubic filter with a = -0.5.
    Bicubic,
}

words!(Interpolation, "an interpolation": Bilinear "bilinear", Bicubic "bicubic");

/// Whether the EXIF orientation tag of an image is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orientation {
    /// Pixels stay as stored in the file, as in `PIL.Image.open` and torchvision's `ImageFolder`.
    #[default]
    Ignore,
    /// The image is turned upright, as in `PIL.ImageOps.exif_transpose`.
    Apply,
}

words!(Orientation, "what to do with the EXIF orientation": Ignore "ignore", Apply "apply");

impl Orientation {
    /// Whether the orientation is ignored. Weights files omit this default.
    #[must_use]
    pub fn is_ignored(&self) -> bool {
        *self == Self::Ignore
    }
}

/// How images of any size are fitted to the network's image size.
///
/// The default, squash and bilinear, applies to a weights file without this entry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Framing {
    /// How the image is fitted to a size with other proportions.
    pub fit: Fit,
    /// For [`Fit::Crop`]: the share of the shorter side that is kept, above 0 and at most 1. Other fits ignore it.
    pub crop_pct: f64,
    /// The filter of the resize.
    pub interpolation: Interpolation,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            fit: Fit::Squash,
            crop_pct: Self::CROP_PCT,
            interpolation: Interpolation::Bilinear,
        }
    }
}

impl Framing {
    /// The default of `crop_pct`, from torchvision: 224 of 256 pixels.
    pub const CROP_PCT: f64 = 0.875;

    /// The framing of torchvision's evaluation of most of its ImageNet weights.
    pub const TORCHVISION: Self = Self {
        fit: Fit::Crop,
        crop_pct: Self::CROP_PCT,
        interpolation: Interpolation::Bilinear,
    };

    /// The framing of timm's evaluation of most of its MobileNets.
    pub const TIMM: Self = Self {
        interpolation: Interpolation::Bicubic,
        ..Self::TORCHVISION
    };

    /// Whether this is the default framing.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `crop_pct` is a share above 0 and at most 1.
    #[must_use]
    pub fn is_share(crop_pct: f64) -> bool {
        crop_pct > 0.0 && crop_pct <= 1.0
    }

    /// The same framing, but with the default `crop_pct` if the fit ignores it. Two framings that give the same pixels
    /// are then equal.
    #[must_use]
    pub fn normal(self) -> Self {
        match self.fit {
            Fit::Crop => self,
            Fit::Squash | Fit::Letterbox => Self {
                crop_pct: Self::CROP_PCT,
                ..self
            },
        }
    }

    /// Computes to which size an image of `width` × `height` is resized, and where it is placed in the result of
    /// `size`.
    ///
    /// An invalid `crop_pct` counts as 1.
    #[must_use]
    pub fn layout(&self, width: u32, height: u32, size: ImageSize) -> Layout {
        let (width, height) = (width.max(1), height.max(1));
        let (w, h) = match self.fit {
            Fit::Squash => (size.width, size.height),
            Fit::Crop => covering(width, height, self.uncropped(size)),
            Fit::Letterbox => inside(width, height, size),
        };
        Layout {
            width: w,
            height: h,
            left: offset(size.width, w),
            top: offset(size.height, h),
        }
    }

    /// The size that an image must cover before the center crop: each side divided by `crop_pct` and rounded down,
    /// as in timm. Without a crop it is `size`.
    #[must_use]
    pub fn uncropped(&self, size: ImageSize) -> ImageSize {
        let share = match self.fit {
            Fit::Crop if Self::is_share(self.crop_pct) => self.crop_pct,
            _ => 1.0,
        };
        let over = |side: u32| (f64::from(side) / share).floor().min(f64::from(u32::MAX)) as u32;
        ImageSize {
            height: over(size.height),
            width: over(size.width),
        }
    }
}

/// Writes text such as `crop 0.875, bilinear`.
impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fit)?;
        if self.fit == Fit::Crop {
            write!(f, " {}", self.crop_pct)?;
        }
        write!(f, ", {}", self.interpolation)
    }
}

/// The size of a resized image and its position in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Width of the resized image, at least 1.
    pub width: u32,
    /// Height of the resized image, at least 1.
    pub height: u32,
    /// The position of the resized image's first column in the result; negative if columns are cut off.
    pub left: i64,
    /// The position of the resized image's first row in the result; negative if rows are cut off.
    pub top: i64,
}

/// The smallest size that covers `size` with the image's proportions. The longer side is rounded down, as in
/// torchvision's `_compute_resized_output_size`.
fn covering(width: u32, height: u32, size: ImageSize) -> (u32, u32) {
    let [w, h, to_w, to_h] = [width, height, size.width, size.height].map(u64::from);
    let long = |side: u64, over: u64, under: u64| {
        u32::try_from(u128::from(side) * u128::from(over) / u128::from(under)).unwrap_or(u32::MAX)
    };
    match w * to_h <= h * to_w {
        true => (size.width, long(to_w, h, w).max(size.height)),
        false => (long(to_h, w, h).max(size.width), size.height),
    }
}

/// The largest size that fits inside `size` with the image's proportions, rounded as in Ultralytics' `LetterBox`.
fn inside(width: u32, height: u32, size: ImageSize) -> (u32, u32) {
    let (w, h) = (f64::from(width), f64::from(height));
    let scale = (f64::from(size.height) / h).min(f64::from(size.width) / w);
    let side = |side: f64, most: u32| {
        let scaled = (side * scale).round_ties_even();
        scaled.clamp(1.0, f64::from(most.max(1))) as u32
    };
    (side(w, size.width), side(h, size.height))
}

/// The offset that centers `inner` pixels in `outer` pixels. A positive offset is rounded down. A negative one is
/// rounded half to even, as in torchvision's `CenterCrop`.
fn offset(outer: u32, inner: u32) -> i64 {
    if inner <= outer {
        i64::from((outer - inner) / 2)
    } else {
        -((f64::from(inner - outer) / 2.0).round_ties_even() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(framing: Framing, image: [u32; 2], size: ImageSize) -> [i64; 4] {
        let layout = framing.layout(image[0], image[1], size);
        [
            layout.width.into(),
            layout.height.into(),
            layout.left,
            layout.top,
        ]
    }

    #[test]
    fn a_crop_is_torchvisions() {
        let size = ImageSize::square(224);
        for (image, expected) in [
            ([256, 256], [256, 256, -16, -16]),
            ([640, 480], [341, 256, -58, -16]),
            // 33 columns are cut off: round(16.5) is 16 in Python.
            ([257, 256], [257, 256, -16, -16]),
            // 35 columns are cut off: round(17.5) is 18.
            ([259, 256], [259, 256, -18, -16]),
            ([1, 500], [256, 128_000, -16, -63_888]),
            ([1, 1], [256, 256, -16, -16]),
        ] {
            assert_eq!(
                layout(Framing::TORCHVISION, image, size),
                expected,
                "{image:?}"
            );
        }
        // 224 of 232 pixels, as torchvision's second ImageNet weights.
        let second = Framing {
            crop_pct: 224.0 / 232.0,
            ..Framing::TORCHVISION
        };
        assert_eq!(second.uncropped(size), ImageSize::square(232));
        assert_eq!(
            Framing::TIMM.uncropped(ImageSize::square(32)),
            ImageSize::square(36)
        );
    }

    #[test]
    fn what_covers_two_sides_keeps_the_proportions() {
        let whole = Framing {
            crop_pct: 1.0,
            ..Framing::TORCHVISION
        };
        let size = ImageSize {
            height: 160,
            width: 224,
        };
        assert_eq!(layout(whole, [448, 320], size), [224, 160, 0, 0]);
        assert_eq!(layout(whole, [448, 448], size), [224, 224, 0, -32]);
        assert_eq!(layout(whole, [896, 320], size), [448, 160, -112, 0]);
    }

    #[test]
    fn a_letterbox_shows_all_of_the_image() {
        let letterbox = Framing {
            fit: Fit::Letterbox,
            ..Framing::default()
        };
        let size = ImageSize::square(224);
        assert_eq!(layout(letterbox, [640, 480], size), [224, 168, 0, 28]);
        assert_eq!(layout(letterbox, [480, 639], size), [168, 224, 28, 0]);
        assert_eq!(layout(letterbox, [30_000, 1], size), [224, 1, 0, 111]);
        assert_eq!(layout(letterbox, [1, 1], size), [224, 224, 0, 0]);
    }

    #[test]
    fn squashing_is_what_a_file_means_that_says_nothing() {
        let squash: Framing = serde_json::from_str("{}").unwrap();
        assert!(squash.is_default());
        assert_eq!(
            layout(squash, [640, 480], ImageSize::square(32)),
            [32, 32, 0, 0]
        );
        let other = Framing {
            crop_pct: 0.5,
            ..squash
        };
        assert!(!other.is_default() && other.normal().is_default());
        assert!(serde_json::from_str::<Framing>("{\"fit\": \"stretch\"}").is_err());
    }

    #[test]
    fn words_are_read_and_written_alike() {
        for fit in [Fit::Squash, Fit::Crop, Fit::Letterbox] {
            assert_eq!(fit.name().parse(), Ok(fit));
            let json = serde_json::to_string(&fit).unwrap();
            assert_eq!(json, format!("\"{fit}\""));
        }
        let error = "stretch".parse::<Fit>().unwrap_err().to_string();
        assert_eq!(error, "expected a fit: one of squash, crop, letterbox");
        assert_eq!("apply".parse(), Ok(Orientation::Apply));
        assert_eq!(Framing::TIMM.to_string(), "crop 0.875, bicubic");
        assert_eq!(Framing::default().to_string(), "squash, bilinear");
    }
}
