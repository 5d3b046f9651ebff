//! Turns the layers of a plan into steps.
//!
//! A step stores one value in memory. Batch normalisations and activations are no steps of their own: the layer that
//! reads them applies them (see [`Value`]). Concatenation, slices and shuffles only rename channels. Channels are
//! copied if a layer reads them in another order than they are stored in.

use super::steps::{After, ConvStep, Kind, Program, Step, Value};
use crate::network::{Conv, Linear, Op, Plan, Window};
use crate::simd::LANES;
use crate::spec::Activation;

enum Form {
    /// Nothing reads it, or it is not computed yet.
    None,
    Image,
    Value(Value),
    /// Every channel is one of another value.
    Moved(Vec<(Value, usize)>),
}

/// The steps of a plan. `None` if no engine has them: a layer other than a convolution reads the images, whole maps are
/// dropped out, or the head reads a map.
pub fn lower(plan: &Plan) -> Option<Program> {
    let layers = plan.layers.len();
    let mut readers = vec![Vec::new(); layers];
    for (index, layer) in plan.layers.iter().enumerate() {
        for &input in &layer.inputs {
            readers[input].push(index);
        }
    }
    let mut lowering = Lowering {
        plan,
        readers,
        forms: (0..layers).map(|_| Form::None).collect(),
        program: Program {
            steps: Vec::new(),
            roots: Vec::new(),
            parts: vec![None; layers],
            values: vec![None; layers],
            masks: Vec::new(),
        },
    };
    lowering.forms[0] = Form::Image;
    for index in 1..layers {
        if matches!(lowering.forms[index], Form::None) {
            lowering.layer(index)?;
        }
    }
    let mut program = lowering.program;
    for (index, form) in lowering.forms.iter().enumerate() {
        match form {
            Form::Value(value) => program.values[index] = Some(*value),
            Form::Moved(_) if program.parts[index].is_some() => {
                program.values[index] = Some(Value::stored(index));
            }
            Form::Moved(_) | Form::Image | Form::None => {}
        }
    }
    // The head computes with pooled features.
    let pooled = plan.shapes(256, 256);
    (pooled[layers - 1].pixels() == 1 && pooled[plan.features].pixels() == 1).then_some(program)
}

struct Lowering<'a> {
    plan: &'a Plan,
    readers: Vec<Vec<usize>>,
    forms: Vec<Form>,
    program: Program,
}

impl Lowering<'_> {
    fn layer(&mut self, index: usize) -> Option<()> {
        let plan = self.plan;
        let layer = &plan.layers[index];
        let first = layer.inputs.first().copied()?;
        match &layer.op {
            Op::Conv(conv) => self.convolution(index, first, conv.clone())?,
            Op::Linear(linear) => self.convolution(index, first, as_conv(linear))?,
            Op::BatchNorm(norm) => {
                let z = self.stored(first)?;
                self.program.steps.push(Step::Norm {
                    layer: index,
                    z,
                    norm: norm.clone(),
                });
                self.forms[index] = Form::Value(Value {
                    z,
                    norm: Some(index),
                    activation: Activation::Identity,
                });
            }
            Op::Activate(activation) => {
                let mut value = self.read(first)?;
                if value.activation != Activation::Identity {
                    value = Value::stored(self.stored(first)?);
                }
                let value = Value {
                    activation: *activation,
                    ..value
                };
                if matches!(activation, Activation::Sigmoid | Activation::Hardsigmoid) {
                    // Factors of channels, which are few, are stored.
                    self.push(Step::Make {
                        layer: index,
                        input: value,
                    });
                } else {
                    self.forms[index] = Form::Value(value);
                }
            }
            Op::Add => self.add(index, first, *layer.inputs.get(1)?)?,
            Op::Gate => {
                let map = self.read(first)?;
                let factors = self.stored(*layer.inputs.get(1)?)?;
                self.push(Step::Gate {
                    layer: index,
                    map,
                    factors,
                });
            }
            Op::MaxPool(window) | Op::AveragePool(window) => {
                let input = self.read(first)?;
                self.push(Step::Pool {
                    layer: index,
                    input,
                    window: *window,
                    largest: matches!(layer.op, Op::MaxPool(_)),
                });
            }
            Op::GlobalAverage => {
                let input = self.read(first)?;
                self.push(Step::Average {
                    layer: index,
                    input,
                });
            }
            Op::Concat => {
                let mut map = Vec::new();
                for &input in &layer.inputs {
                    map.extend(self.moved(input)?);
                }
                self.forms[index] = Form::Moved(map);
            }
            Op::Slice { start, length } => {
                let map = self.moved(first)?[*start..start + length].to_vec();
                self.forms[index] = Form::Moved(map);
            }
            Op::Shuffle { groups } => {
                let map = self.moved(first)?;
                let each = map.len() / groups;
                // Channel `i * each + j` becomes channel `j * groups + i`.
                let place = |channel: usize| channel % groups * each + channel / groups;
                let map = (0..map.len()).map(|to| map[place(to)]).collect();
                self.forms[index] = Form::Moved(map);
            }
            Op::Dropout { .. } | Op::DropPath { .. } => {
                let per_image = matches!(layer.op, Op::DropPath { .. });
                // A mask of every value of a map would be as large as the map.
                if !per_image && self.plan.shapes(256, 256)[index].pixels() > 1 {
                    return None;
                }
                let input = self.read(first)?;
                self.program.masks.push(index);
                self.push(Step::Mask {
                    layer: index,
                    input,
                    mask: self.program.masks.len() - 1,
                });
            }
            Op::LayerNorm(_) | Op::Merge | Op::Scale { .. } | Op::Attention(_) => {
                let z = self.stored(first)?;
                self.push(Step::Other {
                    layer: index,
                    input: Value::stored(z),
                });
            }
            Op::Image => return None,
        }
        Some(())
    }

    fn push(&mut self, step: Step) {
        let layer = step.layer();
        self.forms[layer] = Form::Value(Value::stored(layer));
        self.program.steps.push(step);
    }

    fn convolution(&mut self, layer: usize, input: usize, conv: Conv) -> Option<()> {
        let window = conv.window;
        let (input, kind) = if matches!(self.forms[input], Form::Image) {
            (None, Kind::Stem)
        } else {
            let filter = conv.is_depthwise()
                && matches!(window.kernel, 3 | 5)
                && matches!(window.stride, 1 | 2)
                && window.padding().is_some()
                && !window.ceil
                && conv.bias.is_none();
            let kind = if conv.is_pointwise() {
                Kind::Pointwise
            } else if filter {
                Kind::Depthwise
            } else {
                Kind::General
            };
            (Some(self.read(input)?), kind)
        };
        self.push(Step::Conv(ConvStep {
            layer,
            input,
            kind,
            conv,
            after: After::NOTHING,
        }));
        Some(())
    }

    /// A sum. Its activation is stored with it if the derivative can be computed from the result.
    fn add(&mut self, index: usize, a: usize, b: usize) -> Option<()> {
        let mut inputs = [self.read(a)?, self.read(b)?];
        for (value, layer) in inputs.iter_mut().zip([a, b]) {
            if value.activation != Activation::Identity {
                *value = Value::stored(self.stored(layer)?);
            }
        }
        let (mut layer, mut activation) = (index, Activation::Identity);
        if let [reader] = self.readers[index][..]
            && let Op::Activate(found @ (Activation::Relu | Activation::Relu6)) =
                self.plan.layers[reader].op
        {
            (layer, activation) = (reader, found);
        }
        self.push(Step::Add {
            layer,
            inputs,
            activation,
        });
        if layer != index {
            // Nothing else reads the sum itself.
            self.forms[index] = Form::Value(Value::stored(layer));
        }
        Some(())
    }

    /// The value of a layer. Copies channels if they are not stored one after the other.
    fn read(&mut self, layer: usize) -> Option<Value> {
        match &self.forms[layer] {
            Form::Value(value) => Some(*value),
            Form::Moved(map) => {
                let map = map.clone();
                if !self.place(layer, &map) {
                    self.gather(layer, &map);
                }
                Some(Value::stored(layer))
            }
            Form::Image | Form::None => None,
        }
    }

    /// A layer whose value is stored.
    fn stored(&mut self, layer: usize) -> Option<usize> {
        let value = self.read(layer)?;
        if value.is_plain() {
            return Some(value.z);
        }
        self.push(Step::Make {
            layer,
            input: value,
        });
        Some(layer)
    }

    /// The origin of each channel.
    fn moved(&self, layer: usize) -> Option<Vec<(Value, usize)>> {
        match &self.forms[layer] {
            Form::Value(value) => Some(
                (0..self.plan.channels[layer])
                    .map(|c| (*value, c))
                    .collect(),
            ),
            Form::Moved(map) => Some(map.clone()),
            Form::Image | Form::None => None,
        }
    }

    fn gather(&mut self, layer: usize, moved: &[(Value, usize)]) {
        let mut sources: Vec<Value> = Vec::new();
        let mut map: Vec<(usize, usize)> = Vec::with_capacity(moved.len());
        for (value, channel) in moved {
            // A channel that is read twice gets two sources, so that each source's gradient has one place to come from.
            let fits =
                |index: &usize| sources[*index] == *value && !map.contains(&(*index, *channel));
            let source = (0..sources.len()).find(fits).unwrap_or_else(|| {
                sources.push(*value);
                sources.len() - 1
            });
            map.push((source, *channel));
        }
        self.push(Step::Gather {
            layer,
            sources,
            map,
        });
    }

    /// Stores the parts of a concatenation one after the other, if they are whole planes and not stored elsewhere.
    fn place(&mut self, layer: usize, moved: &[(Value, usize)]) -> bool {
        if self.program.parts[layer].is_some() {
            return true;
        }
        let Some(members) = self.whole(moved) else {
            return false;
        };
        let first = members[0];
        let (root, start) = self.program.parts[first].unwrap_or((self.program.roots.len(), 0));
        let new = root == self.program.roots.len();
        let length =
            |list: &[usize]| -> usize { list.iter().map(|&l| self.plan.channels[l]).sum() };
        let mut list = if new {
            vec![first]
        } else {
            self.program.roots[root].clone()
        };
        let mut at = start;
        let mut added = Vec::new();
        for &member in &members {
            match self.program.parts[member] {
                Some(part) if part != (root, at) => return false,
                Some(_) => {}
                None if new && member == first => added.push((member, at)),
                None => {
                    if length(&list) != at {
                        return false;
                    }
                    list.push(member);
                    added.push((member, at));
                }
            }
            at += self.plan.channels[member];
        }
        if new {
            self.program.roots.push(list);
        } else {
            self.program.roots[root] = list;
        }
        for (member, at) in added {
            self.program.parts[member] = Some((root, at));
        }
        self.program.parts[layer] = Some((root, start));
        true
    }

    /// The stored layers that a concatenation consists of. `None` if it has other channels.
    fn whole(&self, moved: &[(Value, usize)]) -> Option<Vec<usize>> {
        let mut members = Vec::new();
        let mut at = 0;
        while at < moved.len() {
            let (value, _) = moved[at];
            let channels = self.plan.channels[value.z];
            let end = at + channels;
            let part = moved.get(at..end)?;
            let in_order = part.iter().enumerate().all(|(c, from)| *from == (value, c));
            let aligned = channels.is_multiple_of(LANES) || end == moved.len();
            let own = (self.program.steps.iter()).any(|step| step.layer() == value.z);
            if !(in_order && aligned && own && value.is_plain()) || members.contains(&value.z) {
                return None;
            }
            members.push(value.z);
            at = end;
        }
        (members.len() > 1).then_some(members)
    }
}

/// A fully connected layer as a 1×1 convolution.
pub fn as_conv(linear: &Linear) -> Conv {
    Conv {
        in_channels: linear.in_features,
        out_channels: linear.out_features,
        window: Window::new(1),
        groups: 1,
        weight: linear.weight,
        bias: linear.bias,
    }
}
