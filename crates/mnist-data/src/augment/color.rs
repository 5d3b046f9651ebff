//! Changes of brightness, contrast, saturation and hue. The results are equal to `torchvision.transforms.v2.functional`
//! on uint8 images, which truncates when it converts floats to bytes.

use crate::decode::Image;

/// Replaces every byte of the image by its entry in `table`.
pub(crate) fn look_up(image: &mut Image, table: &[u8; 256]) {
    for byte in image.pixels_mut() {
        *byte = table[usize::from(*byte)];
    }
}

/// Multiplies every byte by `factor`: `adjust_brightness`.
pub(crate) fn adjust_brightness(image: &mut Image, factor: f32) {
    look_up(image, &blended(factor, 0.0));
}

/// Scales every byte's distance from the mean grey level by `factor`: `adjust_contrast`.
pub(crate) fn adjust_contrast(image: &mut Image, factor: f32) {
    if factor == 1.0 {
        return;
    }
    let pixels = image.pixels();
    let sum: u64 = match image.channels() {
        1 => pixels.iter().map(|&byte| u64::from(byte)).sum(),
        _ => pixels.chunks_exact(3).map(|rgb| u64::from(gray(rgb))).sum(),
    };
    let count = pixels.len() / usize::from(image.channels());
    let mean = sum as f64 / count as f64;
    look_up(image, &blended(factor, mean as f32));
}

/// Scales every byte's distance from its pixel's grey by `factor`: `adjust_saturation`. Gray images are unchanged.
pub(crate) fn adjust_saturation(image: &mut Image, factor: f32) {
    if image.channels() == 1 || factor == 1.0 {
        return;
    }
    for rgb in image.pixels_mut().chunks_exact_mut(3) {
        let gray = gray(rgb) as f32 * (1.0 - factor);
        for byte in rgb {
            *byte = (f32::from(*byte) * factor + gray) as u8;
        }
    }
}

/// Rotates every hue by `shift` of the colour circle (-0.5 to 0.5): `adjust_hue`. Gray images are unchanged.
pub(crate) fn adjust_hue(image: &mut Image, shift: f32) {
    if image.channels() == 1 || shift == 0.0 {
        return;
    }
    for rgb in image.pixels_mut().chunks_exact_mut(3) {
        let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(|byte| f32::from(byte) / 255.0);
        let (hue, saturation, value) = hsv(r, g, b);
        let moved = within_circle(hue + shift);
        let [r, g, b] = from_hsv(moved, saturation, value);
        // Converts a float of 0 to 1 to a byte as torchvision does: 256 equal intervals.
        for (byte, float) in rgb.iter_mut().zip([r, g, b]) {
            *byte = (float * (256.0 - 1e-3)) as u8;
        }
    }
}

/// The blend of `factor` times a byte and `1 - factor` times `other`, for every byte.
fn blended(factor: f32, other: f32) -> [u8; 256] {
    // The cast saturates to 0..=255.
    std::array::from_fn(|byte| (byte as f32 * factor + other * (1.0 - factor)) as u8)
}

/// The grey level of a pixel, truncated to a whole number: torchvision's 0.2989, 0.587 and 0.114 in
/// 65,536ths.
fn gray(rgb: &[u8]) -> u32 {
    let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
    (r * 19_589 + g * 38_470 + b * 7_471) >> 16
}

fn hsv(r: f32, g: f32, b: f32) -> (f32, f32, f32) {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let range = most - least;
    if range == 0.0 {
        return (0.0, 0.0, most);
    }
    let [from_r, from_g, from_b] = [r, g, b].map(|channel| (most - channel) / range);
    let sixths = if most == r {
        from_b - from_g
    } else if most == g {
        2.0 + from_r - from_b
    } else {
        4.0 + from_g - from_r
    };
    (within_circle(sixths / 6.0), range / most, most)
}

/// Wraps a hue between -1 and 2 into 0 to 1, where 1 is the full colour circle.
fn within_circle(hue: f32) -> f32 {
    if hue < 0.0 {
        hue + 1.0
    } else if hue >= 1.0 {
        hue - 1.0
    } else {
        hue
    }
}

fn from_hsv(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    let sixths = hue * 6.0;
    let sector = sixths as u32;
    let fraction = sixths - sector as f32;
    let p = value * (1.0 - saturation);
    let q = value * (1.0 - saturation * fraction);
    let t = value * (1.0 - saturation * (1.0 - fraction));
    match sector {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        5 => [value, p, q],
        // Rounding may give the full circle, which is the same hue as 0.
        _ => [value, t, p],
    }
}
