//! Converts the layers of a plan to ONNX operators. They must give the results of the composed
//! executor.

use std::collections::{HashMap, HashSet};

use engine::{Activation, LayerNorm, Linear, Op, Plan, Segment, Shape};
use rten_onnx::onnx::{AttributeProto, DataType};

use super::graph::{Graph, float, int, ints};
use crate::run::parameters::Values;
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

/// The order of a value's dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Layout {
    /// `[n, c, h, w]`, the layout of convolutions. Pooled values before the head are `[n, c, 1, 1]`.
    First,
    /// `[n, h, w, c]`, the layout of fully connected layers and normalisations over channels.
    Last,
    /// `[n, c]`, the layout of the head.
    Flat,
}

impl Layout {
    /// The axis of the channels.
    fn channels(self) -> i64 {
        match self {
            Layout::First | Layout::Flat => 1,
            Layout::Last => 3,
        }
    }
}

/// The value of a layer.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) layout: Layout,
}

/// Converts the layers of a plan.
pub(super) struct Layers<'a> {
    pub(super) plan: &'a Plan,
    values: &'a Values,
    /// Whether to fold batch normalisations into their convolutions.
    pub(super) fold: bool,
    pub(super) graph: &'a mut Graph,
    /// The shape of each layer's value, if the images have a fixed size.
    shapes: Option<Vec<Shape>>,
    /// The value of each layer so far.
    outputs: Vec<Value>,
    /// Values in other layouts than their layer's.
    converted: HashMap<(usize, Layout), String>,
    /// Number of layers that read each layer.
    pub(super) readers: Vec<usize>,
    names: HashSet<String>,
    /// The name of the logits.
    output: &'static str,
}

/// Whether a plan is exported for one image size: the windows of attention depend on it.
pub(super) fn has_fixed_size(plan: &Plan) -> bool {
    let is_fixed = |op: &Op| matches!(op, Op::Attention(_) | Op::Merge);
    plan.layers.iter().any(|layer| is_fixed(&layer.op))
}

impl<'a> Layers<'a> {
    /// A converter that appends to `graph`. `size` is the fixed height and width of the images, which a plan with
    /// [`has_fixed_size`] needs. The logits are named `output`.
    pub(super) fn new(
        plan: &'a Plan,
        values: &'a Values,
        fold: bool,
        graph: &'a mut Graph,
        size: Option<(usize, usize)>,
        output: &'static str,
    ) -> Self {
        let mut readers = vec![0; plan.layers.len()];
        for &input in plan.layers.iter().flat_map(|layer| &layer.inputs) {
            readers[input] += 1;
        }
        let segments = [&plan.parameters, &plan.statistics];
        let segments = segments.into_iter().flat_map(|table| table.segments());
        let taken = segments.map(|segment| segment.name.clone());
        Layers {
            plan,
            values,
            fold,
            graph,
            shapes: size.map(|(height, width)| plan.shapes(height, width)),
            outputs: Vec::with_capacity(plan.layers.len()),
            converted: HashMap::new(),
            readers,
            names: taken.chain([output.to_owned()]).collect(),
            output,
        }
    }

    /// Appends all layers. `images` is the name of the network's input, `[n, 3, h, w]`.
    pub(super) fn convert(mut self, images: &str) {
        self.outputs.push(Value {
            name: images.to_owned(),
            layout: Layout::First,
        });
        for index in 1..self.plan.layers.len() {
            let value = self.layer(index);
            self.outputs.push(value);
            if index == self.plan.features {
                let name = self.at(index, Layout::Flat);
                let layout = Layout::Flat;
                self.outputs[index] = Value { name, layout };
            }
        }
    }

    fn layer(&mut self, index: usize) -> Value {
        let layer = &self.plan.layers[index];
        match &layer.op {
            Op::Image => self.outputs[0].clone(),
            Op::Conv(conv) => self.conv(index, conv),
            Op::BatchNorm(norm) => self.batch_norm(index, norm),
            Op::LayerNorm(norm) => self.layer_norm(index, norm),
            Op::Activate(activation) => self.activate(index, *activation),
            Op::MaxPool(window) => self.pool(index, "MaxPool", window),
            Op::AveragePool(window) => self.pool(index, "AveragePool", window),
            Op::GlobalAverage => {
                let x = self.input(index, 0, Layout::First);
                let name = self.name(index, "avgpool");
                self.node(Layout::First, "GlobalAveragePool", &name, &[&x], vec![])
            }
            Op::Gate => {
                let [map, factors] = [0, 1].map(|input| self.input(index, input, Layout::First));
                let name = self.name(index, "scaled");
                self.node(Layout::First, "Mul", &name, &[&map, &factors], vec![])
            }
            Op::Add => {
                let layout = self.layout(index);
                let [a, b] = [0, 1].map(|input| self.input(index, input, layout));
                let name = self.name(index, "add");
                self.node(layout, "Add", &name, &[&a, &b], vec![])
            }
            Op::Concat => {
                let layout = self.layout(index);
                let parts: Vec<String> = (0..layer.inputs.len())
                    .map(|input| self.input(index, input, layout))
                    .collect();
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let name = self.name(index, "concat");
                let axis = vec![int("axis", layout.channels())];
                self.node(layout, "Concat", &name, &parts, axis)
            }
            Op::Slice { start, length } => self.slice(index, *start, *length),
            Op::Shuffle { groups } => {
                let channels = self.plan.channels[index];
                let size = channels / groups;
                // Output channel `j * groups + i` is input channel `i * size + j`.
                let order: Vec<i64> = (0..channels)
                    .map(|to| (to % groups * size + to / groups) as i64)
                    .collect();
                let layout = self.layout(index);
                let x = self.input(index, 0, layout);
                let name = self.name(index, "shuffle");
                let name = self.gather(&name, &x, layout.channels(), &order);
                Value { name, layout }
            }
            Op::Merge => self.merge(index),
            Op::Scale { weight } => self.scale(index, *weight),
            Op::Linear(linear) => self.linear(index, linear),
            Op::Attention(attention) => self.attention(index, attention),
            // In inference, these hand on their input.
            Op::Dropout { .. } | Op::DropPath { .. } => self.outputs[layer.inputs[0]].clone(),
        }
    }

    /// The layout of the layer's first input.
    pub(super) fn layout(&self, index: usize) -> Layout {
        self.outputs[self.plan.layers[index].inputs[0]].layout
    }

    /// An input of a layer, in this layout.
    pub(super) fn input(&mut self, index: usize, input: usize, layout: Layout) -> String {
        self.at(self.plan.layers[index].inputs[input], layout)
    }

    /// The value of a layer, in this layout.
    pub(super) fn at(&mut self, index: usize, layout: Layout) -> String {
        let Value { name, layout: from } = self.outputs[index].clone();
        if from == layout {
            return name;
        }
        if let Some(name) = self.converted.get(&(index, layout)) {
            return name.clone();
        }
        let part = match layout {
            Layout::First => "channels_first",
            Layout::Last => "channels_last",
            Layout::Flat => "flatten",
        };
        let to = self.unique(format!("{name}.{part}"));
        let turned = |perm: &[usize]| vec![ints("perm", perm)];
        match (from, layout) {
            (_, Layout::Flat) => self
                .graph
                .node("Flatten", &to, &[&name], vec![int("axis", 1)]),
            (Layout::Flat, Layout::First) => self.reshape(&to, &name, &[0, 0, 1, 1]),
            (Layout::Flat, Layout::Last) => self.reshape(&to, &name, &[0, 1, 1, -1]),
            (_, Layout::First) => {
                self.graph
                    .node("Transpose", &to, &[&name], turned(&[0, 3, 1, 2]))
            }
            (_, Layout::Last) => self
                .graph
                .node("Transpose", &to, &[&name], turned(&[0, 2, 3, 1])),
        };
        self.converted.insert((index, layout), to.clone());
        to
    }

    /// The shape of a layer's value, of a plan for one image size.
    pub(super) fn shape(&self, index: usize) -> Shape {
        match &self.shapes {
            Some(shapes) => shapes[index],
            None => unreachable!("a plan with windows is exported for one image size"),
        }
    }

    /// A name for the value of a layer without parameters.
    pub(super) fn name(&mut self, index: usize, part: &str) -> String {
        let name = format!("{}.{part}", self.plan.layers[index].name);
        self.name_of(index, name)
    }

    /// A name for the value of a layer: that of its module.
    pub(super) fn module_name(&mut self, index: usize) -> String {
        self.name_of(index, self.plan.layers[index].name.clone())
    }

    fn name_of(&mut self, index: usize, name: String) -> String {
        match index + 1 == self.plan.layers.len() {
            true => self.output.to_owned(),
            false => self.unique(name),
        }
    }

    /// This name, or this name with a number if it is taken.
    pub(super) fn unique(&mut self, wanted: String) -> String {
        let mut name = wanted.clone();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}.{number}");
        }
        name
    }

    pub(super) fn node(
        &mut self,
        layout: Layout,
        operator: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> Value {
        let name = self.graph.node(operator, name, inputs, attributes);
        Value { name, layout }
    }

    /// Changes the shape of a value. One length may be -1; 0 keeps a length.
    pub(super) fn reshape(&mut self, name: &str, x: &str, shape: &[i64]) -> String {
        let to = self
            .graph
            .whole(&format!("{name}.shape"), &[shape.len()], shape);
        self.graph.node("Reshape", name, &[x, &to], vec![])
    }

    /// Picks places along an axis.
    pub(super) fn gather(&mut self, name: &str, x: &str, axis: i64, places: &[i64]) -> String {
        let places = self
            .graph
            .whole(&format!("{name}.places"), &[places.len()], places);
        let axis = vec![int("axis", axis)];
        self.graph.node("Gather", name, &[x, &places], axis)
    }

    fn slice(&mut self, index: usize, start: usize, length: usize) -> Value {
        let layout = self.layout(index);
        let x = self.input(index, 0, layout);
        let name = self.name(index, "slice");
        let [start, end, axis] = [
            ("start", start as i64),
            ("end", (start + length) as i64),
            ("axis", layout.channels()),
        ]
        .map(|(part, value)| self.graph.whole(&format!("{name}.{part}"), &[1], &[value]));
        self.node(layout, "Slice", &name, &[&x, &start, &end, &axis], vec![])
    }

    fn scale(&mut self, index: usize, weight: usize) -> Value {
        let layout = self.layout(index);
        let x = self.input(index, 0, layout);
        let (segment, _) = self.parameter(weight);
        let dimensions = match layout {
            Layout::First => 3,
            Layout::Last | Layout::Flat => 1,
        };
        let mut factors = self.add_parameter(weight);
        if segment.shape.len() != dimensions {
            let shape: &[i64] = match dimensions {
                1 => &[-1],
                _ => &[-1, 1, 1],
            };
            let name = self.unique(format!("{factors}.reshaped"));
            factors = self.reshape(&name, &factors, shape);
        }
        let name = self.name(index, "scaled");
        self.node(layout, "Mul", &name, &[&x, &factors], vec![])
    }

    fn layer_norm(&mut self, index: usize, norm: &LayerNorm) -> Value {
        let layout = match self.layout(index) {
            Layout::Flat => Layout::Flat,
            Layout::First | Layout::Last => Layout::Last,
        };
        let x = self.input(index, 0, layout);
        let [weight, bias] = [norm.weight, norm.weight + 1].map(|i| self.add_parameter(i));
        let name = self.module_name(index);
        let attributes = vec![int("axis", -1), float("epsilon", norm.epsilon)];
        let inputs = [&x[..], &weight, &bias];
        self.node(layout, "LayerNormalization", &name, &inputs, attributes)
    }

    fn activate(&mut self, index: usize, activation: Activation) -> Value {
        let value = self.outputs[self.plan.layers[index].inputs[0]].clone();
        let name = match activation {
            Activation::Identity => return value,
            _ => self.name(index, "activation"),
        };
        let name = super::activation::append(self.graph, activation, &name, &value.name);
        Value { name, ..value }
    }

    /// A fully connected layer over the channels.
    fn linear(&mut self, index: usize, layer: &Linear) -> Value {
        let is_conv = self.parameter(layer.weight).0.shape.len() == 4;
        let name = self.module_name(index);
        match self.layout(index) {
            Layout::Flat => {
                let x = self.input(index, 0, Layout::Flat);
                let mut weight = self.add_parameter(layer.weight);
                if is_conv {
                    let flat = self.unique(format!("{weight}.flat"));
                    weight = self
                        .graph
                        .node("Flatten", &flat, &[&weight], vec![int("axis", 1)]);
                }
                let bias = layer.bias.map(|bias| self.add_parameter(bias));
                let inputs = [Some(&x), Some(&weight), bias.as_ref()];
                let inputs: Vec<&str> = inputs.into_iter().flatten().map(|x| &x[..]).collect();
                self.node(Layout::Flat, "Gemm", &name, &inputs, vec![int("transB", 1)])
            }
            Layout::First if is_conv => {
                let x = self.input(index, 0, Layout::First);
                let weight = self.add_parameter(layer.weight);
                let bias = layer.bias.map(|bias| self.add_parameter(bias));
                let inputs = [Some(&x), Some(&weight), bias.as_ref()];
                let inputs: Vec<&str> = inputs.into_iter().flatten().map(|x| &x[..]).collect();
                let kernel = vec![ints("kernel_shape", &[1, 1])];
                self.node(Layout::First, "Conv", &name, &inputs, kernel)
            }
            Layout::First | Layout::Last => {
                let x = self.input(index, 0, Layout::Last);
                let name = self.product(layer, &name, &x);
                let layout = Layout::Last;
                Value { name, layout }
            }
        }
    }

    /// A fully connected layer over the last dimension of a value, which becomes `name`.
    pub(super) fn product(&mut self, layer: &Linear, name: &str, x: &str) -> String {
        let is_conv = self.parameter(layer.weight).0.shape.len() == 4;
        let mut weight = self.add_parameter(layer.weight);
        if is_conv {
            let flat = self.unique(format!("{weight}.flat"));
            let axis = vec![int("axis", 1)];
            weight = self.graph.node("Flatten", &flat, &[&weight], axis);
        }
        let turned = self.unique(format!("{weight}.transposed"));
        let perm = vec![ints("perm", &[1, 0])];
        weight = self.graph.node("Transpose", &turned, &[&weight], perm);
        let Some(bias) = layer.bias else {
            return self.graph.node("MatMul", name, &[x, &weight], vec![]);
        };
        let bias = self.add_parameter(bias);
        let product = self.unique(format!("{name}.product"));
        self.graph.node("MatMul", &product, &[x, &weight], vec![]);
        self.graph.node("Add", name, &[&product, &bias], vec![])
    }

    /// Adds a parameter to the graph, and returns its name.
    pub(super) fn add_parameter(&mut self, index: usize) -> String {
        let (segment, values) = self.parameter(index);
        self.graph.tensor(&segment.name, &segment.shape, values)
    }

    pub(super) fn parameter(&self, index: usize) -> (&'a Segment, &'a [f32]) {
        let segment = &self.plan.parameters.segments()[index];
        (segment, &self.values.arena[segment.range.clone()])
    }

    pub(super) fn statistic(&self, index: usize) -> (&'a Segment, &'a [f32]) {
        let segment = &self.plan.statistics.segments()[index];
        (segment, &self.values.statistics[segment.range.clone()])
    }
}
