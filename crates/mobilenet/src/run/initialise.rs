//! Random initialisation from a seed, as each family's own project does it.

use engine::{Op, Plan, Role, Segment};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::run::parameters::Values;

/// The first values of a family's networks. Normalisations begin with weight one and bias zero, `layer_scale` with 1e-6,
/// and biases of positions with a standard deviation of 0.02.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Initial {
    /// Weights of convolutions.
    pub(crate) conv: Draw,
    /// Biases of convolutions.
    pub(crate) conv_bias: Draw,
    /// Weights of fully connected layers.
    pub(crate) linear: Draw,
    /// Biases of fully connected layers.
    pub(crate) linear_bias: Draw,
}

/// A distribution of the values of one tensor. Numbers of inputs and outputs count the places of a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Draw {
    /// Normal, with variance `2 / outputs` of the whole layer (He et al. 2015, `kaiming_normal_(mode="fan_out")`).
    HeOutputs,
    /// The same, with the outputs of one group.
    HeOutputsOfGroup,
    /// Normal, with variance `2 / inputs` (`kaiming_normal_`).
    HeInputs,
    /// Normal, with this standard deviation. Covers `trunc_normal_` too, whose limits are 100 deviations away.
    Normal(f64),
    /// Uniform, up to `1 / sqrt(inputs)` (the default of torch's layers, also for biases).
    Torch,
    /// Uniform, up to `1 / sqrt(outputs)`.
    UniformOutputs,
    /// Zeros.
    Zeros,
}

impl Initial {
    /// torchvision's MobileNets.
    pub(crate) const MOBILENET: Initial = Initial {
        conv: Draw::HeOutputs,
        conv_bias: Draw::Zeros,
        linear: Draw::Normal(0.01),
        linear_bias: Draw::Zeros,
    };

    /// The defaults of torch's layers.
    pub(crate) const TORCH: Initial = Initial {
        conv: Draw::Torch,
        conv_bias: Draw::Torch,
        linear: Draw::Torch,
        linear_bias: Draw::Torch,
    };
}

/// Initial values of a network.
pub(crate) fn values(plan: &Plan, initial: Initial, seed: u64) -> Values {
    let mut values = Values::zeros(plan);
    let segments = plan.parameters.segments();
    let mut groups = vec![1; segments.len()];
    for layer in &plan.layers {
        if let Op::Conv(conv) = &layer.op {
            groups[conv.weight] = conv.groups;
        }
    }
    values.arena = drawn(segments, &groups, initial, seed);
    for segment in plan.statistics.segments() {
        if segment.role == Role::RunningVariance {
            values.statistics[segment.range.clone()].fill(1.0);
        }
    }
    values
}

/// Initial values of a fully connected layer with these segments, as in a MobileNet.
pub(crate) fn head(segments: &[Segment], seed: u64) -> Vec<f32> {
    drawn(segments, &vec![1; segments.len()], Initial::MOBILENET, seed)
}

fn drawn(segments: &[Segment], groups: &[usize], initial: Initial, seed: u64) -> Vec<f32> {
    let mut values = vec![0.0; segments.last().map_or(0, |last| last.range.end)];
    // A bias comes right after its weight.
    let mut weight = None;
    for (index, segment) in segments.iter().enumerate() {
        if segment.role != Role::Bias {
            weight = Some((segment, groups[index]));
        }
        let values = &mut values[segment.range.clone()];
        let of_linear = weight.is_some_and(|(weight, _)| weight.role == Role::LinearWeight);
        let draw = match segment.role {
            Role::ConvWeight => initial.conv,
            Role::LinearWeight => initial.linear,
            Role::Bias if of_linear => initial.linear_bias,
            Role::Bias => initial.conv_bias,
            Role::PositionBias => Draw::Normal(0.02),
            Role::NormWeight => {
                values.fill(1.0);
                continue;
            }
            Role::Scale => {
                values.fill(1e-6);
                continue;
            }
            Role::NormBias | Role::RunningMean | Role::RunningVariance => continue,
        };
        let Some((weight, groups)) = weight else {
            continue;
        };
        // Every segment has a separate random stream, so its values do not depend on other segments.
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(index as u64);
        draw.fill(weight, groups, &mut random, values);
    }
    values
}

impl Draw {
    /// Fills the values of a tensor. `weight` is the tensor, or the weight that its bias belongs to.
    fn fill(self, weight: &Segment, groups: usize, random: &mut ChaCha8Rng, values: &mut [f32]) {
        let places = weight.shape.iter().skip(2).product::<usize>();
        let outputs = (weight.shape[0] * places) as f64;
        let inputs = (weight.shape[1] * places) as f64;
        let (deviation, limit) = match self {
            Draw::HeOutputs => ((2.0 / outputs).sqrt(), None),
            Draw::HeOutputsOfGroup => ((2.0 * groups as f64 / outputs).sqrt(), None),
            Draw::HeInputs => ((2.0 / inputs).sqrt(), None),
            Draw::Normal(deviation) => (deviation, None),
            Draw::Torch => (0.0, Some(1.0 / inputs.sqrt())),
            Draw::UniformOutputs => (0.0, Some(1.0 / outputs.sqrt())),
            Draw::Zeros => return,
        };
        for value in values {
            *value = match limit {
                Some(limit) => {
                    let share = f64::from(random.next_u32()) / f64::from(u32::MAX);
                    ((2.0 * share - 1.0) * limit) as f32
                }
                None => {
                    let normal: f64 = StandardNormal.sample(random);
                    (normal * deviation) as f32
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine::Segment;

    use super::*;
    use crate::{ModelConfig, Variant};

    /// A new network with 100 classes: its tensors and values.
    struct New(Vec<Segment>, Vec<f32>);

    impl New {
        fn of(name: &str) -> New {
            let config = ModelConfig::new(name.parse().unwrap(), 100);
            let plan = config.plan().unwrap();
            let arena = values(&plan, config.name.of().0.initial, 7).arena;
            New(plan.parameters.segments().to_vec(), arena)
        }

        /// Mean and deviation of a tensor.
        fn moments(&self, name: &str) -> (f32, f32) {
            let mut segments = self.0.iter();
            let Some(segment) = segments.find(|segment| segment.name == name) else {
                panic!("there is no {name}")
            };
            let values = &self.1[segment.range.clone()];
            let count = values.len() as f32;
            let mean = values.iter().sum::<f32>() / count;
            let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>();
            (mean, (squares / count).sqrt())
        }
    }

    #[test]
    fn each_family_begins_as_in_its_own_project() {
        // The deviation of a uniform distribution up to 1 is 1 / sqrt(3).
        let uniform = |count: f32| (1.0 / (3.0 * count)).sqrt();
        let he = |count: f32| (2.0 / count).sqrt();
        let mut networks = BTreeMap::new();
        for (network, tensor, expected) in [
            // fan_out is computed from the output channels, even for a depthwise convolution.
            ("mobilenet_v3_large", "features.16.0.weight", he(960.0)),
            (
                "mobilenet_v3_large",
                "features.15.block.1.0.weight",
                he(960.0 * 25.0),
            ),
            (
                "mobilenet_v3_large",
                "features.15.block.2.fc1.weight",
                he(240.0),
            ),
            ("mobilenet_v3_large", "features.15.block.2.fc1.bias", 0.0),
            ("mobilenet_v3_large", "classifier.0.weight", 0.01),
            ("mobilenet_v3_large", "features.16.1.weight", 0.0),
            ("resnet18", "layer4.1.conv2.weight", he(512.0 * 9.0)),
            ("resnet18", "fc.weight", uniform(512.0)),
            ("shufflenet_v2_x0_5", "conv5.0.weight", uniform(192.0)),
            (
                "shufflenet_v2_x0_5",
                "stage4.3.branch2.3.weight",
                uniform(9.0),
            ),
            (
                "regnet_y_400mf",
                "trunk_output.block4.block4-0.f.b.0.weight",
                he(440.0 * 9.0),
            ),
            (
                "regnet_y_400mf",
                "trunk_output.block4.block4-1.f.se.fc2.bias",
                uniform(110.0),
            ),
            ("regnet_y_400mf", "fc.weight", 0.01),
            ("regnet_y_400mf", "fc.bias", 0.0),
            (
                "densenet121",
                "features.denseblock4.denselayer16.conv2.weight",
                he(128.0 * 9.0),
            ),
            ("densenet121", "classifier.weight", uniform(1024.0)),
            ("densenet121", "classifier.bias", 0.0),
            ("xception", "conv4.pointwise.weight", uniform(1536.0)),
            ("efficientnet_b0", "features.8.0.weight", he(1280.0)),
            ("efficientnet_b0", "classifier.1.weight", uniform(100.0)),
            (
                "mobilenetv4_conv_small",
                "classifier.weight",
                uniform(100.0),
            ),
            ("convnext_atto", "features.7.1.block.3.weight", 0.02),
            ("convnext_atto", "features.7.1.block.3.bias", 0.0),
            ("swin_t", "features.7.1.mlp.0.weight", 0.02),
            (
                "swin_t",
                "features.7.1.attn.relative_position_bias_table",
                0.02,
            ),
            ("swin_t", "features.0.0.weight", uniform(48.0)),
        ] {
            let new = networks.entry(network).or_insert_with(|| New::of(network));
            let (_, found) = new.moments(tensor);
            assert!(
                (found - expected).abs() <= 0.05 * expected,
                "{network} {tensor}: {found} not {expected}"
            );
        }
        let (mean, deviation) = networks["convnext_atto"].moments("features.7.1.layer_scale");
        assert!((mean - 1e-6).abs() < 1e-12 && deviation < 1e-12);
        // A depthwise convolution of MobileNetV4 counts the outputs of its group.
        let (_, found) =
            networks["mobilenetv4_conv_small"].moments("blocks.3.1.dw_start.conv.weight");
        assert!((found / he(25.0) - 1.0).abs() < 0.1, "{found}");
    }

    #[test]
    fn a_seed_gives_the_same_values_again() {
        let plan = ModelConfig::new(Variant::LARGE, 100).plan().unwrap();
        let arena = |seed| values(&plan, Initial::MOBILENET, seed).arena;
        assert_eq!(arena(7), arena(7));
        assert_ne!(arena(7), arena(8));
    }
}
