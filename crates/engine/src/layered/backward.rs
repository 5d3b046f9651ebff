//! The order and the memory of the backward pass.
//!
//! A value that several layers read has several gradients, which are added as they come. A convolution that only a
//! normalisation reads takes its gradient from that of the normalisation's output, so that the gradient of the
//! convolution's output itself is never stored.

use super::places::{Place, Pool};
use super::space::{BackStep, Batch, Behind, Sink};
use crate::memory::planes;
use crate::network::Plan;
use crate::program::{ConvStep, Kind, Program, Step, Value, norm_slot, slot};
use crate::simd::LANES;
use crate::spec::Activation;

/// The steps of the backward pass. The first has no step of the program: its `d` is the gradient of the logits.
pub(super) fn plan_backward(
    plan: &Plan,
    program: &Program,
    batch: &Batch,
    pool: &mut Pool,
) -> Vec<BackStep> {
    let slots = 2 * plan.layers.len();
    let mut left = vec![0; slots];
    for step in &program.steps {
        for input in step.inputs() {
            left[input.slot()] += 1;
        }
    }
    let convolutions = program.steps.iter().filter_map(|step| match step {
        // The gradient of a bias needs that of the output.
        Step::Conv(ConvStep { layer, conv, .. }) if conv.bias.is_none() => Some(*layer),
        _ => None,
    });
    let mut sole = vec![false; plan.layers.len()];
    for layer in convolutions {
        sole[layer] = left[slot(layer)] == 1 && program.parts[layer].is_none();
    }
    let roots = (program.roots.iter())
        .map(|layers| {
            let channels: usize = layers.iter().map(|&layer| plan.channels[layer]).sum();
            Root {
                buffer: None,
                written: vec![false; planes(channels)],
                left: layers.len(),
            }
        })
        .collect();
    let mut planner = Planner {
        program,
        batch,
        pool,
        left,
        content: vec![None; slots],
        behind: vec![Behind::Nothing; plan.layers.len()],
        gated: vec![None; slots],
        plan,
        summed: vec![false; slots],
        sole,
        roots,
        ended: Vec::new(),
        zeros: Vec::new(),
    };
    let logits = plan.layers.len() - 1;
    let buffer = planner.pool.take(batch.length(logits));
    planner.content[slot(logits)] = Some(buffer);
    let mut steps = vec![BackStep {
        d: Some(planner.place(slot(logits), buffer)),
        ..BackStep::of(usize::MAX)
    }];
    for (index, step) in program.steps.iter().enumerate().rev() {
        let mut back = planner.step(index, step);
        back.zeros = std::mem::take(&mut planner.zeros);
        for buffer in std::mem::take(&mut planner.ended) {
            planner.pool.release(buffer);
        }
        steps.push(back);
    }
    steps
}

impl BackStep {
    fn of(step: usize) -> BackStep {
        BackStep {
            step,
            d: None,
            behind: Behind::Nothing,
            gate: None,
            direct: false,
            changed: None,
            sinks: Vec::new(),
            zeros: Vec::new(),
            sums: false,
        }
    }
}

/// The gradients of values that lie one after the other.
struct Root {
    buffer: Option<usize>,
    /// For each plane, whether it has a gradient yet.
    written: Vec<bool>,
    /// Number of values whose gradient was not used yet.
    left: usize,
}

struct Planner<'a> {
    program: &'a Program,
    batch: &'a Batch,
    pool: &'a mut Pool,
    /// Number of contributions to each gradient that are still to come.
    left: Vec<usize>,
    /// The buffer of each gradient.
    content: Vec<Option<usize>>,
    /// What the gradient of each stored layer lacks.
    behind: Vec<Behind>,
    /// For each gradient, that of a product with factors which is still to be added, and the layer of the factors.
    gated: Vec<Option<(Place, usize)>>,
    plan: &'a Plan,
    /// Whether the sums of a normalisation were computed with its gradient.
    summed: Vec<bool>,
    /// Convolutions with one reader.
    sole: Vec<bool>,
    roots: Vec<Root>,
    /// Buffers that are free after the current step.
    ended: Vec<usize>,
    zeros: Vec<Place>,
}

impl Planner<'_> {
    fn place(&self, slot: usize, buffer: usize) -> Place {
        Place {
            buffer,
            plane: 0,
            stride: self.batch.stride(slot / 2),
        }
    }

    /// The place of a layer in its root.
    fn part(&self, layer: usize, buffer: usize) -> Place {
        let plane = self.program.parts[layer].map_or(0, |(_, channel)| channel / LANES);
        Place {
            plane,
            ..self.place(slot(layer), buffer)
        }
    }

    /// The planes of a layer in its root.
    fn planes(&self, layer: usize) -> Option<(usize, std::ops::Range<usize>)> {
        let (root, channel) = self.program.parts[layer]?;
        let first = channel / LANES;
        let count = planes(self.batch.shapes[layer].channels);
        Some((root, first..first + count))
    }

    /// Uses up the gradient of a stored layer. Its buffer is free after the step.
    fn take(&mut self, layer: usize) -> Option<Place> {
        let Some((root, range)) = self.planes(layer) else {
            let buffer = self.content[slot(layer)].take()?;
            self.ended.push(buffer);
            return Some(self.place(slot(layer), buffer));
        };
        let state = &mut self.roots[root];
        state.left -= 1;
        let found = state.buffer;
        if state.left == 0 {
            self.ended.extend(state.buffer.take());
        }
        let written = self.roots[root].written[range].contains(&true);
        found
            .filter(|_| written)
            .map(|buffer| self.part(layer, buffer))
    }

    /// A new contribution to the gradient of a value. `sums` tells whether the step can compute the sums of a
    /// normalisation.
    fn contribute(&mut self, value: Value, sums: bool) -> Sink {
        let at = value.slot();
        self.left[at] -= 1;
        let sums = sums && value.norm.is_some() && self.left[at] == 0;
        self.summed[at] |= sums;
        let (target, addend) = match (value.norm, self.planes(value.z)) {
            (None, Some((root, range))) => self.contribute_part(value.z, root, range),
            _ => {
                let old = self.content[at];
                let buffer = match old {
                    Some(buffer) if !self.pool.is_shared(buffer) => buffer,
                    _ => self.pool.take(self.batch.length(at / 2)),
                };
                if let Some(old) = old
                    && old != buffer
                {
                    self.ended.push(old);
                }
                self.content[at] = Some(buffer);
                (
                    self.place(at, buffer),
                    old.map(|buffer| self.place(at, buffer)),
                )
            }
        };
        Sink {
            value,
            target,
            addend,
            sums,
            same: false,
            direct: false,
        }
    }

    /// The contribution of a convolution that alone reads a normalisation of values that others read too. The gradient
    /// of the normalisation's output is not stored.
    fn skip_norm(&mut self, step: &ConvStep) -> Option<Sink> {
        let value = step.input.filter(|_| step.kind == Kind::Pointwise)?;
        let own = norm_slot(value.norm?);
        if self.left[own] != 1 || self.content[own].is_some() || self.sole[value.z] {
            return None;
        }
        self.left[own] = 0;
        self.summed[own] = true;
        for member in self.program.members(self.plan, value.z) {
            self.behind[member] = Behind::Correction;
        }
        Some(Sink {
            value,
            sums: true,
            direct: true,
            ..self.contribute(Value::stored(value.z), false)
        })
    }

    /// Leaves the gradient of a product with factors to the average of the same map, if nothing else reads the map.
    fn leave_to_average(&mut self, map: Value, factors: usize, d: Place) -> bool {
        let at = map.slot();
        let averaged = (self.program.steps.iter())
            .any(|step| matches!(step, Step::Average { input, .. } if *input == map));
        if !averaged || self.left[at] != 2 {
            return false;
        }
        self.left[at] -= 1;
        self.pool.share(d.buffer);
        self.gated[at] = Some((d, factors));
        true
    }

    fn contribute_part(
        &mut self,
        layer: usize,
        root: usize,
        range: std::ops::Range<usize>,
    ) -> (Place, Option<Place>) {
        let buffer = match self.roots[root].buffer {
            Some(buffer) => buffer,
            None => self.pool.take(self.batch.total(&self.program.roots[root])),
        };
        let target = self.part(layer, buffer);
        let state = &mut self.roots[root];
        state.buffer = Some(buffer);
        let any = state.written[range.clone()].contains(&true);
        for plane in range {
            if any && !state.written[plane] {
                self.zeros.push(Place { plane, ..target });
            }
            state.written[plane] = true;
        }
        (target, any.then_some(target))
    }

    /// Passes a gradient on unchanged. `sums` as for [`Planner::contribute`].
    fn pass(&mut self, value: Value, from: Place, sums: bool) -> Sink {
        let at = value.slot();
        let is_part = value.norm.is_none() && self.program.parts[value.z].is_some();
        if is_part || self.content[at].is_some() {
            return self.contribute(value, false);
        }
        self.left[at] -= 1;
        self.pool.share(from.buffer);
        self.content[at] = Some(from.buffer);
        let sums = sums && value.norm.is_some() && self.left[at] == 0;
        self.summed[at] |= sums;
        Sink {
            value,
            target: from,
            addend: None,
            sums,
            same: true,
            direct: false,
        }
    }

    fn step(&mut self, index: usize, step: &Step) -> BackStep {
        let mut back = BackStep::of(index);
        if let Step::Norm { layer, z, .. } = step {
            self.norm(*layer, *z, &mut back);
            return back;
        }
        let layer = step.layer();
        let d = self.take(layer);
        back.d = d;
        back.behind = self.behind[layer];
        let Some(d) = d else {
            for input in step.inputs() {
                self.left[input.slot()] -= 1;
            }
            return back;
        };
        match step {
            Step::Add {
                inputs, activation, ..
            } => {
                let mut from = d;
                let changes = *activation != Activation::Identity;
                let in_root = self.program.parts[layer].is_some();
                if in_root || (changes && self.pool.is_shared(d.buffer)) {
                    let buffer = self.pool.take(self.batch.length(layer));
                    self.ended.push(buffer);
                    from = self.place(slot(layer), buffer);
                }
                back.changed = (in_root || changes).then_some(from);
                for input in inputs {
                    let sink = self.pass(*input, from, changes);
                    back.sinks.push(sink);
                }
            }
            Step::Gate { map, factors, .. } => {
                let sink = self.contribute(Value::stored(*factors), false);
                back.sinks.push(sink);
                if !self.leave_to_average(*map, *factors, d) {
                    let sink = self.contribute(*map, true);
                    back.sinks.push(sink);
                }
            }
            Step::Average { input, .. } => {
                back.gate = self.gated[input.slot()].take();
                self.ended.extend(back.gate.map(|(place, _)| place.buffer));
                let sink = self.contribute(*input, true);
                back.sinks.push(sink);
            }
            Step::Conv(step) => {
                let sink = self.skip_norm(step);
                let sink = sink.or_else(|| Some(self.contribute(step.input?, true)));
                back.sinks.extend(sink);
            }
            Step::Pool { input, .. } => {
                let sink = self.contribute(*input, true);
                if sink.addend.is_some() {
                    let buffer = self.pool.take(self.batch.length(input.z));
                    self.ended.push(buffer);
                    back.changed = Some(self.place(slot(input.z), buffer));
                }
                back.sinks.push(sink);
            }
            _ => {
                for input in step.inputs() {
                    let sink = self.contribute(input, true);
                    back.sinks.push(sink);
                }
            }
        }
        back
    }

    fn norm(&mut self, layer: usize, z: usize, back: &mut BackStep) {
        let own = norm_slot(layer);
        back.sums = !self.summed[own];
        let Some(buffer) = self.content[own].take() else {
            back.direct = self.summed[own];
            if !back.direct {
                self.left[slot(z)] -= 1;
            }
            return;
        };
        back.d = Some(self.place(own, buffer));
        if self.sole[z] {
            self.left[slot(z)] -= 1;
            self.content[slot(z)] = Some(buffer);
            self.behind[z] = Behind::Norm(layer);
            return;
        }
        self.ended.push(buffer);
        let sink = self.contribute(Value::stored(z), false);
        back.sinks.push(sink);
    }
}
