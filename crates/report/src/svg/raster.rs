//! SVG to PNG.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::Svg;
use crate::{Error, Result};

const FONT: &[u8] = include_bytes!("../../font/DejaVuSans-subset.ttf");

/// The longest side of a PNG, in pixels.
const MAX_SIDE: f32 = 16_384.0;

/// The embedded font, parsed once.
#[derive(Clone, Debug)]
pub struct Fonts(Arc<fontdb::Database>);

impl Fonts {
    /// The embedded font alone: Latin, Greek and Cyrillic. The same picture everywhere.
    #[must_use]
    pub fn embedded() -> Self {
        static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
            let mut fonts = fontdb::Database::new();
            fonts.load_font_data(FONT.to_vec());
            fonts.set_sans_serif_family("DejaVu Sans");
            Arc::new(fonts)
        });
        Self(Arc::clone(&FONTS))
    }
}

/// Draws a picture as PNG with `scale` pixels per user unit.
///
/// # Errors
///
/// [`Error::Picture`] if it would be longer than 16,384 pixels, or is not valid SVG.
pub fn rasterise(svg: &Svg, scale: f32, fonts: &Fonts) -> Result<Vec<u8>> {
    let problem = |problem: String| Error::Picture { problem };
    let options = Options {
        font_family: "DejaVu Sans".to_owned(),
        fontdb: Arc::clone(&fonts.0),
        ..Options::default()
    };
    let tree =
        Tree::from_str(&svg.to_file(), &options).map_err(|error| problem(error.to_string()))?;
    let size = tree.size();
    let (width, height) = (
        (size.width() * scale).ceil(),
        (size.height() * scale).ceil(),
    );
    if width.max(height) > MAX_SIDE {
        return Err(problem(format!(
            "it would have {width} × {height} pixels; expected at most {MAX_SIDE} a side"
        )));
    }
    let mut pixels = Pixmap::new(width as u32, height as u32)
        .ok_or_else(|| problem(format!("it has {width} × {height} pixels")))?;
    resvg::render(
        &tree,
        Transform::from_scale(scale, scale),
        &mut pixels.as_mut(),
    );
    pixels
        .encode_png()
        .map_err(|error| problem(error.to_string()))
}
