use engine::Isa;
use engine::pool::{average, average_backward, scale, scale_backward_factors};

use crate::{assert_close, numbers};

#[test]
fn every_kernel_matches_its_definition() {
    for (images, pixels, channels) in [(1, 1, 1), (3, 49, 17), (2, 1, 960), (5, 7, 24)] {
        let len = images * pixels * channels;
        let (x, gradient) = (numbers(len, 1), numbers(len, 2));
        let factors = numbers(images * channels, 3);
        let of = |i: usize| i / (pixels * channels) * channels + i % channels;
        let mut mean = vec![0.0; images * channels];
        let mut scaled = vec![0.0; len];
        let mut spread = vec![0.0; len];
        let mut factor_gradient = vec![0.0; images * channels];
        for i in 0..len {
            let (x, factor) = (f64::from(x[i]), f64::from(factors[of(i)]));
            mean[of(i)] += x / pixels as f64;
            scaled[i] = x * factor;
            spread[i] = factor / pixels as f64;
            factor_gradient[of(i)] += x * f64::from(gradient[i]);
        }
        let mut out = vec![f32::NAN; len];
        scale(channels, &x, &factors, &mut out);
        assert_close(&out, &scaled, 1e-6, "scale");
        average_backward(channels, &factors, &mut out);
        assert_close(&out, &spread, 1e-6, "average_backward");
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; images * channels];
            average(isa, channels, &x, &mut out);
            assert_close(&out, &mean, 1e-6, &format!("{isa} average"));
            scale_backward_factors(isa, channels, &x, &gradient, &mut out);
            assert_close(
                &out,
                &factor_gradient,
                1e-6,
                &format!("{isa} scale_backward_factors"),
            );
        }
    }
}
