//! Generated images for checking an ONNX file.

use std::f32::consts::TAU;

use candle_core::{Device, Tensor};
use framing::ImageSize;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::Result;

/// Two batches of generated images, u8 `[n, h, w, 3]`. The first is one image of slow waves, in the
/// size that the network was trained for. The second is three images with odd and unequal sides:
/// noise, in which neighbouring pixels are independent, and waves, which pass through a network
/// better. If the size is fixed, these images have it too.
pub(super) fn made_up(image_size: ImageSize, is_fixed: bool) -> Result<Vec<Tensor>> {
    let [own_height, own_width] = image_size.sides().map(|side| side as usize);
    let (height, width) = match is_fixed {
        true => (own_height, own_width),
        false => ((own_height + 8) | 1, (own_width + 20) | 1),
    };
    let batches = [
        (own_height, own_width, &[waves as Painter][..]),
        (height, width, &[noise, waves, waves]),
    ];
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut made = Vec::new();
    for (height, width, painters) in batches {
        let mut pixels = Vec::with_capacity(painters.len() * height * width * 3);
        for paint in painters {
            paint(&mut random, (height, width), &mut pixels);
        }
        let shape = (painters.len(), height, width, 3);
        made.push(Tensor::from_vec(pixels, shape, &Device::Cpu)?);
    }
    Ok(made)
}

/// Appends an image of this height and width.
type Painter = fn(&mut ChaCha8Rng, (usize, usize), &mut Vec<u8>);

fn noise(random: &mut ChaCha8Rng, (height, width): (usize, usize), pixels: &mut Vec<u8>) {
    pixels.extend((0..height * width * 3).map(|_| random.random::<u8>()));
}

fn waves(random: &mut ChaCha8Rng, (height, width): (usize, usize), pixels: &mut Vec<u8>) {
    // For each colour: waves over the height, waves over the width, phase.
    let colours: [[f32; 3]; 3] = std::array::from_fn(|_| {
        [
            random.random_range(-2.0..2.0),
            random.random_range(-2.0..2.0),
            random.random(),
        ]
    });
    for row in 0..height {
        for column in 0..width {
            let (y, x) = (row as f32 / height as f32, column as f32 / width as f32);
            pixels.extend(colours.map(|[down, across, start]| {
                let wave = (TAU * (down * y + across * x + start)).sin();
                (127.5 + 127.5 * wave) as u8
            }));
        }
    }
}
