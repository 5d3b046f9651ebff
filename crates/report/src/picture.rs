//! Images as data URIs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mnist_data::Image;

use crate::{Error, Result};

/// Images up to this side are stored without loss; larger ones as JPEG.
const LOSSLESS: u32 = 48;
/// The quality of a JPEG, from 1 to 100.
const QUALITY: u8 = 82;

/// The bytes of a PNG with the pixels of `image`.
///
/// # Errors
///
/// [`Error::Picture`].
pub(crate) fn png(image: &Image) -> Result<Vec<u8>> {
    image.to_png().map_err(|error| Error::Picture {
        problem: error.to_string(),
    })
}

fn jpeg(image: &Image) -> Result<Vec<u8>> {
    let problem = |problem: String| Error::Picture { problem };
    let side =
        |side: u32| u16::try_from(side).map_err(|_| problem(format!("a side of {side} pixels")));
    let (width, height) = (side(image.width())?, side(image.height())?);
    let colour = match image.channels() {
        1 => jpeg_encoder::ColorType::Luma,
        _ => jpeg_encoder::ColorType::Rgb,
    };
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, QUALITY)
        .encode(image.pixels(), width, height, colour)
        .map_err(|error| problem(error.to_string()))?;
    Ok(bytes)
}

/// The image as a `data:` URI: PNG if it is small, otherwise JPEG.
///
/// # Errors
///
/// [`Error::Picture`].
pub(crate) fn data_uri(image: &Image) -> Result<String> {
    match image.width().max(image.height()) <= LOSSLESS {
        true => Ok(png_uri(&png(image)?)),
        false => Ok(format!(
            "data:image/jpeg;base64,{}",
            STANDARD.encode(jpeg(image)?)
        )),
    }
}

/// A PNG file as a `data:` URI.
pub(crate) fn png_uri(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(bytes))
}

/// The image with a longer side of at most `side` pixels, in its proportions.
///
/// # Errors
///
/// [`Error::Picture`].
pub fn within(image: Image, side: u32) -> Result<Image> {
    let longer = image.width().max(image.height());
    if longer <= side {
        return Ok(image);
    }
    let scaled = |of: u32| (u64::from(of) * u64::from(side) / u64::from(longer)).max(1) as u32;
    let size = framing::ImageSize {
        height: scaled(image.height()),
        width: scaled(image.width()),
    };
    image
        .fitted(size, framing::Framing::default())
        .map_err(|error| Error::Picture {
            problem: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_survive_as_png_and_photos_shrink() {
        let pixels: Vec<u8> = (0..12).collect();
        let image = Image::from_rgb(2, 2, pixels).unwrap();
        let bytes = png(&image).unwrap();
        assert_eq!(Image::decode(&bytes, "a.png".as_ref()).unwrap(), image);
        assert!(
            data_uri(&image)
                .unwrap()
                .starts_with("data:image/png;base64,iVBOR")
        );
        let photo = Image::from_rgb(300, 200, vec![90; 300 * 200 * 3]).unwrap();
        let small = within(photo, 96).unwrap();
        assert_eq!((small.width(), small.height()), (96, 64));
        let uri = data_uri(&small).unwrap();
        let data = uri.strip_prefix("data:image/jpeg;base64,").unwrap();
        let bytes = STANDARD.decode(data).unwrap();
        let again = Image::decode(&bytes, "a.jpg".as_ref()).unwrap();
        assert_eq!((again.width(), again.height()), (96, 64));
        assert!(again.to_rgb().iter().all(|&byte| byte.abs_diff(90) < 3));
    }
}
