//! Batch normalisations within a training step. They process few values, but every phase waits for
//! them, so their loops are vectorised.

use super::context::Context;
use super::layout::NormPlace;
use crate::isa::{Isa, dispatch};
use crate::kernels::{Affine, NormBackward};
use crate::memory::{Dst, Src, padded};
use crate::spec::BatchNormSpec;

/// A batch normalisation within a step: its coefficients, padded to whole planes.
pub(crate) struct Norm {
    scale: Vec<f32>,
    shift: Vec<f32>,
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    mean: Vec<f64>,
    /// `1 / sqrt(variance + epsilon)`
    inverse_std: Vec<f64>,
}

impl Norm {
    pub(crate) fn new(channels: usize) -> Self {
        let zeros = || vec![0.0; padded(channels)];
        Norm {
            scale: zeros(),
            shift: zeros(),
            a: zeros(),
            b: zeros(),
            c: zeros(),
            mean: vec![0.0; channels],
            inverse_std: vec![0.0; channels],
        }
    }

    /// Computes scale and shift from the batch's sums in the context, with `count` values per
    /// channel. Updates the running statistics with the unbiased variance, as torch does.
    pub(crate) fn forward(
        &mut self,
        context: &Context<'_>,
        place: &NormPlace,
        count: usize,
        constants: BatchNormSpec,
        arena: &[f32],
        statistics: &mut [f32],
    ) {
        let channels = place.channels;
        let parameters = [place.weight, place.bias].map(|place| &arena[place..][..channels]);
        // Mean and variance are adjacent.
        let (means, variances) = statistics.split_at_mut(place.variance);
        let running = [
            &mut means[place.mean..][..channels],
            &mut variances[..channels],
        ];
        context.with_totals(channels, |totals| {
            let count = count as f64;
            forward(
                context.isa,
                self,
                totals,
                count,
                constants,
                parameters,
                running,
            );
        });
    }

    /// Computes scale and shift from running statistics.
    pub(crate) fn set_running(
        &mut self,
        epsilon: f64,
        [weights, biases]: [&[f32]; 2],
        [means, variances]: [&[f32]; 2],
    ) {
        for channel in 0..weights.len() {
            let std = (f64::from(variances[channel]) + epsilon).sqrt();
            let scale = f64::from(weights[channel]) / std;
            self.scale[channel] = scale as f32;
            let shift = f64::from(biases[channel]) - f64::from(means[channel]) * scale;
            self.shift[channel] = shift as f32;
        }
    }

    /// As [`Norm::forward`], from the sums of the input and of its squares.
    pub(crate) fn set_forward(
        &mut self,
        isa: Isa,
        totals: [&[f64]; 2],
        count: f64,
        constants: BatchNormSpec,
        parameters: [&[f32]; 2],
        running: [&mut [f32]; 2],
    ) {
        forward(isa, self, totals, count, constants, parameters, running);
    }

    /// As [`Norm::backward`], from the sums of the gradient and of its products with the input.
    pub(crate) fn set_backward(
        &mut self,
        isa: Isa,
        totals: [&[f64]; 2],
        count: f64,
        gradients: [&mut [f32]; 2],
    ) {
        backward(isa, self, totals, count, gradients);
    }

    /// Computes the gradients of weight and bias, and the coefficients for the gradient of the
    /// input. The context must hold two sums: the sum of `d`, which is the gradient of the
    /// normalisation's output, and the sum of `d * z`.
    pub(crate) fn backward(
        &mut self,
        context: &Context<'_>,
        place: &NormPlace,
        count: usize,
        gradient: Dst,
    ) {
        let channels = place.channels;
        // SAFETY: the two ranges of the gradient are disjoint, and no thread writes to them.
        let gradients = [place.weight, place.bias].map(|place| unsafe {
            std::slice::from_raw_parts_mut(gradient.pointer(place, channels), channels)
        });
        context.with_totals(channels, |totals| {
            backward(context.isa, self, totals, count as f64, gradients);
        });
    }

    pub(crate) fn affine(&self) -> Affine {
        Affine {
            scale: Src::of(&self.scale),
            shift: Src::of(&self.shift),
        }
    }

    /// Scale and shift of the plane that starts at `channel`.
    pub(crate) fn affine_at(&self, channel: usize) -> Affine {
        Affine {
            scale: Src::of(&self.scale[channel..]),
            shift: Src::of(&self.shift[channel..]),
        }
    }

    /// The coefficients of the input and the constants of the backward pass.
    pub(crate) fn slopes(&self) -> [&[f32]; 2] {
        [&self.b, &self.c]
    }

    pub(crate) fn gradient(&self) -> NormBackward {
        self.gradient_at(0)
    }

    /// Coefficients of the plane that starts at `channel`.
    pub(crate) fn gradient_at(&self, channel: usize) -> NormBackward {
        NormBackward {
            a: Src::of(&self.a[channel..]),
            b: Src::of(&self.b[channel..]),
            c: Src::of(&self.c[channel..]),
        }
    }
}

dispatch! {
    forward(
        norm: &mut Norm,
        totals: [&[f64]; 2],
        count: f64,
        constants: BatchNormSpec,
        parameters: [&[f32]; 2],
        running: [&mut [f32]; 2],
    ) => forward_kernel
}

#[inline(always)]
fn forward_kernel<const FMA: bool>(
    norm: &mut Norm,
    totals: [&[f64]; 2],
    count: f64,
    constants: BatchNormSpec,
    parameters: [&[f32]; 2],
    running: [&mut [f32]; 2],
) {
    let [values, squares] = totals;
    let channels = values.len();
    let (share, unbiased) = (1.0 / count, count / (count - 1.0));
    let (kept, momentum) = (1.0 - constants.momentum, constants.momentum);
    let [means, variances] = running;
    let [weights, biases] = parameters.map(|values| &values[..channels]);
    let (means, variances) = (&mut means[..channels], &mut variances[..channels]);
    let (scales, shifts) = (&mut norm.scale[..channels], &mut norm.shift[..channels]);
    let batch = &mut norm.mean[..channels];
    let inverses = &mut norm.inverse_std[..channels];
    let squares = &squares[..channels];
    for channel in 0..channels {
        let mean = values[channel] * share;
        let difference = squares[channel] * share - mean * mean;
        // Unlike `max`, this keeps NaN.
        let variance = if difference < 0.0 { 0.0 } else { difference };
        let inverse = 1.0 / (variance + constants.epsilon).sqrt();
        let scale = f64::from(weights[channel]) * inverse;
        scales[channel] = scale as f32;
        shifts[channel] = (f64::from(biases[channel]) - mean * scale) as f32;
        batch[channel] = mean;
        inverses[channel] = inverse;
        let moved = |old: f32, new: f64| (f64::from(old) * kept + new * momentum) as f32;
        means[channel] = moved(means[channel], mean);
        variances[channel] = moved(variances[channel], variance * unbiased);
    }
}

dispatch! {
    backward(
        norm: &mut Norm,
        totals: [&[f64]; 2],
        count: f64,
        gradients: [&mut [f32]; 2],
    ) => backward_kernel
}

#[inline(always)]
fn backward_kernel<const FMA: bool>(
    norm: &mut Norm,
    totals: [&[f64]; 2],
    count: f64,
    gradients: [&mut [f32]; 2],
) {
    let [gradient, products] = totals;
    let channels = gradient.len();
    let share = 1.0 / count;
    let [weights, biases] = gradients;
    let (weights, biases) = (&mut weights[..channels], &mut biases[..channels]);
    let (means, inverses) = (&norm.mean[..channels], &norm.inverse_std[..channels]);
    let scales = &norm.scale[..channels];
    let (a, b, c) = (
        &mut norm.a[..channels],
        &mut norm.b[..channels],
        &mut norm.c[..channels],
    );
    let products = &products[..channels];
    for channel in 0..channels {
        let (sum, mean) = (gradient[channel], means[channel]);
        let normalised = inverses[channel] * (products[channel] - mean * sum);
        weights[channel] = normalised as f32;
        biases[channel] = sum as f32;
        let scale = f64::from(scales[channel]);
        let slope = -scale * inverses[channel] * normalised * share;
        a[channel] = scale as f32;
        b[channel] = slope as f32;
        c[channel] = (-scale * sum * share - slope * mean) as f32;
    }
}
