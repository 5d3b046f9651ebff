//! Operations with one value per image and channel, channels last: global average pooling and the scaling of a
//! squeeze-excite block, with their gradients.
//!
//! Tensors are `[n, pixels, c]`. Values per image and channel are `[n, c]`.

use rayon::prelude::*;

use crate::isa::{Isa, dispatch, multiply_add};

/// The mean over the pixels of each image. Converts `values`, `[n, pixels, c]`, to `output`, `[n, c]`, like
/// `torch.nn.AdaptiveAvgPool2d(1)`.
///
/// # Panics
/// If the slices do not agree in length.
pub fn average(isa: Isa, channels: usize, values: &[f32], output: &mut [f32]) {
    let image = image_len(channels, values, output);
    let share = channels as f32 / image as f32;
    output
        .par_chunks_mut(channels)
        .zip(values.par_chunks(image))
        .for_each(|(output, values)| {
            output.fill(0.0);
            sum_rows(isa, values, output);
            output.iter_mut().for_each(|sum| *sum *= share);
        });
}

/// The gradient of [`average`] with respect to its values: every pixel gets `1 / pixels` of its channel's gradient.
///
/// # Panics
/// If the slices do not agree in length.
pub fn average_backward(channels: usize, gradient: &[f32], values_gradient: &mut [f32]) {
    let image = image_len(channels, values_gradient, gradient);
    let share = channels as f32 / image as f32;
    values_gradient
        .par_chunks_mut(image)
        .zip(gradient.par_chunks(channels))
        .for_each(|(pixels, gradient)| {
            for pixel in pixels.chunks_exact_mut(channels) {
                pixel
                    .iter_mut()
                    .zip(gradient)
                    .for_each(|(out, gradient)| *out = gradient * share);
            }
        });
}

/// `output = values * factors`. Every pixel of an image, `[n, pixels, c]`, is multiplied by that image's factors,
/// `[n, c]`.
///
/// # Panics
/// If the slices do not agree in length.
pub fn scale(channels: usize, values: &[f32], factors: &[f32], output: &mut [f32]) {
    let image = image_len(channels, values, factors);
    assert_eq!(values.len(), output.len());
    let images = values.par_chunks(image).zip(factors.par_chunks(channels));
    output
        .par_chunks_mut(image)
        .zip(images)
        .for_each(|(output, (values, factors))| {
            let pixels = output
                .chunks_exact_mut(channels)
                .zip(values.chunks_exact(channels));
            for (output, values) in pixels {
                for ((output, value), factor) in output.iter_mut().zip(values).zip(factors) {
                    *output = value * factor;
                }
            }
        });
}

/// The gradient of [`scale`] with respect to the factors: `sum(values * gradient)` over the pixels. (To get the
/// gradient with respect to the values, apply `scale` to the gradient.)
///
/// # Panics
/// If the slices do not agree in length.
pub fn scale_backward_factors(
    isa: Isa,
    channels: usize,
    values: &[f32],
    gradient: &[f32],
    factors_gradient: &mut [f32],
) {
    let image = image_len(channels, values, factors_gradient);
    assert_eq!(values.len(), gradient.len());
    let images = values.par_chunks(image).zip(gradient.par_chunks(image));
    factors_gradient
        .par_chunks_mut(channels)
        .zip(images)
        .for_each(|(sum, (values, gradient))| {
            sum.fill(0.0);
            sum_products(isa, values, gradient, sum);
        });
}

/// The length of one image. Checks that both slices match it.
fn image_len(channels: usize, images: &[f32], per_image: &[f32]) -> usize {
    let count = per_image.len().checked_div(channels).unwrap_or(0);
    assert!(
        count > 0
            && per_image.len() == count * channels
            && images.len().is_multiple_of(per_image.len()),
        "{} numbers over {channels} channels do not match {} numbers of images",
        per_image.len(),
        images.len()
    );
    images.len() / count
}

dispatch!(sum_rows(values: &[f32], sum: &mut [f32]) => sum_rows_kernel);
dispatch!(sum_products(a: &[f32], b: &[f32], sum: &mut [f32]) => sum_products_kernel);

#[inline(always)]
fn sum_rows_kernel<const FMA: bool>(values: &[f32], sum: &mut [f32]) {
    for row in values.chunks_exact(sum.len()) {
        sum.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += value);
    }
}

#[inline(always)]
fn sum_products_kernel<const FMA: bool>(a: &[f32], b: &[f32], sum: &mut [f32]) {
    let channels = sum.len();
    for (a, b) in a.chunks_exact(channels).zip(b.chunks_exact(channels)) {
        for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
            *sum = multiply_add::<FMA>(*a, *b, *sum);
        }
    }
}
