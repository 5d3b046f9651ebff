#![doc = include_str!("../README.md")]

mod error;
mod escape;
mod picture;
mod sheet;
mod svg;

pub use error::{Error, Result};
pub use sheet::{SheetItem, sheet};
pub use svg::{Fonts, Svg, rasterise};
