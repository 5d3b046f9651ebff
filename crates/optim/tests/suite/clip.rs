//! Tests of clipping by norm and by value.

use optim::{clip_gradient_norm, clip_gradient_value};

use crate::formulas::uniform;

fn gradients(len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| uniform(3, i) as f32).collect()
}

fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&v| f64::from(v).powi(2))
        .sum::<f64>()
        .sqrt()
}

#[test]
fn a_long_gradient_is_shortened_and_keeps_its_direction() {
    for len in [1, 7, 8, 100, 16 * 1024, 16 * 1024 + 1, 100_003] {
        let before = gradients(len);
        let mut after = before.clone();
        let returned = clip_gradient_norm(&mut after, 0.25).unwrap();
        assert!((returned / norm(&before) - 1.0).abs() < 1e-12, "{len}");
        let factor = 0.25 / (returned + 1e-6);
        assert!((norm(&after) / 0.25 - 1.0).abs() < 1e-5, "{len}");
        let scaled = before.iter().map(|&v| v * factor as f32);
        assert!(after.iter().copied().eq(scaled), "{len}");
    }
}

/// The expected values, in f64: the code of `torch.nn.utils.clip_grad_norm_` and
/// `clip_grad_value_`. The limits are below, at and above the norm and the largest value.
#[test]
fn clipping_is_that_of_the_formula() {
    let before = gradients(1000);
    let (total, largest) = (norm(&before), 1.0);
    let close = |ours: &[f32], exact: &dyn Fn(f64) -> f64, what: &str| {
        for (ours, &before) in ours.iter().zip(&before) {
            let (ours, exact) = (f64::from(*ours), exact(f64::from(before)));
            let off = (ours - exact).abs();
            assert!(off <= 1e-6 * exact.abs(), "{what}: {ours:e}, not {exact:e}");
        }
    };
    for share in [1e-6, 0.1, 0.999, 0.9999999, 1.0, 1.0000001, 1.001, 10.0] {
        let max_norm = share * total;
        let factor = max_norm / (total + 1e-6);
        let factor = if factor > 1.0 { 1.0 } else { factor };
        let mut after = before.clone();
        let returned = clip_gradient_norm(&mut after, max_norm).unwrap();
        assert!((returned / total - 1.0).abs() < 1e-12);
        close(&after, &|g| factor * g, &format!("norm, {share}"));

        let limit = share * largest;
        let clipped = |g: f64| {
            if g > limit {
                limit
            } else if g < -limit {
                -limit
            } else {
                g
            }
        };
        let mut after = before.clone();
        clip_gradient_value(&mut after, limit).unwrap();
        close(&after, &clipped, &format!("value, {share}"));
    }
}

#[test]
fn a_short_gradient_is_left_alone() {
    let before = gradients(100);
    let mut after = before.clone();
    clip_gradient_norm(&mut after, 100.0).unwrap();
    assert_eq!(after, before);
    assert_eq!(clip_gradient_norm(&mut [0.0; 9], 1.0).unwrap(), 0.0);
    assert_eq!(clip_gradient_norm(&mut [], 1.0).unwrap(), 0.0);
}

#[test]
fn a_gradient_that_is_not_finite_is_reported_and_left_alone() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut gradients = [3.0, bad, 4.0];
        let norm = clip_gradient_norm(&mut gradients, 1.0).unwrap();
        assert!(!norm.is_finite());
        assert_eq!((gradients[0], gradients[2]), (3.0, 4.0));
    }
    // The squares are beyond f32's range. This does no harm, because the sum is f64.
    let mut large = [3e30, 4e30];
    let norm = clip_gradient_norm(&mut large, 1.0).unwrap();
    assert!((norm / 5e30 - 1.0).abs() < 1e-6);
    assert!((large[0] - 0.6).abs() < 1e-6);
}

#[test]
fn one_thread_and_many_give_the_same_norm() {
    let before = gradients(1_000_003);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let mut after = before.clone();
        let norm = pool
            .build()
            .unwrap()
            .install(|| clip_gradient_norm(&mut after, 1.0));
        (norm.unwrap().to_bits(), after)
    };
    let alone = run(1);
    assert!(alone == run(2) && alone == run(7));
}

#[test]
fn values_are_clamped_on_both_sides() {
    let mut gradients = [-3.0, -0.5, 0.0, 0.5, f32::INFINITY, f32::NAN];
    clip_gradient_value(&mut gradients, 0.5).unwrap();
    assert_eq!(gradients[..5], [-0.5, -0.5, 0.0, 0.5, 0.5]);
    assert!(gradients[5].is_nan());
}

#[test]
fn a_limit_that_is_none_is_refused() {
    for limit in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = clip_gradient_norm(&mut [1.0], limit).unwrap_err();
        assert!(error.to_string().contains("`max_norm`"), "{error}");
        let error = clip_gradient_value(&mut [1.0], limit).unwrap_err();
        assert!(error.to_string().contains("`max_value`"), "{error}");
    }
}
