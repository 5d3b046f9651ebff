//! Convolutions, batch normalisations and pooling as ONNX operators.

use engine::{BatchNorm, Conv, Op, Pad, Window};
use rten_onnx::onnx::AttributeProto;

use super::fold::folded;
use super::graph::{float, int, ints, text};
use super::layers::{Layers, Layout, Value};

impl Layers<'_> {
    pub(super) fn conv(&mut self, index: usize, conv: &Conv) -> Value {
        if self.is_folded(index) {
            // The normalisation appends both.
            let layout = Layout::First;
            let name = self.input(index, 0, layout);
            return Value { name, layout };
        }
        let x = self.input(index, 0, Layout::First);
        let weight = self.add_parameter(conv.weight);
        let bias = conv.bias.map(|bias| self.add_parameter(bias));
        let name = self.module_name(index);
        let inputs = [Some(&x), Some(&weight), bias.as_ref()];
        let inputs: Vec<&str> = inputs.into_iter().flatten().map(|x| &x[..]).collect();
        self.node(Layout::First, "Conv", &name, &inputs, attributes(conv))
    }

    pub(super) fn batch_norm(&mut self, index: usize, norm: &BatchNorm) -> Value {
        let constants = [
            self.parameter(norm.weight),
            self.parameter(norm.weight + 1),
            self.statistic(norm.statistics),
            self.statistic(norm.statistics + 1),
        ];
        if let Some((before, conv)) = self.folded_conv(index) {
            let x = self.input(before, 0, Layout::First);
            let (weight, taps) = self.parameter(conv.weight);
            let own = conv.bias.map(|bias| self.parameter(bias).1);
            let (taps, bias) = folded(taps, own, constants.map(|(_, values)| values), norm.epsilon);
            let module = &self.plan.layers[before].name;
            let weight = self.graph.tensor(&weight.name, &weight.shape, &taps);
            let bias = (self.graph).tensor(&format!("{module}.bias"), &[bias.len()], &bias);
            let name = self.module_name(before);
            let inputs = [&x[..], &weight, &bias];
            return self.node(Layout::First, "Conv", &name, &inputs, attributes(conv));
        }
        let layout = match self.layout(index) {
            Layout::Flat => Layout::Flat,
            Layout::First | Layout::Last => Layout::First,
        };
        let x = self.input(index, 0, layout);
        let [weight, bias, mean, variance] = constants
            .map(|(segment, values)| self.graph.tensor(&segment.name, &segment.shape, values));
        let name = self.module_name(index);
        let inputs = [&x[..], &weight, &bias, &mean, &variance];
        let epsilon = vec![float("epsilon", norm.epsilon)];
        self.node(layout, "BatchNormalization", &name, &inputs, epsilon)
    }

    pub(super) fn pool(&mut self, index: usize, operator: &str, window: &Window) -> Value {
        let x = self.input(index, 0, Layout::First);
        let name = self.name(index, "pool");
        let attributes = windows(window);
        self.node(Layout::First, operator, &name, &[&x], attributes)
    }
}

fn attributes(conv: &Conv) -> Vec<AttributeProto> {
    let mut attributes = windows(&conv.window);
    attributes.push(int("group", conv.groups as i64));
    attributes
}

/// Kernel, strides and padding. TensorFlow's padding depends on the size of the image.
///
/// Runtimes differ in `ceil_mode`. Where padding at the end gives the same windows, it is used instead: it never wins a
/// maximum, and does not count in a mean.
fn windows(window: &Window) -> Vec<AttributeProto> {
    let Window {
        kernel,
        stride,
        pad,
        ceil,
    } = *window;
    let mut attributes = vec![
        ints("kernel_shape", &[kernel; 2]),
        ints("strides", &[stride; 2]),
    ];
    match pad {
        Pad::Same => attributes.push(text("auto_pad", "SAME_UPPER")),
        // The last window starts inside the image or its left padding.
        Pad::Zeros(zeros) if ceil && zeros + stride - 1 < kernel => {
            let end = zeros + stride - 1;
            attributes.push(ints("pads", &[zeros, zeros, end, end]));
        }
        Pad::Zeros(zeros) => {
            attributes.push(ints("pads", &[zeros; 4]));
            if ceil {
                attributes.push(int("ceil_mode", 1));
            }
        }
    }
    attributes
}

impl<'a> Layers<'a> {
    /// Whether the batch normalisation that alone reads this convolution contains it.
    pub(super) fn is_folded(&self, index: usize) -> bool {
        let normalises = || {
            let reads =
                |op: &Op, inputs: &[usize]| matches!(op, Op::BatchNorm(_)) && inputs == [index];
            let mut later = self.plan.layers[index + 1..].iter();
            later.any(|layer| reads(&layer.op, &layer.inputs))
        };
        self.fold && self.readers[index] == 1 && normalises()
    }

    /// The convolution before a batch normalisation, if it is folded, and the convolution's index.
    pub(super) fn folded_conv(&self, index: usize) -> Option<(usize, &'a Conv)> {
        let before = self.plan.layers[index].inputs[0];
        match &self.plan.layers[before].op {
            Op::Conv(conv) if self.is_folded(before) => Some((before, conv)),
            _ => None,
        }
    }
}
