//! Decoding of image files to gray or RGB bytes.

use std::path::Path;

use framing::{Framing, ImageSize};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use crate::decode_options::DecodeOptions;
use crate::error::{Error, Result};
use crate::formats;
use crate::regular::read_regular;
use crate::resize::{Scaler, Target};

/// The longest accepted side, in pixels.
pub(crate) const MAX_SIDE: u32 = 1 << 15;
/// The default of the most memory for decoding one image, and the longest accepted file: 512 MiB. A small file that declares a
/// larger image is refused before any allocation. libFuzzer's instrumentation makes large images too slow.
#[allow(unexpected_cfgs, reason = "cargo-fuzz sets `fuzzing`")]
pub const MAX_BYTES: u64 = if cfg!(fuzzing) { 8 << 20 } else { 512 << 20 };

/// A decoded image: `[height, width, channels]` u8, row by row.
///
/// The pixels are the same as from PIL's `open` and `convert("RGB")`, and so as from torchvision's `ImageFolder`. The
/// formats are JPEG, PNG, GIF, BMP, PNM, TIFF and WebP, recognised by the first bytes and not by the name. An alpha
/// channel is dropped, not blended. Palette indices become colours. Samples of 16 bits are reduced to 8. The
/// orientation tag of TIFF files is always applied, the EXIF orientation of other files only with
/// [`DecodeOptions::orientation`]. An animation gives its first frame. Gray images have one byte per pixel until a
/// batch needs three.
///
/// Three things differ from PIL. 16-bit gray is scaled; PIL clips it. A JPEG that lacks only its
/// end marker is accepted. Lossless and arithmetic JPEGs, large JPEGs with far more scans than
/// usual, and TIFF files with floating-point or YCbCr samples are refused.
///
/// No side may be longer than 32,768 pixels, and decoding an image takes at most 512 MiB or
/// [`DecodeOptions::max_bytes`], its file and pixels included. Larger images are refused before memory is allocated.
///
/// ```
/// use mnist_data::Image;
///
/// let image = Image::from_gray(2, 1, vec![0, 255])?;
/// assert_eq!(image.to_rgb(), [0, 0, 0, 255, 255, 255]);
/// assert_eq!((image.resized(4)?.width(), image.resized(4)?.height()), (4, 4));
/// # Ok::<(), mnist_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    /// Bytes per pixel: 1 or 3.
    channels: u8,
    pixels: Vec<u8>,
}

/// The result of decoding.
pub(crate) struct Decoded {
    pub(crate) image: Image,
    /// Whether data is missing at the file's end.
    pub(crate) is_truncated: bool,
    /// The whole image, if `image` is a reduced one.
    pub(crate) original: Option<Original>,
}

/// The whole image that a reduced one shows.
#[derive(Clone, Copy)]
pub(crate) struct Original {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Its place in the reduced image: left, top, width and height. The sides of the reduced image are rounded up, so
    /// this may be a fraction of a pixel less.
    pub(crate) area: [f64; 4],
}

impl Image {
    /// Reads an image file. The content determines the format, not the name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotRegular`], [`Error::TooLong`], and [`Error::BadImage`] for an
    /// empty, truncated, damaged, unknown or too large (beyond 32,768 pixels a side or 512 MiB)
    /// image.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_with(path, DecodeOptions::default())
    }

    /// [`Image::read`] with options.
    ///
    /// # Errors
    /// As [`Image::read`].
    pub fn read_with(path: &Path, options: DecodeOptions) -> Result<Self> {
        let bytes = read_regular(path, MAX_BYTES)?;
        Self::decode_with(&bytes, path, options)
    }

    /// Decodes an image file's contents; errors show `name`.
    ///
    /// # Errors
    /// [`Error::BadImage`], as [`Image::read`].
    pub fn decode(bytes: &[u8], name: &Path) -> Result<Self> {
        Self::decode_with(bytes, name, DecodeOptions::default())
    }

    /// [`Image::decode`] with options.
    ///
    /// # Errors
    /// [`Error::BadImage`], as [`Image::read`].
    pub fn decode_with(bytes: &[u8], name: &Path, options: DecodeOptions) -> Result<Self> {
        Ok(Self::decode_reusing(Vec::new(), bytes, name, options, None)?.image)
    }

    /// Decodes an image and fits it to this size. Fast decoding ([`Decoding::Fast`](crate::Decoding::Fast)) needs the size.
    ///
    /// # Errors
    /// [`Error::BadImage`], as [`Image::read`]; [`Error::Setting`] for a side of 0.
    pub fn decode_at(
        bytes: &[u8],
        name: &Path,
        size: ImageSize,
        framing: Framing,
        options: DecodeOptions,
    ) -> Result<Self> {
        let target = Target { size, framing };
        let decoded = Self::decode_reusing(Vec::new(), bytes, name, options, Some(target))?;
        Scaler::default().fit_decoded(decoded, target)
    }

    /// [`Image::decode_with`], which reuses `memory` for the pixels if the format allows it. [`Image::into_pixels`]
    /// returns the memory. `target` is the later resize, for fast decoding.
    pub(crate) fn decode_reusing(
        memory: Vec<u8>,
        bytes: &[u8],
        name: &Path,
        options: DecodeOptions,
        target: Option<Target>,
    ) -> Result<Decoded> {
        let bad = |problem: String| Error::BadImage {
            path: name.into(),
            problem,
        };
        if bytes.is_empty() {
            return Err(bad("it is empty; replace or remove it".into()));
        }
        formats::decode(bytes, memory, options, target).map_err(|fault| {
            bad(format!(
                "cannot be decoded ({fault}); replace, convert or remove it"
            ))
        })
    }

    /// A gray image from `[height, width]` bytes.
    ///
    /// # Errors
    /// [`Error::Setting`] for a side of 0 or a wrong number of bytes.
    pub fn from_gray(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self> {
        Self::from_raw(width, height, 1, pixels)
    }

    /// An RGB image from `[height, width, 3]` bytes.
    ///
    /// # Errors
    /// [`Error::Setting`] for a side of 0 or a wrong number of bytes.
    pub fn from_rgb(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self> {
        Self::from_raw(width, height, 3, pixels)
    }

    pub(crate) fn from_raw(width: u32, height: u32, channels: u8, pixels: Vec<u8>) -> Result<Self> {
        let expected = u64::from(width) * u64::from(height) * u64::from(channels);
        if expected == 0 || pixels.len() as u64 != expected {
            return Err(Error::Setting {
                setting: "image",
                problem: format!(
                    "{} bytes for {width} × {height} pixels of {channels}",
                    pixels.len()
                ),
            });
        }
        Ok(Self {
            width,
            height,
            channels,
            pixels,
        })
    }

    /// The image's width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The image's height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Bytes per pixel: 1 (gray) or 3 (red, green, blue).
    #[must_use]
    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// The pixels, `[height, width, channels]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    pub(crate) fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The buffer of the pixels, for reuse.
    pub(crate) fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The pixels as RGB, `[height, width, 3]`; gray is repeated.
    #[must_use]
    pub fn to_rgb(&self) -> Vec<u8> {
        let mut rgb = Vec::new();
        self.append_rgb(&mut rgb);
        rgb
    }

    /// The image as a PNG file.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn to_png(&self) -> std::io::Result<Vec<u8>> {
        let colour = match self.channels {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        let mut png = Vec::new();
        PngEncoder::new(&mut png)
            .write_image(&self.pixels, self.width, self.height, colour)
            .map_err(std::io::Error::other)?;
        Ok(png)
    }

    /// Appends the pixels as RGB, `[height, width, 3]`, to a batch.
    pub(crate) fn append_rgb(&self, batch: &mut Vec<u8>) {
        if self.channels == 3 {
            batch.extend_from_slice(&self.pixels);
        } else {
            batch.extend(self.pixels.iter().flat_map(|&gray| [gray; 3]));
        }
    }
}
