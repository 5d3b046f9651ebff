//! The backward pass of a training step.
//!
//! A value that several layers read gets several gradients, which are added as they come. The gradient of a normalised
//! convolution's output is never stored: it is that of the normalisation's output, with coefficients.

use std::collections::HashMap;

use engine::Activation;
use engine::program::{ConvStep, Step as ProgramStep, Value, norm_slot, slot};

use super::{Maker, Place, SumsAt, is_stored, width8};
use crate::args::{At, Norm, Read, Write, number};
use crate::device::Launch;

/// What is known of the gradients.
struct Gradients {
    /// Contributions to each gradient that are still to come.
    left: Vec<usize>,
    content: Vec<Option<Place>>,
    /// Number of gradients that share memory.
    shared: HashMap<At, usize>,
    /// The normalisation whose coefficients turn a stored layer's gradient into its own.
    behind: Vec<Option<usize>>,
    /// Sums of normalisations' gradients, by layer.
    sums: Vec<Option<SumsAt>>,
    /// The gradient of a product with factors, that the average of the same map adds: with the factors' layer.
    gated: Vec<Option<(Place, usize)>>,
    /// Memory of the roots' gradients, and the number of layers whose gradient is still to be used.
    roots: HashMap<usize, (Place, usize)>,
    /// Memory that is free after the current step.
    ended: Vec<At>,
}

/// Where a contribution goes.
struct Sink {
    value: Value,
    target: Place,
    addend: Option<Place>,
    /// The normalisation whose sums the last contribution adds up, and its input.
    summed: Option<(usize, usize)>,
}

impl Maker<'_> {
    pub(super) fn backward(&mut self) {
        let layers = self.plan.layers.len();
        let mut left = vec![0; 2 * layers];
        for step in &self.program.steps {
            for input in step.inputs() {
                left[input.slot()] += 1;
            }
        }
        let mut gradients = Gradients {
            left,
            content: vec![None; 2 * layers],
            shared: HashMap::new(),
            behind: vec![None; layers],
            sums: vec![None; layers],
            gated: vec![None; 2 * layers],
            roots: HashMap::new(),
            ended: Vec::new(),
        };
        self.clear(self.fixed.gradient, 4 * self.plan.parameters.len());
        let place = self.new_gradient(layers - 1, &mut gradients);
        gradients.content[slot(layers - 1)] = Some(place);
        self.ports.logits_gradient = Some(place);
        for index in (0..self.program.steps.len()).rev() {
            self.step_back(index, &mut gradients);
            for at in std::mem::take(&mut gradients.ended) {
                self.free_gradient(at, &mut gradients);
            }
        }
    }

    fn new_gradient(&mut self, layer: usize, gradients: &mut Gradients) -> Place {
        let place = self.new_place(layer);
        gradients.shared.insert(place.at, 1);
        place
    }

    fn free_gradient(&mut self, at: At, gradients: &mut Gradients) {
        if let Some(count) = gradients.shared.get_mut(&at) {
            *count -= 1;
            if *count == 0 {
                gradients.shared.remove(&at);
                self.release(at);
            }
        }
    }

    /// The gradient of a layer in its root.
    fn root_gradient(&mut self, root: usize, channel: usize, g: &mut Gradients) -> Place {
        let place = match g.roots.get(&root) {
            Some((place, _)) => *place,
            None => {
                let layers = &self.program.roots[root];
                let channels: usize = layers.iter().map(|&layer| self.plan.channels[layer]).sum();
                let stride = width8(channels);
                let bytes = self.rows(layers[0]) * stride * self.storage.bytes();
                let place = Place {
                    at: self.take(bytes),
                    stride,
                };
                g.shared.insert(place.at, 1);
                g.roots.insert(root, (place, layers.len()));
                self.clear(place.at, bytes);
                place
            }
        };
        self.channel(place, channel)
    }

    /// Uses up the gradient of a stored layer.
    fn take_gradient(&mut self, layer: usize, g: &mut Gradients) -> Option<Place> {
        let Some((root, channel)) = self.program.parts[layer] else {
            let place = g.content[slot(layer)].take()?;
            g.ended.push(place.at);
            return Some(place);
        };
        let (place, left) = g.roots.get_mut(&root)?;
        let place = *place;
        *left -= 1;
        if *left == 0 {
            g.roots.remove(&root);
            g.ended.push(place.at);
        }
        Some(self.channel(place, channel))
    }

    /// A new contribution to the gradient of a value.
    fn contribute(&mut self, value: Value, g: &mut Gradients) -> Sink {
        let at = value.slot();
        g.left[at] -= 1;
        let summed = match value.norm {
            _ if g.left[at] > 0 => None,
            Some(norm) => Some((norm, value.z)),
            None => self.norm_added(value, g),
        };
        let (target, addend) = match (value.norm, self.program.parts[value.z]) {
            (None, Some((root, channel))) => {
                let place = self.root_gradient(root, channel, g);
                (place, Some(place))
            }
            _ => {
                let old = g.content[at];
                let target = match old {
                    Some(place) if g.shared[&place.at] == 1 => place,
                    _ => self.new_gradient(value.z, g),
                };
                if let Some(old) = old
                    && old != target
                {
                    g.ended.push(old.at);
                }
                g.content[at] = Some(target);
                (target, old)
            }
        };
        Sink {
            value,
            target,
            addend,
            summed,
        }
    }

    /// The normalisation that a sum of layers reads, if its gradient is that of the sum, and its input.
    fn norm_added(&self, sum: Value, g: &Gradients) -> Option<(usize, usize)> {
        let has_own = self.program.parts[sum.z].is_none() && is_stored(sum);
        let added = self.program.steps.iter().find_map(|step| match step {
            ProgramStep::Add {
                layer,
                inputs,
                activation: Activation::Identity,
            } if has_own && *layer == sum.z => Some(inputs),
            _ => None,
        })?;
        let only = |slot: usize| g.left[slot] == 1 && g.content[slot].is_none();
        let found = added.iter().find(|value| {
            value.norm.is_some() && value.activation == Activation::Identity && only(value.slot())
        })?;
        Some((found.norm?, found.z))
    }

    /// How a contribution is written by a pass with this many blocks, and the sums that it computes.
    fn sink_write(&mut self, sink: &Sink, blocks: usize) -> (Write, Option<SumsAt>) {
        let mut out = self.write_gradient(sink.value, sink.target, sink.addend);
        let Some((_, input)) = sink.summed.filter(|_| blocks > 0) else {
            return (out, None);
        };
        let z = self.value(input);
        (out.z, out.ldz) = (z.at, z.stride as i32);
        out.sums = self.floats(blocks * 2 * self.width(input));
        let at = out.sums;
        (out, Some(SumsAt { at, blocks }))
    }

    fn keep_sums(&mut self, sink: &Sink, sums: Option<SumsAt>, g: &mut Gradients) {
        if let (Some(sums), Some((norm, input))) = (sums, sink.summed) {
            let few = self.few(sums, self.width(input));
            g.sums[norm] = Some(few);
        }
    }

    /// A contribution that is a pass over the map of the value.
    fn map_back(&mut self, value: Value, x: Read, y: Option<Read>, g: &mut Gradients) {
        let sink = self.contribute(value, g);
        let blocks = self.map_blocks(value.z);
        let (out, sums) = self.sink_write(&sink, blocks);
        self.map(x, y, out, value.z);
        self.keep_sums(&sink, sums, g);
    }

    /// Hands a gradient on unchanged.
    fn pass(&mut self, value: Value, from: Place, g: &mut Gradients) {
        let at = value.slot();
        let is_part = value.norm.is_none() && self.program.parts[value.z].is_some();
        let own = g.shared.contains_key(&from.at);
        if is_part || !own || g.content[at].is_some() {
            return self.map_back(value, self.plain(from), None, g);
        }
        g.left[at] -= 1;
        if let Some(count) = g.shared.get_mut(&from.at) {
            *count += 1;
        }
        g.content[at] = Some(from);
    }

    fn step_back(&mut self, index: usize, g: &mut Gradients) {
        let program = self.program;
        let step = &program.steps[index];
        if let ProgramStep::Norm { layer, z, norm } = step {
            return self.norm_back(*layer, *z, norm, g);
        }
        let layer = step.layer();
        let Some(place) = self.take_gradient(layer, g) else {
            for input in step.inputs() {
                g.left[input.slot()] -= 1;
            }
            return;
        };
        let d = self.plain(place);
        match step {
            ProgramStep::Norm { .. } => {}
            ProgramStep::Conv(step) => self.conv_back(index, step, place, g),
            ProgramStep::Make { input, .. } => self.map_back(*input, d, None, g),
            ProgramStep::Add {
                inputs, activation, ..
            } => {
                let mut from = place;
                if *activation != Activation::Identity {
                    let alone = g.shared.get(&place.at) == Some(&1);
                    if !alone {
                        from = self.new_gradient(layer, g);
                        g.ended.push(from.at);
                    }
                    let mut out = self.write(from);
                    let z = self.value(layer);
                    (out.z, out.ldz, out.dact) = (z.at, z.stride as i32, number(*activation));
                    self.map(d, None, out, layer);
                }
                for input in inputs {
                    self.pass(*input, from, g);
                }
            }
            ProgramStep::Gate { map, factors, .. } => {
                let sink = self.contribute(Value::stored(*factors), g);
                let (out, _) = self.sink_write(&sink, 0);
                let values = self.read(*map);
                self.pixels(d, Some(values), 1.0, layer, out);
                if !self.leave_to_average(*map, *factors, place, g) {
                    let d = self.with_factors(d, self.value(*factors), layer);
                    self.map_back(*map, d, None, g);
                }
            }
            ProgramStep::Mask { input, mask, .. } => {
                let d = self.with_factors(d, self.mask(*mask), layer);
                self.map_back(*input, d, None, g);
            }
            ProgramStep::Average { input, .. } => {
                let pixels = self.shapes[input.z].pixels();
                let shared = Read {
                    broadcast: 1,
                    pixels: pixels as i32,
                    alpha: 1.0 / pixels as f32,
                    ..d
                };
                let gated = g.gated[input.slot()].take();
                let product = gated.map(|(place, factors)| {
                    g.ended.push(place.at);
                    let read = self.plain(place);
                    self.with_factors(read, self.value(factors), input.z)
                });
                self.map_back(*input, shared, product, g);
            }
            ProgramStep::Pool {
                input,
                window,
                largest,
                ..
            } => {
                let sink = self.contribute(*input, g);
                let (out, sums) = self.sink_write(&sink, self.map_blocks(input.z));
                self.pool_back(*input, *window, *largest, (layer, d), out);
                self.keep_sums(&sink, sums, g);
            }
            ProgramStep::Gather { sources, map, .. } => {
                for (index, source) in sources.iter().enumerate() {
                    let mut channels = vec![None; self.plan.channels[source.z]];
                    for (to, &(of, channel)) in map.iter().enumerate() {
                        if of == index {
                            channels[channel] = Some(to);
                        }
                    }
                    let sink = self.contribute(*source, g);
                    let (out, sums) = self.sink_write(&sink, self.map_blocks(source.z));
                    self.move_channels(d, &channels, source.z, out);
                    self.keep_sums(&sink, sums, g);
                }
            }
            ProgramStep::Other { input, .. } => {
                let sink = self.contribute(*input, g);
                // Its input is stored as it is read, so that no normalisation needs sums.
                let (out, _) = self.sink_write(&sink, 0);
                self.other_back(layer, *input, d, out);
            }
        }
    }

    /// Leaves the gradient of a product with factors to the average of the same map, if nothing else reads the map.
    fn leave_to_average(
        &mut self,
        map: Value,
        factors: usize,
        d: Place,
        g: &mut Gradients,
    ) -> bool {
        let at = map.slot();
        let averaged = (self.program.steps.iter())
            .any(|step| matches!(step, ProgramStep::Average { input, .. } if *input == map));
        let Some(count) = g.shared.get_mut(&d.at) else {
            return false;
        };
        if !averaged || g.left[at] != 2 {
            return false;
        }
        *count += 1;
        g.left[at] -= 1;
        g.gated[at] = Some((d, factors));
        true
    }

    fn conv_back(&mut self, index: usize, step: &ConvStep, place: Place, g: &mut Gradients) {
        let layer = step.layer;
        let mut d = self.plain(place);
        if let Some(norm) = g.behind[layer].and_then(|norm| self.norms[norm]) {
            let z = self.value(layer);
            (d.z, d.ldz) = (z.at, z.stride as i32);
            [d.a, d.b, d.c] = norm.backward;
        }
        if let Some(bias) = step.conv.bias {
            self.bias_gradient(bias, d, self.extent(layer));
        }
        let x = match step.input {
            Some(value) => self.read(value),
            None => self.plain(self.value(0)),
        };
        let Some(packed) = self.packed[index] else {
            unreachable!("the weights of convolutions are packed first");
        };
        let Some(input) = step.input else {
            return self.convolve_back(step, packed, (x, d), None);
        };
        let sink = self.contribute(input, g);
        let blocks = self.blocks_back(&step.conv, input.z);
        let (out, sums) = self.sink_write(&sink, blocks);
        self.convolve_back(step, packed, (x, d), Some(out));
        self.keep_sums(&sink, sums, g);
    }

    fn norm_back(&mut self, layer: usize, z: usize, norm: &engine::BatchNorm, g: &mut Gradients) {
        let Some(place) = g.content[norm_slot(layer)].take() else {
            g.left[slot(z)] -= 1;
            return;
        };
        let (width, value) = (self.width(z), self.value(z));
        let sums = match g.sums[layer] {
            Some(sums) => sums,
            None => self.sum_pass(self.plain(place), Some(value), self.extent(z)),
        };
        let Some(coefficients) = self.norms[layer] else {
            unreachable!("the forward pass made the coefficients");
        };
        let [a, b, c] = coefficients.backward;
        let args = Norm {
            sums: sums.at,
            blocks: sums.blocks as i32,
            channels: norm.channels as i32,
            width8: width as i32,
            mean: coefficients.mean,
            deviation: coefficients.deviation,
            weight: self.parameter(norm.weight),
            a,
            b,
            c,
            weight_gradient: self.gradient(norm.weight),
            bias_gradient: self.gradient(norm.weight + 1),
            rows: self.rows(z) as f32,
            ..Norm::default()
        };
        let grid = [width.div_ceil(64), 1, 1];
        self.launches
            .push(Launch::new("norm_backward", 64, grid, &args));
        self.release(sums.at);
        let is_conv = (self.program.steps.iter())
            .any(|step| matches!(step, ProgramStep::Conv(step) if step.layer == z));
        if is_conv && g.left[slot(z)] == 1 && g.content[slot(z)].is_none() {
            g.left[slot(z)] -= 1;
            g.content[slot(z)] = Some(place);
            g.behind[z] = Some(layer);
            return;
        }
        g.ended.push(place.at);
        let d = Read {
            z: value.at,
            ldz: value.stride as i32,
            a,
            b,
            c,
            ..self.plain(place)
        };
        self.map_back(Value::stored(z), d, None, g);
    }
}
