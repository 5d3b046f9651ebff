//! Settings for photographs, chosen by the images and the processor.

mod recipe;
mod speed;

pub use recipe::{Photos, Recipe};
pub use speed::training_speed;
