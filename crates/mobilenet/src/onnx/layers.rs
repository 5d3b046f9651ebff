//! Converts the layers of a plan to ONNX operators. They must give the results of the composed
//! executor.

use engine::{Activation, Block, ConvNorm, Linear, Padding, Plan, Segment, SqueezeExcite};
use rten_onnx::onnx::{AttributeProto, DataType};

use super::fold::folded;
use super::graph::{Graph, float, int, ints, text};
use crate::parameters::Values;
use crate::weights::Normalisation;

/// Converts bytes `[n, h, w, 3]` to the network's input, f32 `[n, 3, h, w]`. The operations and
/// their order are those of [`Normalisation::table`].
pub(super) fn normalise(graph: &mut Graph, images: &str, normalisation: &Normalisation) -> String {
    let name = |part: &str| format!("preprocess.{part}");
    let float = vec![int("to", DataType::FLOAT.0.into())];
    let mut x = graph.node("Cast", &name("float"), &[images], float);
    for (operator, part, values) in [
        ("Div", "largest_byte", &[255.0][..]),
        ("Sub", "mean", &normalisation.mean),
        ("Div", "std", &normalisation.std),
    ] {
        let values = graph.tensor(&name(part), &[values.len()], values);
        x = graph.node(
            operator,
            &format!("{values}.{}", operator.to_lowercase()),
            &[&x, &values],
            vec![],
        );
    }
    graph.node(
        "Transpose",
        &name("channels_first"),
        &[&x],
        vec![ints("perm", &[0, 3, 1, 2])],
    )
}

/// Appends layers to a graph. Every method takes the name of the layer's input and returns the name
/// of its output.
pub(super) struct Layers<'a> {
    pub(super) plan: &'a Plan,
    pub(super) values: &'a Values,
    /// Whether to fold batch normalisations into their convolutions.
    pub(super) fold: bool,
    pub(super) graph: &'a mut Graph,
}

impl<'a> Layers<'a> {
    /// Pooled features `[n, features]` of images `[n, 3, h, w]`.
    pub(super) fn features(&mut self, images: &str) -> String {
        let plan = self.plan;
        let mut x = self.conv_norm(&plan.stem, images);
        for block in &plan.blocks {
            x = self.block(block, &x);
        }
        let x = self.conv_norm(&plan.last, &x);
        let pooled = self
            .graph
            .node("GlobalAveragePool", "avgpool", &[&x], vec![]);
        self.graph
            .node("Flatten", "flatten", &[&pooled], vec![int("axis", 1)])
    }

    /// Computes logits `[n, classes]` from features `[n, features]`, and names them `output`.
    pub(super) fn logits(&mut self, features: &str, output: &str) {
        let plan = self.plan;
        let mut x = features.to_owned();
        if let Some(hidden) = &plan.hidden {
            let name = module(self.parameter(hidden.weight).0);
            x = self.linear(hidden, name, &x);
            x = self.activation(Activation::Hardswish, &format!("{name}.activation"), &x);
        }
        self.linear(&plan.classifier, output, &x);
    }

    fn block(&mut self, block: &Block, input: &str) -> String {
        let mut x = input.to_owned();
        if let Some(expand) = &block.expand {
            x = self.conv_norm(expand, &x);
        }
        x = self.normalised(&block.depthwise, &x);
        let before = |squeeze: &&SqueezeExcite| squeeze.before_activation;
        if let Some(squeeze) = block.squeeze.as_ref().filter(before) {
            x = self.squeeze_excite(squeeze, &x);
        }
        x = self.activated(&block.depthwise, &x);
        if let Some(squeeze) = block.squeeze.as_ref().filter(|squeeze| !before(squeeze)) {
            x = self.squeeze_excite(squeeze, &x);
        }
        let projected = self.conv_norm(&block.project, &x);
        if !block.spec.is_residual() {
            return projected;
        }
        let name = format!("{}.add", block.project.name);
        self.graph.node("Add", &name, &[&projected, input], vec![])
    }

    fn conv_norm(&mut self, layer: &ConvNorm, x: &str) -> String {
        let x = self.normalised(layer, x);
        self.activated(layer, &x)
    }

    /// A convolution and its batch normalisation.
    fn normalised(&mut self, layer: &ConvNorm, x: &str) -> String {
        let (weight, taps) = self.parameter(layer.weight);
        let norm = [
            self.parameter(layer.norm),
            self.parameter(layer.norm + 1),
            self.statistic(layer.statistics),
            self.statistic(layer.statistics + 1),
        ];
        let epsilon = self.plan.spec.batch_norm.epsilon;
        let (convolution, normalisation) = (module(weight), module(norm[0].0));
        let groups = if layer.depthwise {
            layer.out_channels
        } else {
            1
        };
        let attributes = vec![
            ints("kernel_shape", &[layer.kernel; 2]),
            ints("strides", &[layer.stride; 2]),
            int("group", groups as i64),
            padding(layer),
        ];
        let graph = &mut *self.graph;
        if self.fold {
            let (taps, bias) = folded(taps, norm.map(|(_, values)| values), epsilon);
            let weight = graph.tensor(&weight.name, &weight.shape, &taps);
            let bias = graph.tensor(&format!("{convolution}.bias"), &[bias.len()], &bias);
            graph.node("Conv", convolution, &[x, &weight, &bias], attributes)
        } else {
            let weight = graph.tensor(&weight.name, &weight.shape, taps);
            let x = graph.node("Conv", convolution, &[x, &weight], attributes);
            let [gamma, beta, mean, variance] =
                norm.map(|(segment, values)| graph.tensor(&segment.name, &segment.shape, values));
            let inputs = [x, gamma, beta, mean, variance];
            let inputs = inputs.each_ref().map(String::as_str);
            let epsilon = vec![float("epsilon", epsilon)];
            graph.node("BatchNormalization", normalisation, &inputs, epsilon)
        }
    }

    /// The activation after a normalisation, under torchvision's name.
    fn activated(&mut self, layer: &ConvNorm, x: &str) -> String {
        self.activation(layer.activation, &format!("{}.2", layer.name), x)
    }

    /// Multiplies each channel by a factor that is computed from the channel means.
    fn squeeze_excite(&mut self, layer: &SqueezeExcite, x: &str) -> String {
        let [reduce, expand] =
            [&layer.reduce, &layer.expand].map(|layer| module(self.parameter(layer.weight).0));
        let name = reduce.rsplit_once('.').map_or(reduce, |(name, _)| name);
        let part = |part: &str| format!("{name}.{part}");
        let mut factor = self
            .graph
            .node("GlobalAveragePool", &part("avgpool"), &[x], vec![]);
        factor = self.pointwise(&layer.reduce, reduce, &factor);
        factor = self.activation(Activation::Relu, &part("activation"), &factor);
        factor = self.pointwise(&layer.expand, expand, &factor);
        // As in torch.nn.Hardsigmoid. The ONNX operator's default for alpha is 0.2.
        let slope = vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
        factor = self
            .graph
            .node("HardSigmoid", &part("scale_activation"), &[&factor], slope);
        self.graph.node("Mul", name, &[x, &factor], vec![])
    }

    /// A fully connected layer that is applied to the channels of one pixel.
    fn pointwise(&mut self, layer: &Linear, name: &str, x: &str) -> String {
        self.affine("Conv", layer, name, x, vec![ints("kernel_shape", &[1, 1])])
    }

    /// A fully connected layer from `[n, in]` to `[n, out]`.
    fn linear(&mut self, layer: &Linear, name: &str, x: &str) -> String {
        self.affine("Gemm", layer, name, x, vec![int("transB", 1)])
    }

    fn affine(
        &mut self,
        operator: &str,
        layer: &Linear,
        name: &str,
        x: &str,
        attributes: Vec<AttributeProto>,
    ) -> String {
        let [weight, bias] = [layer.weight, layer.weight + 1].map(|index| {
            let (segment, values) = self.parameter(index);
            self.graph.tensor(&segment.name, &segment.shape, values)
        });
        self.graph
            .node(operator, name, &[x, &weight, &bias], attributes)
    }

    fn activation(&mut self, activation: Activation, name: &str, x: &str) -> String {
        let operator = match activation {
            Activation::Identity => return x.to_owned(),
            Activation::Relu => "Relu",
            Activation::Relu6 => {
                let least = self.graph.tensor(&format!("{name}.least"), &[], &[0.0]);
                let most = self.graph.tensor(&format!("{name}.most"), &[], &[6.0]);
                return self.graph.node("Clip", name, &[x, &least, &most], vec![]);
            }
            Activation::Hardswish => "HardSwish",
        };
        self.graph.node(operator, name, &[x], vec![])
    }

    fn parameter(&self, index: usize) -> (&'a Segment, &'a [f32]) {
        let segment = &self.plan.parameters.segments()[index];
        (segment, &self.values.arena[segment.range.clone()])
    }

    fn statistic(&self, index: usize) -> (&'a Segment, &'a [f32]) {
        let segment = &self.plan.statistics.segments()[index];
        (segment, &self.values.statistics[segment.range.clone()])
    }
}

/// torchvision's name of a layer: the name of one of its tensors, without the last part.
fn module(tensor: &Segment) -> &str {
    let name = &tensor.name;
    name.rsplit_once('.').map_or(name, |(module, _)| module)
}

/// The padding attribute. TensorFlow's padding depends on the size of the image.
fn padding(layer: &ConvNorm) -> AttributeProto {
    match layer.padding {
        Padding::Symmetric => ints("pads", &[layer.kernel / 2; 4]),
        Padding::Same => text("auto_pad", "SAME_UPPER"),
    }
}
