//! Drawn photographs: as costly to decode as real ones, and free of copyright.

use jpeg_encoder::{ColorType, Encoder, EncodingError, SamplingFactor};

pub(crate) const WIDTH: usize = 500;
pub(crate) const HEIGHT: usize = 375;

/// Photograph number `index` as a JPEG file of about 50 kB, with a camera's usual settings: 4:2:0, quality 90.
pub(crate) fn jpeg(index: usize) -> Result<Vec<u8>, EncodingError> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 90);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.encode(&pixels(index), WIDTH as u16, HEIGHT as u16, ColorType::Rgb)?;
    Ok(file)
}

/// The pixels of a photograph, `[HEIGHT, WIDTH, 3]`: large shapes, smaller shapes with less contrast on top, and noise.
pub(crate) fn pixels(index: usize) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(WIDTH * HEIGHT * 3);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let mut light = 0.0;
            let (mut side, mut contrast) = (256.0, 80.0);
            for octave in 0..8 {
                light += contrast
                    * noise(
                        x as f32 / side,
                        y as f32 / side,
                        (index * 31 + octave) as u32,
                    );
                side /= 2.0;
                contrast *= 0.6;
            }
            for channel in 0..3 {
                let tint = 50.0
                    * noise(
                        x as f32 / 90.0,
                        y as f32 / 90.0,
                        (index * 31 + 20 + channel) as u32,
                    );
                let grain = 10.0 * corner(x as u32, y as u32, channel as u32);
                pixels.push((128.0 + light + tint + grain) as u8);
            }
        }
    }
    pixels
}

/// Smooth noise between -1 and 1.
fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (smooth(x - left), smooth(y - top));
    let (left, top) = (left as u32, top as u32);
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    mix(
        mix(corner(left, top, seed), corner(left + 1, top, seed), u),
        mix(
            corner(left, top + 1, seed),
            corner(left + 1, top + 1, seed),
            u,
        ),
        v,
    )
}

/// A pseudo-random number between -1 and 1.
fn corner(x: u32, y: u32, seed: u32) -> f32 {
    let mut hash =
        x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77) ^ seed.wrapping_mul(0xC2B2_AE3D);
    for _ in 0..2 {
        hash = (hash ^ (hash >> 15)).wrapping_mul(0x2C1B_3C6D);
    }
    (hash >> 8) as f32 / (1 << 23) as f32 - 1.0
}
