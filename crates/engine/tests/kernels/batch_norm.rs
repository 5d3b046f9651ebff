use engine::batch_norm::{apply, backward, scale_and_shift, statistics};
use engine::{Activation, Isa};

use crate::{assert_close, numbers};

const ACTIVATIONS: [Activation; 5] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::Hardswish,
    Activation::Silu,
];
const EPSILON: f64 = 1e-3;

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Silu => x / (1.0 + (-x).exp()),
        other => unreachable!("{other:?}"),
    }
}

struct Reference {
    mean: Vec<f64>,
    variance: Vec<f64>,
    output: Vec<f64>,
}

fn reference(activation: Activation, x: &[f64], weight: &[f64], bias: &[f64]) -> Reference {
    let channels = weight.len();
    let rows = (x.len() / channels) as f64;
    let column = |c: usize| x.iter().skip(c).step_by(channels);
    let mean: Vec<f64> = (0..channels)
        .map(|c| column(c).sum::<f64>() / rows)
        .collect();
    let variance: Vec<f64> = (0..channels)
        .map(|c| column(c).map(|x| (x - mean[c]).powi(2)).sum::<f64>() / rows)
        .collect();
    let output = (x.iter().enumerate())
        .map(|(i, x)| {
            let c = i % channels;
            let normal = (x - mean[c]) / (variance[c] + EPSILON).sqrt();
            activate(activation, normal * weight[c] + bias[c])
        })
        .collect();
    Reference {
        mean,
        variance,
        output,
    }
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// `sum(output * gradient)`. The backward pass must return the derivative of this sum.
fn objective(activation: Activation, x: &[f64], weight: &[f64], bias: &[f64], by: &[f32]) -> f64 {
    let output = reference(activation, x, weight, bias).output;
    output.iter().zip(by).map(|(o, g)| o * f64::from(*g)).sum()
}

/// The gradient of `f`, from central differences in double precision.
fn differences(at: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-6;
    (0..at.len())
        .map(|i| {
            let mut moved = at.to_vec();
            moved[i] += step;
            let up = f(&moved);
            moved[i] -= 2.0 * step;
            (up - f(&moved)) / (2.0 * step)
        })
        .collect()
}

#[test]
fn forward_matches_the_reference() {
    for (rows, channels) in [(1, 3), (2, 8), (255, 17), (257, 16), (1000, 40)] {
        for offset in [0.0, 1000.0] {
            // The variance must stay precise even if the mean is a thousand standard deviations.
            let x: Vec<f32> = numbers(rows * channels, 1)
                .iter()
                .map(|x| x + offset)
                .collect();
            // The weights are so large that values reach both kinks of every activation.
            let weight: Vec<f32> = numbers(channels, 2).iter().map(|w| 4.0 * w).collect();
            let bias = numbers(channels, 3);
            for (isa, activation) in Isa::available()
                .into_iter()
                .flat_map(|isa| ACTIVATIONS.map(|a| (isa, a)))
            {
                let what = format!("{isa} {activation:?} {rows}x{channels} around {offset}");
                let expected = reference(activation, &widen(&x), &widen(&weight), &widen(&bias));
                let found = statistics(isa, channels, &x);
                assert_close(&found.mean, &expected.mean, 1e-6, &what);
                assert_close(&found.variance, &expected.variance, 2e-4, &what);
                if offset == 0.0 {
                    let std: Vec<f32> = (found.variance.iter())
                        .map(|v| (1.0 / (f64::from(*v) + EPSILON).sqrt()) as f32)
                        .collect();
                    let (scale, shift) = scale_and_shift(&found.mean, &std, &weight, &bias);
                    let mut output = vec![f32::NAN; x.len()];
                    apply(isa, activation, &x, &scale, &shift, &mut output);
                    assert_close(&output, &expected.output, 2e-5, &what);
                }
            }
        }
    }
}

#[test]
fn backward_matches_finite_differences() {
    for (rows, channels) in [(2, 1), (7, 5), (300, 2)] {
        let x = numbers(rows * channels, 4);
        let gradient = numbers(rows * channels, 5);
        let weight: Vec<f32> = numbers(channels, 6).iter().map(|w| 3.0 * w + 4.0).collect();
        let bias = numbers(channels, 7);
        let (wide_x, wide_w, wide_b) = (widen(&x), widen(&weight), widen(&bias));
        for activation in ACTIVATIONS {
            let by_x = differences(&wide_x, |x| {
                objective(activation, x, &wide_w, &wide_b, &gradient)
            });
            let by_w = differences(&wide_w, |w| {
                objective(activation, &wide_x, w, &wide_b, &gradient)
            });
            let by_b = differences(&wide_b, |b| {
                objective(activation, &wide_x, &wide_w, b, &gradient)
            });
            for isa in Isa::available() {
                let what = format!("{isa} {activation:?} {rows}x{channels}");
                let found = statistics(isa, channels, &x);
                let std: Vec<f32> = (found.variance.iter())
                    .map(|v| (1.0 / (f64::from(*v) + EPSILON).sqrt()) as f32)
                    .collect();
                let ours = backward(
                    isa,
                    activation,
                    &x,
                    &found.mean,
                    &std,
                    &weight,
                    &bias,
                    &gradient,
                );
                assert_close(&ours.values, &by_x, 2e-4, &format!("{what}: values"));
                assert_close(&ours.weight, &by_w, 2e-4, &format!("{what}: weight"));
                assert_close(&ours.bias, &by_b, 2e-4, &format!("{what}: bias"));
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (channels, x) = (24, numbers(24 * 3000, 8));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| statistics(Isa::best(), channels, &x))
    };
    assert_eq!(run(1), run(3));
}
