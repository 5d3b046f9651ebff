//! RandAugment's changes of grey levels besides jitter: sharpness, posterize, solarize, autocontrast and
//! equalize, with the results of `torchvision.transforms.v2.functional` on uint8 images.

use super::color::look_up;
use crate::decode::Image;

/// Moves the image away from its smoothed version by `factor` (towards it below 1): `adjust_sharpness`.
/// The outermost pixels are unchanged.
pub(crate) fn adjust_sharpness(image: &mut Image, factor: f32) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width <= 2 || height <= 2 || factor == 1.0 {
        return;
    }
    let channels = usize::from(image.channels());
    let stride = width * channels;
    let source = image.pixels().to_vec();
    let target = image.pixels_mut();
    for y in 1..height - 1 {
        for at in y * stride + channels..(y + 1) * stride - channels {
            let row = |middle: usize| {
                let columns = [middle - channels, middle, middle + channels];
                columns.map(|at| u32::from(source[at])).iter().sum::<u32>()
            };
            let all = row(at - stride) + row(at) + row(at + stride);
            let own = f32::from(source[at]);
            let smooth = ((all as f32 + 4.0 * own) / 13.0).round();
            target[at] = (own + (1.0 - factor) * (smooth - own)) as u8;
        }
    }
}

/// Keeps only the highest `bits` (0 to 8) of every byte: `posterize`.
pub(crate) fn posterize(image: &mut Image, bits: u32) {
    let mask = !(0xFF_u32 >> bits.min(8)) as u8;
    look_up(image, &std::array::from_fn(|byte| byte as u8 & mask));
}

/// Inverts every byte from `threshold` on: `solarize`.
pub(crate) fn solarize(image: &mut Image, threshold: f32) {
    let solarized = |byte: usize| match byte as f32 >= threshold {
        true => 255 - byte as u8,
        false => byte as u8,
    };
    look_up(image, &std::array::from_fn(solarized));
}

/// Stretches every channel from black to white: `autocontrast`.
pub(crate) fn autocontrast(image: &mut Image) {
    each_channel(image, |counts| {
        let least = counts.iter().position(|&count| count > 0)?;
        let most = counts.iter().rposition(|&count| count > 0)?;
        if least == most {
            return None;
        }
        let scale = (most - least) as f32 / 255.0;
        let stretched = |byte: usize| ((byte as f32 - least as f32) / scale) as u8;
        Some(std::array::from_fn(stretched))
    });
}

/// Makes all grey levels of every channel about equally frequent: `equalize`.
pub(crate) fn equalize(image: &mut Image) {
    each_channel(image, |counts| {
        let most = counts.iter().rposition(|&count| count > 0)?;
        let others: usize = counts[..most].iter().sum();
        let step = others / 255;
        if step == 0 {
            return None;
        }
        let mut before = step / 2;
        Some(std::array::from_fn(|byte| {
            let level = before / step;
            before += counts[byte];
            level.min(255) as u8
        }))
    });
}

/// Maps the bytes of every channel through the table that `table` computes from their counts; `None`
/// leaves the channel unchanged.
fn each_channel(image: &mut Image, table: impl Fn(&[usize; 256]) -> Option<[u8; 256]>) {
    let channels = usize::from(image.channels());
    for channel in 0..channels {
        let mut counts = [0; 256];
        for &byte in image.pixels()[channel..].iter().step_by(channels) {
            counts[usize::from(byte)] += 1;
        }
        if let Some(table) = table(&counts) {
            let bytes = image.pixels_mut()[channel..].iter_mut();
            for byte in bytes.step_by(channels) {
                *byte = table[usize::from(*byte)];
            }
        }
    }
}
