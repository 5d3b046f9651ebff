//! Writes pictures as PNG or SVG.

use std::io::Write as _;

use report::{Fonts, Svg, rasterise};

use crate::args::{PictureFile, PictureFormat};

/// The width that a small picture gets at least, in pixels.
const WIDTH: f64 = 900.0;

/// Writes a picture. The file appears only when it is complete.
pub(crate) fn write(file: &PictureFile, svg: &Svg) -> anyhow::Result<()> {
    let bytes = match file.format {
        PictureFormat::Svg => svg.to_file().into_bytes(),
        PictureFormat::Png => {
            let scale = (WIDTH / svg.width()).clamp(2.0, 4.0);
            rasterise(svg, scale as f32, &Fonts::embedded())?
        }
    };
    Ok(mnist_data::write_atomically(&file.path, |out| {
        out.write_all(&bytes)
    })?)
}
