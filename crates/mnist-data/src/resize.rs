//! Antialiased resize, as in `PIL.Image.resize` and torchvision's `Resize`:
//! the filter widens when an image shrinks, so no pixel is skipped. Bilinear
//! enlarging equals OpenCV's `INTER_LINEAR` within one grey level.

use std::fs::File;
use std::path::Path;

use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use framing::{BACKGROUND, Framing, ImageSize, Interpolation, Layout};

use crate::decode::{Decoded, Image, MAX_BYTES, Original};
use crate::decode_options::DecodeOptions;
use crate::error::{Error, Result};
use crate::regular::read_open;

/// The most bytes for resizing a whole image before the crop: 80 MiB. If resizing would take more, as for an image one
/// pixel wide, only the visible part is resized.
const MAX_RESIZED: u64 = 80 << 20;

impl Image {
    /// Resizes the image to `size` × `size`, bilinear. The proportions change.
    ///
    /// # Errors
    /// [`Error::Setting`] for a size of 0.
    pub fn resized(&self, size: u32) -> Result<Self> {
        self.fitted(ImageSize::square(size), Framing::default())
    }

    /// Fits the image to `size` by `framing`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a side of 0.
    pub fn fitted(&self, size: ImageSize, framing: Framing) -> Result<Self> {
        Scaler::default().fit(self.clone(), Target { size, framing })
    }
}

/// The size and framing of decoded images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Target {
    pub(crate) size: ImageSize,
    pub(crate) framing: Framing,
}

impl Target {
    /// The width and height that an image of this size is resized to, before it is cropped or padded.
    pub(crate) fn resized(&self, width: u32, height: u32) -> (u32, u32) {
        let layout = self.framing.layout(width, height, self.size);
        (layout.width, layout.height)
    }

    /// The same target for images turned by 90 degrees.
    pub(crate) fn turned(self) -> Self {
        let ImageSize { height, width } = self.size;
        let size = ImageSize {
            height: width,
            width: height,
        };
        Self { size, ..self }
    }
}

/// Reads and resizes many images with one set of buffers.
#[derive(Default)]
pub(crate) struct Scaler {
    resizer: Resizer,
    /// The contents of the last file that was read.
    contents: Vec<u8>,
    /// The buffer for decoded pixels, reused.
    memory: Vec<u8>,
}

/// A part of a resized image: its size, and the area of the source image that it shows.
struct Part {
    width: u32,
    height: u32,
    /// The area: left, top, width and height in the source's pixels.
    source: [f64; 4],
    /// Whether columns are resized before rows.
    columns_first: bool,
}

impl Scaler {
    /// Decodes an open image file and resizes it; errors show `path`.
    pub(crate) fn read(
        &mut self,
        file: File,
        path: &Path,
        target: Target,
        options: DecodeOptions,
    ) -> Result<Decoded> {
        self.contents.clear();
        read_open(file, path, MAX_BYTES, &mut self.contents)?;
        let memory = std::mem::take(&mut self.memory);
        let decoded = Image::decode_reusing(memory, &self.contents, path, options, Some(target))?;
        Ok(Decoded {
            is_truncated: decoded.is_truncated,
            original: None,
            image: self.fit_decoded(decoded, target)?,
        })
    }

    /// Resizes the image to this size, bilinear. The proportions change.
    pub(crate) fn resize(&mut self, image: Image, size: ImageSize) -> Result<Image> {
        let framing = Framing::default();
        self.fit(image, Target { size, framing })
    }

    pub(crate) fn fit(&mut self, image: Image, target: Target) -> Result<Image> {
        let decoded = Decoded {
            image,
            is_truncated: false,
            original: None,
        };
        self.fit_decoded(decoded, target)
    }

    /// [`Self::fit`] for an image that may be reduced. It is fitted as the original is.
    pub(crate) fn fit_decoded(&mut self, decoded: Decoded, target: Target) -> Result<Image> {
        let mut image = decoded.image;
        let sides = (image.width(), image.height());
        let original = decoded.original.unwrap_or(Original {
            width: sides.0,
            height: sides.1,
            area: [0.0, 0.0, sides.0.into(), sides.1.into()],
        });
        let Target { size, framing } = target;
        let refused = |problem: String| Error::Setting {
            setting: "image size",
            problem,
        };
        if size.pixels() == 0 {
            return Err(refused(format!("found {size}, expected at least 1 pixel")));
        }
        let layout = framing.layout(original.width, original.height, size);
        if (layout.width, layout.height) == sides && sides == (size.width, size.height) {
            return Ok(image);
        }
        let seen = Seen::of(&layout, size);
        let is_large = resized_bytes(&image, &layout) > MAX_RESIZED;
        let part = match is_large {
            true => seen.part(&image, &original, &layout),
            false => Part::whole(&image, &original, &layout),
        };
        let resized = match image.channels() {
            1 => self.typed::<U8>(&mut image, &part, framing.interpolation),
            _ => self.typed::<U8x3>(&mut image, &part, framing.interpolation),
        };
        let pixels = resized.map_err(|error| refused(error.to_string()))?;
        let resized = Image::from_raw(part.width, part.height, image.channels(), pixels)?;
        self.memory = image.into_pixels();
        if (part.width, part.height) == (size.width, size.height) {
            return Ok(resized);
        }
        let from = match is_large {
            true => (0, 0),
            false => (seen.left, seen.top),
        };
        seen.placed(&resized, from, &layout, size)
    }

    /// Resizes a part of an image. The library's `resize` gives the same result, but is compiled for every pixel type,
    /// which would be most of this crate's build time. It is also compiled for each kind of source, so the sources have
    /// the type of the library's own temporary images, which needs mutable pixels. They are not changed.
    fn typed<P: PixelTrait>(
        &mut self,
        image: &mut Image,
        part: &Part,
        interpolation: Interpolation,
    ) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error>> {
        let filter = match interpolation {
            Interpolation::Bilinear => FilterType::Bilinear,
            // This cubic filter has a = -0.5, as in PIL.
            Interpolation::Bicubic => FilterType::CatmullRom,
        };
        // `use_alpha` is off: these pixel types have no alpha.
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(filter))
            .use_alpha(false);
        let [left, top, source_width, source_height] = part.source;
        let rows = |height: u32| options.crop(left, 0.0, source_width, f64::from(height));
        let columns = |width: u32| options.crop(0.0, top, f64::from(width), source_height);
        // Columns and rows are resized by separate calls, because the library has a fixed order. Grey levels are
        // rounded between the passes, so in the library's order one pixel in six would differ from PIL's by a grey
        // level.
        let ((width, height), first, second) = match part.columns_first {
            true => (
                (image.width(), part.height),
                columns(image.width()),
                rows(part.height),
            ),
            false => (
                (part.width, image.height()),
                rows(image.height()),
                columns(part.width),
            ),
        };
        let channels = usize::from(image.channels());
        let bytes = |width: u32, height: u32| vec![0; width as usize * height as usize * channels];
        let (image_width, image_height) = (image.width(), image.height());
        let source = TypedImage::<P>::from_buffer(image_width, image_height, image.pixels_mut())?;
        let mut between = bytes(width, height);
        let mut target = bytes(part.width, part.height);
        self.resizer.resize_typed(
            &source,
            &mut TypedImage::<P>::from_buffer(width, height, &mut between)?,
            &first,
        )?;
        self.resizer.resize_typed(
            &TypedImage::<P>::from_buffer(width, height, &mut between)?,
            &mut TypedImage::<P>::from_buffer(part.width, part.height, &mut target)?,
            &second,
        )?;
        Ok(target)
    }
}

impl Part {
    /// The part that shows the whole image.
    fn whole(image: &Image, original: &Original, layout: &Layout) -> Self {
        Self {
            width: layout.width,
            height: layout.height,
            source: original.area,
            columns_first: columns_first(image, layout),
        }
    }
}

/// The visible part of a resized image, in pixels of the resized image.
struct Seen {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl Seen {
    fn of(layout: &Layout, size: ImageSize) -> Self {
        let cut = |place: i64| u32::try_from(-place).unwrap_or(0);
        Self {
            left: cut(layout.left),
            top: cut(layout.top),
            width: layout.width.min(size.width),
            height: layout.height.min(size.height),
        }
    }

    /// Cuts out this part of the source, so that only these pixels are resized.
    fn part(&self, image: &Image, original: &Original, layout: &Layout) -> Part {
        let span = |from: u32, count: u32, of: u32, begin: f64, side: f64| {
            let scale = side / f64::from(of);
            let start = begin + (f64::from(from) * scale).min(side);
            (start, (f64::from(count) * scale).min(begin + side - start))
        };
        let [x, y, wide, high] = original.area;
        let (left, width) = span(self.left, self.width, layout.width, x, wide);
        let (top, height) = span(self.top, self.height, layout.height, y, high);
        Part {
            width: self.width,
            height: self.height,
            source: [left, top, width, height],
            columns_first: columns_first(image, layout),
        }
    }

    /// An image of `size`: the visible pixels of `resized`, starting at `from`, on the background.
    fn placed(
        &self,
        resized: &Image,
        from: (u32, u32),
        layout: &Layout,
        size: ImageSize,
    ) -> Result<Image> {
        let channels = usize::from(resized.channels());
        let [stride, to_stride] = [resized.width(), size.width].map(|w| w as usize * channels);
        let place = |place: i64| usize::try_from(place).unwrap_or(0);
        let (left, top) = (place(layout.left) * channels, place(layout.top));
        let mut pixels = vec![BACKGROUND; size.height as usize * to_stride];
        let (skipped, length) = (from.0 as usize * channels, self.width as usize * channels);
        let rows = resized.pixels().chunks_exact(stride).skip(from.1 as usize);
        let targets = pixels.chunks_exact_mut(to_stride).skip(top);
        for (target, row) in targets.zip(rows).take(self.height as usize) {
            target[left..left + length].copy_from_slice(&row[skipped..skipped + length]);
        }
        Image::from_raw(size.width, size.height, resized.channels(), pixels)
    }
}

/// The peak memory of resizing the whole image in bytes, without the source image.
fn resized_bytes(image: &Image, layout: &Layout) -> u64 {
    let area = |width: u32, height: u32| u64::from(width) * u64::from(height);
    let between = match columns_first(image, layout) {
        true => area(image.width(), layout.height),
        false => area(layout.width, image.height()),
    };
    let pixels = area(layout.width, layout.height).saturating_add(between);
    pixels.saturating_mul(image.channels().into())
}

/// Whether PIL shrinks the columns of an image before its rows. Since version 13
/// it does so if that is cheaper; earlier versions always begin with the rows.
fn columns_first(image: &Image, layout: &Layout) -> bool {
    let lost = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let rows = lost(image.height(), layout.height);
    rows > 0 && rows > 2 * lost(image.width(), layout.width)
}
