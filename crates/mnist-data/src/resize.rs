//! Antialiased bilinear resize, equal to `PIL.Image.resize(…, BILINEAR)` and torchvision's
//! `Resize`: the triangle filter widens with the reduction, so that no pixel is skipped. Enlarging
//! equals OpenCV's `INTER_LINEAR` within one grey level.

use std::fs::File;
use std::path::Path;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use crate::decode::{Decoded, Image, MAX_BYTES};
use crate::decode_options::DecodeOptions;
use crate::error::{Error, Result};
use crate::regular::read_open;

impl Image {
    /// This image at `size` × `size`. The aspect ratio is not kept.
    ///
    /// # Errors
    /// [`Error::Setting`] for a size of 0.
    pub fn resized(&self, size: u32) -> Result<Self> {
        Scaler::default().resize(self, size)
    }
}

/// Reads and resizes many images with one set of buffers.
#[derive(Default)]
pub(crate) struct Scaler {
    resizer: Resizer,
    /// The contents of the file read last.
    contents: Vec<u8>,
    /// Reused memory for decoded pixels.
    memory: Vec<u8>,
}

impl Scaler {
    /// Decodes an open image file and resizes it; errors show `path`.
    pub(crate) fn read(
        &mut self,
        file: File,
        path: &Path,
        size: u32,
        options: DecodeOptions,
    ) -> Result<Decoded> {
        self.contents.clear();
        read_open(file, path, MAX_BYTES, &mut self.contents)?;
        let memory = std::mem::take(&mut self.memory);
        let Decoded {
            image,
            is_truncated,
        } = Image::decode_reusing(memory, &self.contents, path, options, Some(size))?;
        let resized = self.resize(&image, size)?;
        self.memory = image.into_pixels();
        Ok(Decoded {
            image: resized,
            is_truncated,
        })
    }

    pub(crate) fn resize(&mut self, image: &Image, size: u32) -> Result<Image> {
        if (image.width(), image.height()) == (size, size) {
            return Ok(image.clone());
        }
        let resized = match image.channels() {
            1 => self.typed::<U8>(image, size),
            _ => self.typed::<U8x3>(image, size),
        };
        let pixels = resized.map_err(|error| Error::Setting {
            setting: "image size",
            problem: error.to_string(),
        })?;
        Image::from_raw(size, size, image.channels(), pixels)
    }

    /// The pixels at `size` × `size`. The library's `resize` gives the same result, but compiles
    /// its code for every pixel type into this crate, which takes most of the build time.
    fn typed<P: PixelTrait>(
        &mut self,
        image: &Image,
        size: u32,
    ) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error>> {
        // `use_alpha` has no effect on these pixel types.
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .use_alpha(false);
        // Two calls, because the library orders the passes differently. Grey levels are rounded
        // between the passes, so one pixel in six would differ by a grey level.
        let (width, height) = match columns_first(image.width(), image.height(), size) {
            true => (image.width(), size),
            false => (size, image.height()),
        };
        let source =
            TypedImageRef::<P>::from_buffer(image.width(), image.height(), image.pixels())?;
        let bytes = |width: u32, height: u32| {
            vec![0; width as usize * height as usize * usize::from(image.channels())]
        };
        let mut between = bytes(width, height);
        let mut target = bytes(size, size);
        self.resizer.resize_typed(
            &source,
            &mut TypedImage::<P>::from_buffer(width, height, &mut between)?,
            &options,
        )?;
        self.resizer.resize_typed(
            &TypedImageRef::<P>::from_buffer(width, height, &between)?,
            &mut TypedImage::<P>::from_buffer(size, size, &mut target)?,
            &options,
        )?;
        Ok(target)
    }
}

/// Whether PIL shrinks the columns of an image before its rows. Since version 13 it does so if that
/// is cheaper; earlier versions always begin with the rows.
fn columns_first(width: u32, height: u32, size: u32) -> bool {
    height > size.max(width.saturating_mul(2).saturating_sub(size))
}
