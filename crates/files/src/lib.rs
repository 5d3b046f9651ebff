#![doc = include_str!("../README.md")]

mod lock;
mod sweep;
mod unfinished;

pub use lock::Lock;
pub use sweep::sweep;
pub use unfinished::{PREFIX, Unfinished, parent, write, write_unsynced};
