//! Chooses settings for photos by the images and the speed of this machine.

mod recipe;
mod speed;

pub use recipe::{Photos, Recipe};
pub use speed::training_speed;
