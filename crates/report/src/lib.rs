#![doc = include_str!("../README.md")]

mod answers;
mod card;
mod chart;
mod compare;
mod error;
mod escape;
mod explanation;
mod material;
mod metrics;
mod overlay;
mod page;
mod picture;
mod sheet;
mod svg;
mod thumbs;
mod write;

pub use chart::learning_rates;
pub use compare::{Comparison, Paired, RunSummary, Setting, TestScores};
pub use error::{Error, Result};
pub use escape::quoted;
pub use explanation::{Explained, Explanations, IndexRow, explanation, explanation_file};
pub use material::{Images, Material, View};
pub use overlay::overlay;
pub use picture::within;
pub use sheet::{SheetItem, sheet};
pub use svg::{Fonts, Svg, rasterise};
pub use write::{PAGE, write_page, write_run};
