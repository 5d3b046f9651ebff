//! torchvision's random initialisation of MobileNets, from a seed.

use engine::{Plan, Role, Segment};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::parameters::Values;

/// Initial values of a network.
/// Convolutions: normal distribution with variance `2 / fan_out` (He et al. 2015,
/// `kaiming_normal_(mode="fan_out")`).
/// Batch normalisations: weight one, bias zero, running mean zero, running variance one.
/// Fully connected layers: normal distribution with std 0.01, bias zero.
pub(crate) fn values(plan: &Plan, seed: u64) -> Values {
    let mut values = Values::zeros(plan);
    values.arena = parameters(plan.parameters.segments(), seed);
    for segment in plan.statistics.segments() {
        if segment.role == Role::RunningVariance {
            values.statistics[segment.range.clone()].fill(1.0);
        }
    }
    values
}

/// Initial values of all parameters in a buffer with these segments.
pub(crate) fn parameters(segments: &[Segment], seed: u64) -> Vec<f32> {
    let mut values = vec![0.0; segments.last().map_or(0, |last| last.range.end)];
    for (stream, segment) in (0..).zip(segments) {
        fill(segment, seed, stream, &mut values[segment.range.clone()]);
    }
    values
}

/// Every segment has a separate random stream, so its values do not depend on other segments.
fn fill(segment: &Segment, seed: u64, stream: u64, values: &mut [f32]) {
    let deviation = match segment.role {
        Role::ConvWeight => {
            let receptive: usize = segment.shape[2..].iter().product();
            (2.0 / (segment.shape[0] * receptive) as f64).sqrt()
        }
        Role::LinearWeight => 0.01,
        Role::NormWeight => return values.fill(1.0),
        Role::Bias | Role::NormBias | Role::RunningMean | Role::RunningVariance => return,
    };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    for value in values {
        let normal: f64 = StandardNormal.sample(&mut random);
        *value = (normal * deviation) as f32;
    }
}

#[cfg(test)]
mod tests {
    use crate::{ModelConfig, Variant};

    #[test]
    fn deviations_are_torchvisions() {
        let plan = ModelConfig::new(Variant::Large, 100).plan().unwrap();
        let values = super::values(&plan, 7).arena;
        let deviation = |name: &str| {
            let segment = plan
                .parameters
                .segments()
                .iter()
                .find(|s| s.name == name)
                .unwrap();
            let values = &values[segment.range.clone()];
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt()
        };
        // fan_out is computed from the output channels, even for a depthwise convolution.
        for (name, expected) in [
            ("features.16.0.weight", (2.0f32 / 960.0).sqrt()),
            (
                "features.15.block.1.0.weight",
                (2.0f32 / (960.0 * 25.0)).sqrt(),
            ),
            ("features.15.block.2.fc1.weight", (2.0f32 / 240.0).sqrt()),
            ("classifier.0.weight", 0.01),
        ] {
            let found = deviation(name);
            assert!(
                (found / expected - 1.0).abs() < 0.02,
                "{name}: {found} not {expected}"
            );
        }
        assert_eq!(deviation("features.16.1.weight"), 0.0);
        assert_eq!(super::values(&plan, 7).arena, values);
        assert_ne!(super::values(&plan, 8).arena, values);
    }
}
