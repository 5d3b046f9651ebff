//! Activations as ONNX operators.

use std::f32::consts::FRAC_1_SQRT_2;

use engine::Activation;

use super::graph::{Graph, float};

/// Appends an activation of `x`, and returns its name, which is `name`.
pub(super) fn append(graph: &mut Graph, activation: Activation, name: &str, x: &str) -> String {
    let part = |part: &str| format!("{name}.{part}");
    match activation {
        Activation::Identity => graph.node("Identity", name, &[x], vec![]),
        Activation::Relu => graph.node("Relu", name, &[x], vec![]),
        Activation::Relu6 => {
            let least = graph.tensor(&part("least"), &[], &[0.0]);
            let most = graph.tensor(&part("most"), &[], &[6.0]);
            graph.node("Clip", name, &[x, &least, &most], vec![])
        }
        Activation::Hardswish => graph.node("HardSwish", name, &[x], vec![]),
        // As in torch.nn.Hardsigmoid. The ONNX operator's default for alpha is 0.2.
        Activation::Hardsigmoid => {
            let slope = vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
            graph.node("HardSigmoid", name, &[x], slope)
        }
        Activation::Sigmoid => graph.node("Sigmoid", name, &[x], vec![]),
        Activation::Silu => {
            let factor = graph.node("Sigmoid", &part("sigmoid"), &[x], vec![]);
            graph.node("Mul", name, &[x, &factor], vec![])
        }
        // The operator set has Gelu from version 20 on.
        Activation::Gelu => {
            let root = graph.tensor(&part("root"), &[], &[FRAC_1_SQRT_2]);
            let one = graph.tensor(&part("one"), &[], &[1.0]);
            let half = graph.tensor(&part("half"), &[], &[0.5]);
            let scaled = graph.node("Mul", &part("scaled"), &[x, &root], vec![]);
            let erf = graph.node("Erf", &part("erf"), &[&scaled], vec![]);
            let raised = graph.node("Add", &part("raised"), &[&erf, &one], vec![]);
            let product = graph.node("Mul", &part("product"), &[x, &raised], vec![]);
            graph.node("Mul", name, &[&product, &half], vec![])
        }
    }
}
