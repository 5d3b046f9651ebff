//! Image files to gray or RGB bytes.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageReader, Limits};

use crate::error::{Error, Result};
use crate::jpeg;
use crate::regular::read_regular;

/// The longest side that is decoded.
pub(crate) const MAX_SIDE: u32 = 1 << 15;
/// The most memory that decoding one image may take, and the longest file that is read: 512 MiB. A small file that
/// claims more is refused before anything is allocated for it.
pub(crate) const MAX_BYTES: u64 = 512 << 20;

/// A decoded image: `[height, width, channels]` u8, row by row.
///
/// Colours become what PIL's `convert("RGB")`, and so torchvision's image
/// folder, makes of them: an alpha channel is dropped, not blended; a palette
/// is looked up; 16 bits become 8. An orientation noted in EXIF is not applied,
/// as torchvision does not apply it. Of an animation this is the first frame.
/// Gray images stay one byte a pixel until a batch needs three.
///
/// ```
/// use mnist_data::Picture;
///
/// let picture = Picture::from_gray(2, 1, vec![0, 255])?;
/// assert_eq!(picture.to_rgb(), [0, 0, 0, 255, 255, 255]);
/// assert_eq!((picture.resized(4)?.width(), picture.resized(4)?.height()), (4, 4));
/// # Ok::<(), mnist_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    /// 1 or 3.
    channels: u8,
    pixels: Vec<u8>,
}

impl Picture {
    /// Reads an image file. Its content tells its format, not its name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotRegular`], [`Error::TooLong`], and [`Error::BadImage`] for an empty, damaged, unknown or
    /// enormous (beyond 32,768 pixels a side or 512 MiB) image.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_regular(path, MAX_BYTES)?;
        Self::decode(&bytes, path)
    }

    /// Decodes an image file's contents; `name` is what an error names.
    ///
    /// # Errors
    /// [`Error::BadImage`], as [`Picture::read`].
    pub fn decode(bytes: &[u8], name: &Path) -> Result<Self> {
        Self::decode_reusing(Vec::new(), bytes, name)
    }

    /// [`Picture::decode`], with memory for the pixels where the format allows
    /// it; [`Picture::into_pixels`] gives it back.
    pub(crate) fn decode_reusing(memory: Vec<u8>, bytes: &[u8], name: &Path) -> Result<Self> {
        let bad = |problem: String| Error::BadImage {
            path: name.into(),
            problem,
        };
        if bytes.is_empty() {
            return Err(bad("the file is empty; replace or remove it".into()));
        }
        let undecodable = |error: Box<dyn std::error::Error>| {
            bad(format!("cannot be decoded ({error}); replace or remove it"))
        };
        if jpeg::is_jpeg(bytes) {
            return jpeg::decode(bytes, memory).map_err(undecodable);
        }
        let mut limits = Limits::default();
        limits.max_image_width = Some(MAX_SIDE);
        limits.max_image_height = Some(MAX_SIDE);
        limits.max_alloc = Some(MAX_BYTES);
        let mut reader = ImageReader::new(Cursor::new(bytes));
        reader.limits(limits);
        let image = reader
            .with_guessed_format()
            .map_err(image::ImageError::IoError)
            .and_then(ImageReader::decode)
            .map_err(|error| undecodable(error.into()))?;
        Self::from_image(image).map_err(|error| bad(error.to_string()))
    }

    fn from_image(image: DynamicImage) -> Result<Self> {
        let (width, height) = (image.width(), image.height());
        if image.color().has_color() {
            Self::from_rgb(width, height, image.into_rgb8().into_raw())
        } else {
            Self::from_gray(width, height, image.into_luma8().into_raw())
        }
    }

    /// A gray picture from `[height, width]` bytes.
    ///
    /// # Errors
    /// [`Error::Setting`] for a side of 0 or another number of bytes.
    pub fn from_gray(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self> {
        Self::from_raw(width, height, 1, pixels)
    }

    /// A coloured picture from `[height, width, 3]` bytes.
    ///
    /// # Errors
    /// [`Error::Setting`] for a side of 0 or another number of bytes.
    pub fn from_rgb(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self> {
        Self::from_raw(width, height, 3, pixels)
    }

    pub(crate) fn from_raw(width: u32, height: u32, channels: u8, pixels: Vec<u8>) -> Result<Self> {
        let expected = u64::from(width) * u64::from(height) * u64::from(channels);
        if expected == 0 || pixels.len() as u64 != expected {
            return Err(Error::Setting {
                setting: "picture",
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

    /// Its width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Its height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Bytes a pixel: 1 (gray) or 3 (red, green, blue).
    #[must_use]
    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// `[height, width, channels]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    pub(crate) fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The memory of its pixels.
    pub(crate) fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// `[height, width, 3]`, gray repeated.
    #[must_use]
    pub fn to_rgb(&self) -> Vec<u8> {
        let mut rgb = Vec::new();
        self.append_rgb(&mut rgb);
        rgb
    }

    /// Appends `[height, width, 3]` to a batch.
    pub(crate) fn append_rgb(&self, batch: &mut Vec<u8>) {
        if self.channels == 3 {
            batch.extend_from_slice(&self.pixels);
        } else {
            batch.extend(self.pixels.iter().flat_map(|&gray| [gray; 3]));
        }
    }
}
