//! Convolutions with any window, dense or in groups, without patch matrices.
//!
//! The rows of the input that some rows of the output need are copied into a [`Frame`]: normalised, activated, with
//! zeros around the image, and with the columns of each stride phase side by side. In a frame, neighbouring outputs
//! read neighbouring pixels for every tap, whatever the stride. So a tile of outputs is the tile of a matrix product
//! whose left factor moves from tap to tap.
//!
//! - Forward: [`conv_tiles`] over a frame of the input.
//! - Gradient of the input: [`conv_tiles`] over a frame of the output's gradient, once for each stride phase of the
//!   input, with the taps that reach this phase.
//! - Gradient of the weights: [`conv_gradient`] over both frames; in bf16, [`narrow_frame`] makes matrices of them.
//!
//! Kernels work on panels of up to three planes of outputs. A panel reads the channels of the groups that its outputs
//! belong to. Weights between different groups are 0. In bf16, frames hold two channels in the place of one (see
//! [`ranks`]), while activations outside of frames stay f32.

mod frame;
mod gradient;
mod images;
mod pack;
mod ranks;
mod tile_rows;
mod tiles;

pub(crate) use frame::{Fill, Frame, fill, fill_behind};
pub(crate) use gradient::{ConvGradient, conv_gradient};
pub(crate) use images::{
    ImageConv, ImageOutput, image_conv, image_conv_gradient, pack_image_taps, unpack_image_taps,
};
pub(crate) use pack::{Packing, pack_panel, unpack_gradient, unpack_taps};
pub(crate) use ranks::{NarrowFrame, fill_ranks, frame_ranks, narrow_frame, pair_planes};
pub(crate) use tiles::{ConvEpilogue, ConvTiles, Place, conv_tiles};
