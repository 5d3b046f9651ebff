//! The forward pass of a training step.

use engine::program::{Program, Step as ProgramStep, Value};
use engine::{BatchNorm, Plan};

use super::convolution::Form;
use super::{Coefficients, Maker, Place, SumsAt, width8};
use crate::args::{Image, Norm, Write, number};
use crate::device::Launch;

impl Maker<'_> {
    /// Images become the value of layer 0.
    pub(super) fn images(&mut self) {
        let rows = self.rows(0);
        let per_channel = if self.batch.bytes { 1 } else { 4 };
        self.ports.pixels = self.take(3 * per_channel * rows);
        self.ports.table = match self.batch.bytes {
            true => self.floats(256 * 3),
            false => 0,
        };
        let place = self.new_place(0);
        self.values[0] = Some(place);
        let args = Image {
            pixels: self.ports.pixels,
            table: self.ports.table,
            out: place.at,
            rows: rows as i32,
            unused: 0,
        };
        let moved = rows * (3 * per_channel + 8 * self.storage.bytes());
        let launch = Launch::new("image", 128, [rows.div_ceil(128), 1, 1], &args);
        self.launches.push(launch.costs(moved, 0));
    }

    pub(super) fn forward(&mut self) {
        self.images();
        for &layer in &self.program.masks {
            let stride = self.width(layer);
            let at = self.take(self.batch.images * stride * self.storage.bytes());
            self.ports.masks.push((at, layer));
        }
        let steps = &self.program.steps;
        for (index, step) in steps.iter().enumerate() {
            match step {
                ProgramStep::Norm { layer, z, norm } => self.norm(*layer, *z, norm),
                step if self.gates[step.layer()].is_some() => {}
                step => {
                    let (out, sums) = self.target(step.layer(), index);
                    self.compute(index, out);
                    self.finish_sums(step.layer(), sums);
                }
            }
        }
        let logits = self.plan.layers.len() - 1;
        self.ports.logits = self.values[logits];
    }

    /// The place of a step's value.
    pub(super) fn place_value(&mut self, layer: usize) -> Place {
        let place = match self.program.parts[layer] {
            Some((root, channel)) => {
                let root = self.root(root);
                self.channel(root, channel)
            }
            None if layer + 1 == self.plan.layers.len() => self.logits_place(layer),
            None => self.new_place(layer),
        };
        self.values[layer] = Some(place);
        place
    }

    /// Memory for values that lie side by side. Concatenations of them are places in it.
    fn root(&mut self, root: usize) -> Place {
        if let Some(place) = self.roots.get(&root) {
            return *place;
        }
        let layers = &self.program.roots[root];
        let channels: usize = layers.iter().map(|&layer| self.plan.channels[layer]).sum();
        let stride = width8(channels);
        let at = self.take(self.rows(layers[0]) * stride * self.storage.bytes());
        let place = Place { at, stride };
        self.roots.insert(root, place);
        for layer in 0..self.plan.layers.len() {
            if let Some((of, channel)) = self.program.parts[layer]
                && of == root
            {
                self.values[layer] = Some(self.channel(place, channel));
            }
        }
        place
    }

    /// How a step's value is written. `Some` with the sums that a normalisation needs.
    fn target(&mut self, layer: usize, index: usize) -> (Write, Option<SumsAt>) {
        let place = self.place_value(layer);
        let mut out = self.write(place);
        if layer + 1 == self.plan.layers.len() {
            out.wide = 1;
        }
        if !self.summed[layer] {
            return (out, None);
        }
        let blocks = match &self.program.steps[index] {
            ProgramStep::Conv(step) => self.blocks_of(&step.conv, layer),
            // Their kernels add nothing up.
            ProgramStep::Average { .. } | ProgramStep::Other { .. } => return (out, None),
            _ => self.map_blocks(layer),
        };
        let at = self.floats(blocks * 2 * self.width(layer));
        out.sums = at;
        (out, Some(SumsAt { at, blocks }))
    }

    /// Adds the sums of blocks, or computes them if the step did not.
    pub(super) fn finish_sums(&mut self, layer: usize, sums: Option<SumsAt>) {
        if !self.summed[layer] {
            return;
        }
        let found = match sums {
            Some(sums) => self.few(sums, self.width(layer)),
            None => {
                let extent = self.extent(layer);
                self.sum_pass(self.plain(self.value(layer)), None, extent)
            }
        };
        self.sums[layer] = Some(found);
    }

    /// Fewer rows of sums.
    pub(super) fn few(&mut self, sums: SumsAt, width: usize) -> SumsAt {
        let (at, blocks) = self.reduce(sums.at, sums.blocks, 2 * width);
        SumsAt { at, blocks }
    }

    /// Computes the value of a step other than a normalisation.
    pub(super) fn compute(&mut self, index: usize, mut out: Write) {
        let program = self.program;
        let step = &program.steps[index];
        let layer = step.layer();
        match step {
            ProgramStep::Norm { .. } => {}
            ProgramStep::Conv(step) => {
                let Some(packed) = self.packed[index] else {
                    unreachable!("the weights of convolutions are packed first");
                };
                let x = match step.input {
                    Some(value) => self.read(value),
                    None => self.plain(self.value(0)),
                };
                out.bias = packed.bias;
                out.act = number(step.after.activation);
                if let Some(addend) = step.after.addend {
                    let place = self.value(addend);
                    (out.addend, out.lda) = (place.at, place.stride as i32);
                }
                self.convolve(step, packed, x, out);
            }
            ProgramStep::Make { input, .. } => self.map(self.read(*input), None, out, layer),
            ProgramStep::Add {
                inputs: [a, b],
                activation,
                ..
            } => {
                out.act = number(*activation);
                self.map(self.read(*a), Some(self.read(*b)), out, layer);
            }
            ProgramStep::Gate { map, factors, .. } => {
                let x = self.with_factors(self.read(*map), self.value(*factors), layer);
                self.map(x, None, out, layer);
            }
            ProgramStep::Mask { input, mask, .. } => {
                let x = self.with_factors(self.read(*input), self.mask(*mask), layer);
                self.map(x, None, out, layer);
            }
            ProgramStep::Pool {
                input,
                window,
                largest,
                ..
            } => self.pool(*input, *window, *largest, layer, out),
            ProgramStep::Average { input, .. } => {
                let share = 1.0 / self.shapes[input.z].pixels() as f32;
                self.pixels(self.read(*input), None, share, input.z, out);
            }
            ProgramStep::Gather { sources, map, .. } => self.gather(sources, map, layer, out),
            ProgramStep::Other { input, .. } => self.other(layer, *input, out),
        }
    }

    pub(super) fn mask(&self, mask: usize) -> Place {
        let (at, layer) = self.ports.masks[mask];
        Place {
            at,
            stride: self.width(layer),
        }
    }

    /// The coefficients of a batch normalisation from the sums of its input.
    fn norm(&mut self, layer: usize, z: usize, norm: &BatchNorm) {
        let coefficients = self.coefficients(layer, z);
        let mut start = 0;
        for member in self.program.members(self.plan, z) {
            let Some(sums) = self.sums[member] else {
                unreachable!("the sums of a normalisation's input were computed with it");
            };
            let channels = self.plan.channels[member];
            let skip = |at| at + 4 * start as u64;
            let args = Norm {
                sums: sums.at,
                blocks: sums.blocks as i32,
                channels: channels as i32,
                width8: width8(channels) as i32,
                scale: skip(coefficients.scale),
                shift: skip(coefficients.shift),
                mean: skip(coefficients.mean),
                deviation: skip(coefficients.deviation),
                weight: skip(self.parameter(norm.weight)),
                bias: skip(self.parameter(norm.weight + 1)),
                running_mean: skip(self.statistic(norm.statistics)),
                running_variance: skip(self.statistic(norm.statistics + 1)),
                momentum: self.fixed.momentum,
                rows: self.rows(z) as f32,
                epsilon: norm.epsilon as f32,
                ..Norm::default()
            };
            let grid = [width8(channels).div_ceil(64), 1, 1];
            self.launches
                .push(Launch::new("norm_forward", 64, grid, &args));
            start += channels;
        }
    }

    pub(super) fn statistic(&self, index: usize) -> u64 {
        let range = &self.plan.statistics.segments()[index].range;
        self.fixed.statistics + 4 * range.start as u64
    }

    /// Memory for the coefficients of a normalisation of `z`.
    pub(super) fn coefficients(&mut self, layer: usize, z: usize) -> Coefficients {
        let width = self.width(z);
        let found = Coefficients {
            scale: self.floats(width),
            shift: self.floats(width),
            mean: self.floats(width),
            deviation: self.floats(width),
            backward: [(); 3].map(|()| self.floats(width)),
        };
        self.norms[layer] = Some(found);
        found
    }

    /// Copies channels: one launch for each source, which leaves the others' channels as they are.
    fn gather(&mut self, sources: &[Value], map: &[(usize, usize)], layer: usize, out: Write) {
        for (index, source) in sources.iter().enumerate() {
            let from = |&(of, channel): &(usize, usize)| (of == index).then_some(channel);
            let channels: Vec<Option<usize>> = map.iter().map(from).collect();
            let mut own = out;
            if index > 0 {
                (own.addend, own.lda) = (out.y, out.ldy);
            }
            if index + 1 < sources.len() {
                own.sums = 0;
            }
            self.move_channels(self.read(*source), &channels, layer, own);
        }
    }
}

/// By layer, the map and the factors of products that need not be stored: only matrix products read them.
pub(super) fn gates(plan: &Plan, program: &Program) -> Vec<Option<(Value, usize)>> {
    let mut found = vec![None; plan.layers.len()];
    for step in &program.steps {
        if let ProgramStep::Gate {
            layer,
            map,
            factors,
        } = step
            && !is_needed(plan, program, *layer)
        {
            found[*layer] = Some((*map, *factors));
        }
    }
    found
}

/// Whether the value of a product with factors must be stored.
fn is_needed(plan: &Plan, program: &Program, layer: usize) -> bool {
    let is = |value: &Value| value.z == layer;
    let results = [plan.features, plan.layers.len() - 1].map(|result| program.values[result]);
    let is_read = |step: &ProgramStep| match step {
        ProgramStep::Conv(step) => {
            let multiplies = matches!(Form::of(&step.conv), Form::Product(_));
            let mut input = step.input.iter();
            let reads = input.any(|value| is(value) && !(multiplies && value.is_plain()));
            reads || step.after.addend == Some(layer)
        }
        step => step.inputs().iter().any(is),
    };
    program.parts[layer].is_some()
        || results.iter().flatten().any(is)
        || program.steps.iter().any(is_read)
}
