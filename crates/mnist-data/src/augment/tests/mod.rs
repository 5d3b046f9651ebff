//! Compares the operations with torchvision, and checks invariants for any draw.

mod golden;
mod properties;
mod rand_augment;
mod sampling;

use rand_chacha::ChaCha8Rng;

use super::{Draw, Purpose};
use crate::decode::Image;

/// The random numbers of one image among many.
fn drawn(index: u64, purpose: Purpose) -> ChaCha8Rng {
    let draw = Draw {
        seed: 5,
        epoch: 2,
        index,
    };
    draw.numbers(purpose)
}

/// The `pixel` of generate_augment.py.
fn pixel(x: u32, y: u32, c: u32) -> u8 {
    let noise = (31 * x + 17 * y + 7 * c) % 23 * 4;
    let edge = if (x / 5 + y / 7).is_multiple_of(2) {
        0
    } else {
        90
    };
    ((5 * x + 3 * y + 40 * c + noise + edge) % 256) as u8
}

fn image(width: u32, height: u32, channels: u8) -> Image {
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let pixels = rows
        .flat_map(|(x, y)| (0..u32::from(channels)).map(move |c| pixel(x, y, c)))
        .collect();
    Image::from_raw(width, height, channels, pixels).unwrap()
}
