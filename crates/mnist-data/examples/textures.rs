//! Draws a small data set to try fine-tuning on: five textures, the same images every time:
//! `cargo run --release -p mnist-data --example textures photos`.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

use std::error::Error;
use std::fs;
use std::path::Path;

use jpeg_encoder::{ColorType, Encoder};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const WIDTH: usize = 288;
const HEIGHT: usize = 240;

/// The number of images of each class in each split.
const SPLITS: [(&str, usize); 3] = [("train", 40), ("val", 20), ("test", 40)];

/// Writes the images as `DIR/<split>/<texture>/<number>.jpg`.
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir] = arguments.as_slice() else {
        return Err("usage: textures DIR".into());
    };
    let dir = Path::new(dir);
    let mut seed = 0;
    for (split, count) in SPLITS {
        for texture in Texture::ALL {
            let folder = dir.join(split).join(texture.name());
            fs::create_dir_all(&folder)
                .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
            for number in 0..count {
                let file = folder.join(format!("{number:03}.jpg"));
                let pixels = image(texture, seed);
                seed += 1;
                Encoder::new_file(&file, 85)
                    .and_then(|encoder| {
                        encoder.encode(&pixels, WIDTH as u16, HEIGHT as u16, ColorType::Rgb)
                    })
                    .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
            }
        }
    }
    println!("{} holds {seed} images of five textures", dir.display());
    Ok(())
}

#[derive(Clone, Copy)]
enum Texture {
    Stripes,
    Checks,
    Dots,
    Rings,
    Zigzag,
}

impl Texture {
    const ALL: [Texture; 5] = [
        Texture::Stripes,
        Texture::Checks,
        Texture::Dots,
        Texture::Rings,
        Texture::Zigzag,
    ];

    fn name(self) -> &'static str {
        match self {
            Texture::Stripes => "stripes",
            Texture::Checks => "checks",
            Texture::Dots => "dots",
            Texture::Rings => "rings",
            Texture::Zigzag => "zigzag",
        }
    }

    /// Which of the texture's two colours is at a position, given in periods.
    fn is_dark(self, x: f32, y: f32) -> bool {
        let cell = |v: f32| v - v.floor() - 0.5;
        match self {
            Texture::Stripes => cell(x) > 0.0,
            Texture::Checks => (cell(x / 2.0) > 0.0) != (cell(y / 2.0) > 0.0),
            Texture::Dots => cell(x).hypot(cell(y)) < 0.32,
            Texture::Rings => cell(x.hypot(y)) > 0.0,
            Texture::Zigzag => cell(y + 1.2 * cell(x / 2.0).abs()) > 0.0,
        }
    }
}

/// The pixels, `[HEIGHT, WIDTH, 3]`: a patch of the texture with random rotation, size and colours, on a cloudy
/// background with noise.
fn image(texture: Texture, seed: u64) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut between = |low: f32, high: f32| low + (high - low) * random.random::<f32>();
    let mut colour = || {
        [
            between(30.0, 225.0),
            between(30.0, 225.0),
            between(30.0, 225.0),
        ]
    };
    let (light, dark, ground, cloud) = (colour(), colour(), colour(), colour());
    let (period, angle) = (between(9.0, 30.0), between(0.0, std::f32::consts::TAU));
    let centre = (
        WIDTH as f32 * between(0.35, 0.65),
        HEIGHT as f32 * between(0.35, 0.65),
    );
    let radii = (between(50.0, 120.0), between(50.0, 110.0));
    let waves = [(); 3].map(|()| (between(0.01, 0.04), between(0.01, 0.04), between(0.0, 6.0)));
    let (sin, cos) = angle.sin_cos();
    let mut pixels = Vec::with_capacity(WIDTH * HEIGHT * 3);
    for row in 0..HEIGHT {
        for column in 0..WIDTH {
            let (x, y) = (column as f32 - centre.0, row as f32 - centre.1);
            let inside = (x / radii.0).powi(4) + (y / radii.1).powi(4) < 1.0;
            let (turned_x, turned_y) = ((cos * x + sin * y) / period, (cos * y - sin * x) / period);
            let share = waves
                .iter()
                .map(|(a, b, phase)| (a * x + b * y + phase).sin())
                .sum::<f32>()
                / 6.0
                + 0.5;
            let grain = between(-18.0, 18.0);
            for channel in 0..3 {
                let value = match (inside, texture.is_dark(turned_x, turned_y)) {
                    (true, true) => dark[channel],
                    (true, false) => light[channel],
                    (false, _) => ground[channel] + (cloud[channel] - ground[channel]) * share,
                };
                pixels.push((value + grain) as u8);
            }
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_the_same_every_time_and_differ_by_seed_and_texture() {
        let first = image(Texture::Dots, 3);
        assert_eq!(first.len(), WIDTH * HEIGHT * 3);
        assert!(first == image(Texture::Dots, 3));
        assert!(first != image(Texture::Dots, 4));
        assert!(first != image(Texture::Rings, 3));
    }
}
