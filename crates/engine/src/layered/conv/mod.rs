//! Convolutions of one group of images: dense or in groups, with any window.
//!
//! [`ConvShape`] is made once for a layer and an image size. [`conv_forward`] and [`conv_backward`] cut the group's
//! images into bands of rows that fit the cache, copy each band into frames, and run the kernels of
//! [`crate::kernels`] on them. Pointers start at the group's first image.

mod backward;
mod bf16;
mod forward;
mod shape;
mod stem;

pub(crate) use backward::{ConvBackward, InputTarget, conv_backward};
pub(crate) use forward::{ConvForward, Part, conv_forward};
pub(crate) use shape::{ConvShape, SMALL};
pub(crate) use stem::{StemBackward, StemForward, stem_backward, stem_forward};

use crate::memory::{Buffer, Dst};

/// Scratch memory of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    input: Option<Buffer>,
    output: Option<Buffer>,
    gradient: Option<Buffer>,
    matrices: bf16::Matrices,
}

/// A buffer of at least `length` values. If it grows, its contents are lost.
fn at_least(buffer: &mut Option<Buffer>, length: usize) -> Dst {
    match buffer {
        Some(buffer) if buffer.len() >= length => buffer.dst(),
        _ => buffer.insert(Buffer::new(length)).dst(),
    }
}
