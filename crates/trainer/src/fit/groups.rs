//! Parameter groups: parts of the network with separate training settings.

use std::collections::BTreeMap;

use mobilenet::{Parameters, Role, Segment};
use optim::{Matrix, ParameterGroup};

use crate::config::TrainConfig;

/// Prefix of the names of the backbone's groups.
pub(super) const BACKBONE: &str = "backbone";

/// The parameter groups of a network: head and backbone. With `layer_decay`, each block of the backbone is a group.
/// Without weight decay for biases and normalisations, these are in groups of their own.
pub(super) fn groups(parameters: &Parameters, config: &TrainConfig) -> Vec<ParameterGroup> {
    let head = parameters.head();
    let is_head = |segment: &Segment| head.contains(&segment.range.start);
    let segments = || parameters.segments().iter().zip(parameters.depths());
    let backbone = segments().filter(|(segment, _)| !is_head(segment));
    let blocks = backbone.map(|(_, block)| block + 1).max().unwrap_or(0);
    let mut groups = BTreeMap::new();
    for (segment, block) in segments() {
        let behind = match is_head(segment) {
            false if config.layer_decay != 1.0 => blocks - block,
            _ => 0,
        };
        let spared = !config.decay_norm_and_bias && is_norm_or_bias(segment.role);
        let key = (is_head(segment), behind, spared);
        let group = groups.entry(key).or_insert_with(|| group(key, config));
        group.ranges.push(segment.range.clone());
    }
    groups.into_values().collect()
}

/// A group that has no parameters yet. `behind` is the number of blocks from this one to the head.
fn group((is_head, behind, spared): (bool, usize, bool), config: &TrainConfig) -> ParameterGroup {
    let mut name = if is_head { "head" } else { BACKBONE }.to_owned();
    if behind > 0 {
        name.push_str(&format!(".{behind}"));
    }
    if spared {
        name.push_str(".norm_and_bias");
    }
    let rate = if is_head {
        1.0
    } else {
        config.backbone_learning_rate
    };
    ParameterGroup {
        ranges: Vec::new(),
        learning_rate_multiplier: rate * config.layer_decay.powf(behind as f64),
        weight_decay: spared.then_some(0.0),
        ..ParameterGroup::new(name, 0..0)
    }
}

/// The weights of convolutions and of fully connected layers, one row per output.
pub(super) fn matrices(parameters: &Parameters) -> Vec<Matrix> {
    let segments = parameters.segments().iter();
    let is_weight = |role| matches!(role, Role::ConvWeight | Role::LinearWeight);
    let matrices = segments.filter(|segment| is_weight(segment.role));
    matrices
        .map(|segment| Matrix {
            range: segment.range.clone(),
            row: segment.shape[1..].iter().product(),
            is_convolution: segment.shape.len() > 3,
        })
        .collect()
}

fn is_norm_or_bias(role: Role) -> bool {
    matches!(
        role,
        Role::Bias | Role::NormWeight | Role::NormBias | Role::Scale | Role::PositionBias
    )
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use mobilenet::{ModelConfig, Network, Variant};

    use super::*;

    fn of(change: impl FnOnce(&mut TrainConfig)) -> (Network, Vec<ParameterGroup>) {
        let network = Network::new(&ModelConfig::new(Variant::SMALL, 3), 1, &Device::Cpu).unwrap();
        let mut config = TrainConfig::default();
        change(&mut config);
        let groups = groups(network.parameters(), &config);
        let values: usize = groups.iter().flat_map(|g| &g.ranges).map(|r| r.len()).sum();
        assert_eq!(values, network.parameters().len());
        (network, groups)
    }

    fn find<'a>(groups: &'a [ParameterGroup], name: &str) -> &'a ParameterGroup {
        groups.iter().find(|group| group.name == name).unwrap()
    }

    #[test]
    fn by_default_there_are_two_with_the_optimizers_own_settings() {
        let (network, groups) = of(|_| ());
        assert_eq!(groups.len(), 2);
        let ends = |group: &ParameterGroup| group.ranges[0].start..group.ranges.last().unwrap().end;
        let (backbone, head) = (find(&groups, "backbone"), find(&groups, "head"));
        assert_eq!(ends(backbone), network.parameters().backbone());
        assert_eq!(ends(head), network.parameters().head());
        for group in [backbone, head] {
            assert_eq!(
                (group.learning_rate_multiplier, group.weight_decay),
                (1.0, None)
            );
        }
    }

    #[test]
    fn biases_and_normalisations_are_spared_the_decay() {
        let (network, groups) = of(|config| config.decay_norm_and_bias = false);
        assert_eq!(groups.len(), 4);
        for group in &groups {
            assert_eq!(
                group.weight_decay,
                group.name.ends_with("norm_and_bias").then_some(0.0)
            );
            for segment in network.parameters().segments() {
                if group.ranges.contains(&segment.range) {
                    let is_vector = segment.shape.len() == 1;
                    assert_eq!(is_vector, group.weight_decay.is_some(), "{}", segment.name);
                }
            }
        }
    }

    #[test]
    fn rates_fall_from_block_to_block_towards_the_stem() {
        let (_, groups) = of(|config| {
            config.layer_decay = 0.5;
            config.backbone_learning_rate = 0.1;
        });
        // features.0 to features.12, and the head.
        assert_eq!(groups.len(), 14);
        assert_eq!(find(&groups, "head").learning_rate_multiplier, 1.0);
        assert_eq!(find(&groups, "backbone.1").learning_rate_multiplier, 0.05);
        let stem = find(&groups, "backbone.13").learning_rate_multiplier;
        assert!((stem - 0.1 * 0.5f64.powi(13)).abs() < 1e-18);
    }

    #[test]
    fn every_family_has_a_group_for_each_block() {
        for (name, blocks) in [
            ("resnet18", 9),
            ("shufflenet_v2_x0_5", 18),
            ("convnext_atto", 16),
        ] {
            let mut model = ModelConfig::new(name.parse().unwrap(), 3);
            model.drop_path = 0.0;
            let network = Network::new(&model, 1, &Device::Cpu).unwrap();
            let config = TrainConfig {
                layer_decay: 0.5,
                ..TrainConfig::default()
            };
            let groups = groups(network.parameters(), &config);
            assert_eq!(groups.len(), blocks + 1, "{name}");
            // The stem comes first in the arena, and has the smallest rate.
            let stem = find(&groups, &format!("backbone.{blocks}"));
            assert_eq!(stem.ranges[0].start, 0, "{name}");
            let rate = stem.learning_rate_multiplier;
            assert_eq!(rate, 0.5f64.powi(blocks as i32), "{name}");
        }
    }

    #[test]
    fn matrices_are_the_weights_of_convolutions_and_of_fully_connected_layers() {
        let (network, _) = of(|_| ());
        let parameters = network.parameters();
        let matrices = matrices(parameters);
        let find = |name: &str| {
            let mut segments = parameters.segments().iter();
            let range = &segments.find(|segment| segment.name == name).unwrap().range;
            matrices.iter().find(|matrix| matrix.range == *range)
        };
        for (name, row, is_convolution) in [
            ("features.0.0.weight", Some(27), true),
            ("features.1.block.0.0.weight", Some(9), true),
            ("features.1.block.1.fc1.weight", Some(16), true),
            ("classifier.0.weight", Some(576), false),
            ("classifier.3.weight", Some(1024), false),
            ("classifier.3.bias", None, false),
            ("features.0.1.weight", None, false),
        ] {
            let matrix = find(name);
            assert_eq!(matrix.map(|matrix| matrix.row), row, "{name}");
            let convolution = matrix.is_some_and(|matrix| matrix.is_convolution);
            assert_eq!(convolution, is_convolution, "{name}");
        }
    }
}
