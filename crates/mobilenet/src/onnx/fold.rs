//! Folds a batch normalisation into the convolution before it.

/// Returns the weight `[channels, ..]` and bias `[channels]` of a single convolution. It is
/// equivalent to the convolution with weight `convolution` followed by a batch normalisation, as in
/// `torch.nn.utils.fuse_conv_bn_weights`. The normalisation's `weight`, `bias`, `mean` and
/// `variance` are each `[channels]`. `own` is the convolution's bias, if it has one. Values are computed in f64 and
/// rounded once.
pub(super) fn folded(
    convolution: &[f32],
    own: Option<&[f32]>,
    [weight, bias, mean, variance]: [&[f32]; 4],
    epsilon: f64,
) -> (Vec<f32>, Vec<f32>) {
    let scales: Vec<f64> = (weight.iter().zip(variance))
        .map(|(&weight, &variance)| f64::from(weight) / (f64::from(variance) + epsilon).sqrt())
        .collect();
    let taps = convolution.len() / scales.len();
    let weight = (convolution.iter().enumerate())
        .map(|(index, &tap)| (f64::from(tap) * scales[index / taps]) as f32)
        .collect();
    let own = |channel: usize| own.map_or(0.0, |own| f64::from(own[channel]));
    let bias = (bias.iter().zip(mean).zip(&scales).enumerate())
        .map(|(channel, ((&bias, &mean), scale))| {
            (f64::from(bias) - (f64::from(mean) - own(channel)) * scale) as f32
        })
        .collect();
    (weight, bias)
}
