//! The loop, on a network of seconds and images made here.

mod ending;
mod learning;
mod scene;
