//! Inference: normalisations are folded into the weights, and values share memory.

use engine::program::{Program, Step as ProgramStep, Value, last_readers};
use engine::{BatchNorm, Plan};

use super::convolution::Form;
use super::{BatchShape, Coefficients, Fixed, Maker, Packed, Step, width8};
use crate::args::Norm;
use crate::device::{Launch, Storage};

/// Weights for inference, in memory from a base on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folded {
    packed: Vec<Option<Packed>>,
    norms: Vec<Option<Coefficients>>,
    /// What computes them from the parameters.
    pub(crate) launches: Vec<Launch>,
    pub(crate) bytes: usize,
}

/// Any batch: the weights do not depend on it.
const ONE: BatchShape = BatchShape {
    images: 1,
    height: 256,
    width: 256,
    bytes: false,
};

/// Packs the weights of a folded program. `norms` has the normalisation that is folded into each step.
pub(crate) fn fold(
    plan: &Plan,
    program: &Program,
    norms: &[Option<BatchNorm>],
    storage: Storage,
    fixed: Fixed,
    base: u64,
) -> Folded {
    let mut maker = Maker::new(plan, program, storage, ONE, fixed, base);
    for (index, step) in program.steps.iter().enumerate() {
        match step {
            ProgramStep::Norm { layer, z, norm } => {
                let coefficients = maker.coefficients(*layer, *z);
                maker.fix(norm, 0, coefficients);
            }
            ProgramStep::Conv(step) => {
                let bias = step.conv.bias.map_or(0, |bias| maker.parameter(bias));
                let (mut scale, mut shift) = (0, bias);
                if let Some(norm) = &norms[index] {
                    let width = width8(norm.channels);
                    let coefficients = Coefficients {
                        scale: maker.floats(width),
                        shift: maker.floats(width),
                        mean: 0,
                        deviation: 0,
                        backward: [0; 3],
                    };
                    maker.fix(norm, bias, coefficients);
                    (scale, shift) = (coefficients.scale, coefficients.shift);
                }
                let forward = match Form::of(&step.conv) {
                    Form::Product(groups) => maker.pack(&step.conv, groups, scale, false),
                    Form::Depthwise { .. } => 0,
                };
                maker.packed[index] = Some(Packed {
                    forward,
                    backward: 0,
                    bias: shift,
                });
            }
            _ => {}
        }
    }
    Folded {
        packed: maker.packed,
        norms: maker.norms,
        launches: maker.launches,
        bytes: maker.heap.size as usize,
    }
}

impl Maker<'_> {
    /// Coefficients from running statistics. `before` is the bias of the convolution before.
    fn fix(&mut self, norm: &BatchNorm, before: u64, to: Coefficients) {
        let args = Norm {
            weight: self.parameter(norm.weight),
            bias: self.parameter(norm.weight + 1),
            running_mean: self.statistic(norm.statistics),
            running_variance: self.statistic(norm.statistics + 1),
            before,
            scale: to.scale,
            shift: to.shift,
            channels: norm.channels as i32,
            width8: width8(norm.channels) as i32,
            epsilon: norm.epsilon as f32,
            ..Norm::default()
        };
        let grid = [width8(norm.channels).div_ceil(64), 1, 1];
        self.launches
            .push(Launch::new("norm_fixed", 64, grid, &args));
    }
}

/// The launches of inference for images of one shape.
pub(crate) fn infer(
    plan: &Plan,
    program: &Program,
    folded: &Folded,
    storage: Storage,
    batch: BatchShape,
    fixed: Fixed,
    base: u64,
) -> Step {
    let mut maker = Maker::new(plan, program, storage, batch, fixed, base);
    maker.packed.clone_from(&folded.packed);
    maker.norms.clone_from(&folded.norms);
    maker.images();
    let mut last = last_readers(plan, program);
    for (layer, gate) in maker.gates.iter().enumerate() {
        if let Some((map, factors)) = gate {
            last[map.z] = last[map.z].max(last[layer]);
            last[*factors] = last[*factors].max(last[layer]);
        }
    }
    for (index, step) in program.steps.iter().enumerate() {
        let layer = step.layer();
        if step.is_norm() || maker.gates[layer].is_some() {
            continue;
        }
        let place = maker.place_value(layer);
        let mut out = maker.write(place);
        if layer + 1 == plan.layers.len() {
            out.wide = 1;
        }
        maker.compute(index, out);
        let in_own_memory = |&layer: &usize| program.parts[layer].is_none();
        let ended = (0..plan.layers.len())
            .filter(|&layer| last[layer] == index)
            .filter(in_own_memory);
        for layer in ended.collect::<Vec<_>>() {
            if let Some(place) = maker.values[layer].take() {
                maker.release(place.at);
            }
        }
    }
    let place = |value: Option<Value>| value.and_then(|value| maker.values[value.z]);
    maker.ports.logits = place(program.values[plan.layers.len() - 1]);
    maker.ports.features = place(program.values[plan.features]);
    Step {
        forward: maker.launches,
        backward: Vec::new(),
        ports: maker.ports,
        bytes: maker.heap.size as usize,
    }
}
