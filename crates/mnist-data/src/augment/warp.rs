//! Bilinear resampling, by a map from output pixels to source positions.

use super::affine::InverseAffine;
use crate::decode::Image;

/// Positions are fixed-point numbers with 24 fractional bits. The map adds a constant step from pixel to pixel; after
/// 32,768 steps a position is still exact to a thousandth of a pixel.
const PLACE_BITS: u32 = 24;
/// Weights of pixels are fixed-point numbers with 11 fractional bits, so the product of two weights and a grey level
/// fits 32 bits.
const WEIGHT_BITS: u32 = 11;
const WEIGHT_ONE: u32 = 1 << WEIGHT_BITS;

/// Samples every pixel of the result at the source position given by `map`. `field` is a displacement `[height, width]`
/// of x and y in pixels, added to the pixel's position before the map. The result has the size of `source`.
///
/// The result equals torch's `grid_sample` with zero padding and `align_corners=False`, and so torchvision's `affine`
/// and `elastic` without `fill`. With a `fill`, torchvision weights the image twice at its border; here it is blended
/// with `fill` once.
pub(crate) fn warp(
    source: &Image,
    map: &InverseAffine,
    field: Option<&[[f32; 2]]>,
    fill: u8,
    memory: &mut Vec<u8>,
) -> Vec<u8> {
    match source.channels() {
        1 => warp_channels::<1>(source, map, field, fill, memory),
        _ => warp_channels::<3>(source, map, field, fill, memory),
    }
}

fn warp_channels<const C: usize>(
    source: &Image,
    map: &InverseAffine,
    field: Option<&[[f32; 2]]>,
    fill: u8,
    memory: &mut Vec<u8>,
) -> Vec<u8> {
    let (width, height) = (source.width() as usize, source.height() as usize);
    let padded = Padded::<C>::new(source, fill, memory);
    let middle = [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0];
    let mut target = vec![0; width * height * C];
    for (y, row) in target.chunks_exact_mut(width * C).enumerate() {
        let from_middle = y as f64 - middle[1];
        let pixels = row.chunks_exact_mut(C);
        if let Some(field) = field {
            let moves = &field[y * width..][..width];
            for ((x, pixel), moved) in pixels.enumerate().zip(moves) {
                let [dx, dy] = moved.map(f64::from);
                let place = map.source([x as f64 - middle[0] + dx, from_middle + dy]);
                padded.sample(
                    fixed(place[0] + middle[0]),
                    fixed(place[1] + middle[1]),
                    pixel,
                );
            }
        } else {
            let first = map.source([-middle[0], from_middle]);
            let [mut at_x, mut at_y] = [fixed(first[0] + middle[0]), fixed(first[1] + middle[1])];
            let [step_x, step_y] = [fixed(map.x[0]), fixed(map.y[0])];
            for pixel in pixels {
                padded.sample(at_x, at_y, pixel);
                at_x += step_x;
                at_y += step_y;
            }
        }
    }
    target
}

/// A position or a step with 24 fractional bits.
fn fixed(pixels: f64) -> i64 {
    (pixels * f64::from(1 << PLACE_BITS)).round() as i64
}

/// An image with a border of `fill`: one pixel at the top and left, two at the bottom and right. Positions outside are
/// moved to the border, so every position has four neighbours and needs no bounds checks.
struct Padded<'a, const C: usize> {
    pixels: &'a [u8],
    /// Bytes per row.
    stride: usize,
    /// The largest x and y; positions outside are moved here.
    last: [i64; 2],
}

impl<'a, const C: usize> Padded<'a, C> {
    fn new(source: &Image, fill: u8, memory: &'a mut Vec<u8>) -> Self {
        let (width, height) = (source.width() as usize, source.height() as usize);
        let stride = (width + 3) * C;
        memory.clear();
        memory.resize(stride * (height + 3), fill);
        let inner = memory[stride..].chunks_exact_mut(stride);
        for (row, source) in inner.zip(source.pixels().chunks_exact(width * C)) {
            row[C..][..width * C].copy_from_slice(source);
        }
        let last = |side: usize| (side as i64 + 1) << PLACE_BITS;
        Self {
            pixels: memory,
            stride,
            last: [last(width), last(height)],
        }
    }

    /// The blend of the four pixels around a position of the source.
    #[inline(always)]
    fn sample(&self, x: i64, y: i64, pixel: &mut [u8]) {
        let one = 1 << PLACE_BITS;
        let x = (x + one).clamp(0, self.last[0]);
        let y = (y + one).clamp(0, self.last[1]);
        let weight = |place: i64| (place >> (PLACE_BITS - WEIGHT_BITS)) as u32 & (WEIGHT_ONE - 1);
        let (right, below) = (weight(x), weight(y));
        let at = (y >> PLACE_BITS) as usize * self.stride + (x >> PLACE_BITS) as usize * C;
        let upper = &self.pixels[at..at + 2 * C];
        let lower = &self.pixels[at + self.stride..at + self.stride + 2 * C];
        for channel in 0..C {
            let across = |row: &[u8]| {
                u32::from(row[channel]) * (WEIGHT_ONE - right) + u32::from(row[channel + C]) * right
            };
            let sum = across(upper) * (WEIGHT_ONE - below) + across(lower) * below;
            pixel[channel] = ((sum + (1 << (2 * WEIGHT_BITS - 1))) >> (2 * WEIGHT_BITS)) as u8;
        }
    }
}
