#![doc = include_str!("../README.md")]

mod checksum;
#[cfg(feature = "faults")]
pub mod faults;
mod lock;
#[cfg(not(feature = "faults"))]
mod no_faults;
mod positioned;
mod stamp;
mod sweep;
mod unfinished;

#[cfg(not(feature = "faults"))]
use no_faults as faults;

pub use checksum::Checksum;
pub use lock::Lock;
pub use positioned::Positioned;
pub use stamp::Stamp;
pub use sweep::sweep;
pub use unfinished::{
    PREFIX, Unfinished, parent, sync_parent, write, write_new_unsynced, write_unsynced,
};
