//! The steps of inference: normalisations are folded into the convolutions before them, and sums and activations are
//! computed with the outputs of convolutions.
//!
//! A normalisation that cannot be folded, after a depthwise convolution or of values that several layers read, is
//! applied by its readers, with coefficients from the running statistics.

use super::steps::{Kind, Program, Step, Value};
use crate::kernels::is_for_maps;
use crate::network::{BatchNorm, Plan};
use crate::spec::Activation;

/// The steps of a program for inference, and the normalisations that were folded: for each convolution's layer.
pub(super) struct Folding {
    pub(super) program: Program,
    /// The normalisation that is folded into each step's weights.
    pub(super) norms: Vec<Option<BatchNorm>>,
}

/// Rewrites the steps of training.
pub(super) fn fold(plan: &Plan, program: &Program) -> Folding {
    let mut program = program.clone();
    skip_masks(&mut program);
    let norms = fold_norms(plan, &mut program);
    activate(plan, &mut program);
    add(&mut program);
    let mut folded = Vec::new();
    program.steps.retain(|step| match step {
        // Folded normalisations are no steps any more.
        Step::Norm { layer, .. } => norms[*layer].is_none(),
        _ => true,
    });
    for step in &program.steps {
        let norm = match step {
            Step::Conv(step) => step.after.norm.and_then(|layer| norms[layer].clone()),
            _ => None,
        };
        folded.push(norm);
    }
    Folding {
        program,
        norms: folded,
    }
}

/// Changes all values that the steps read.
fn each_value(program: &mut Program, mut change: impl FnMut(&mut Value)) {
    for value in program.values.iter_mut().flatten() {
        change(value);
    }
    for step in &mut program.steps {
        match step {
            Step::Conv(step) => step.input.iter_mut().for_each(&mut change),
            Step::Add { inputs, .. } => inputs.iter_mut().for_each(&mut change),
            Step::Gather { sources, .. } => sources.iter_mut().for_each(&mut change),
            Step::Gate { map: input, .. }
            | Step::Make { input, .. }
            | Step::Pool { input, .. }
            | Step::Average { input, .. }
            | Step::Mask { input, .. } => change(input),
            Step::Norm { .. } => {}
        }
    }
}

/// Reads the inputs of dropouts instead of their outputs.
fn skip_masks(program: &mut Program) {
    let masks: Vec<(usize, Value)> = (program.steps.iter())
        .filter_map(|step| match step {
            Step::Mask { layer, input, .. } => Some((*layer, *input)),
            _ => None,
        })
        .collect();
    for (layer, input) in masks {
        let plain = input.is_plain();
        let needed = program.parts[layer].is_some()
            || (program.steps.iter()).any(|step| match step {
                Step::Norm { z, .. } => *z == layer,
                Step::Gate { factors, .. } => *factors == layer,
                _ => step.inputs().iter().any(|value| {
                    // Convolutions alone apply an activation to what they read.
                    let applies = matches!(step, Step::Conv(_));
                    let twice = !plain && value.activation != Activation::Identity;
                    let ignored = !applies && input.activation != Activation::Identity;
                    value.z == layer && (twice || ignored)
                }),
            });
        if needed {
            // It is computed, as a copy.
            for step in &mut program.steps {
                if let Step::Mask { input, .. } = *step
                    && step.layer() == layer
                {
                    *step = Step::Make { layer, input };
                }
            }
            continue;
        }
        program.steps.retain(|step| step.layer() != layer);
        each_value(program, |value| {
            if value.z == layer {
                let after = value.activation;
                *value = input;
                if after != Activation::Identity {
                    value.activation = after;
                }
            }
        });
    }
}

fn convolution(program: &Program, layer: usize) -> Option<usize> {
    let fits = |step: &Step| {
        step.layer() == layer && matches!(step, Step::Conv(step) if step.kind != Kind::Depthwise)
    };
    program.steps.iter().position(fits)
}

/// Folds normalisations. Returns them by layer.
fn fold_norms(plan: &Plan, program: &mut Program) -> Vec<Option<BatchNorm>> {
    let mut norms_of = vec![0; plan.layers.len()];
    let mut plain = vec![false; plan.layers.len()];
    for step in &program.steps {
        match step {
            Step::Norm { z, .. } => norms_of[*z] += 1,
            _ => {
                for value in step.inputs() {
                    plain[value.z] |= value.norm.is_none();
                }
            }
        }
    }
    let mut folded = vec![None; plan.layers.len()];
    for index in 0..program.steps.len() {
        let Step::Norm { layer, z, norm } = program.steps[index].clone() else {
            continue;
        };
        let Some(place) = convolution(program, z) else {
            continue;
        };
        if norms_of[z] != 1 || plain[z] || program.parts[z].is_some() {
            continue;
        }
        if let Step::Conv(step) = &mut program.steps[place] {
            step.after.norm = Some(layer);
        }
        folded[layer] = Some(norm);
        each_value(program, |value| {
            if value.norm == Some(layer) {
                value.norm = None;
            }
        });
    }
    folded
}

/// Stores convolutions' outputs after the activation that all readers apply.
fn activate(plan: &Plan, program: &mut Program) {
    for place in 0..program.steps.len() {
        let Step::Conv(step) = &program.steps[place] else {
            continue;
        };
        let layer = step.layer;
        if step.kind == Kind::Depthwise || program.parts[layer].is_some() {
            continue;
        }
        let mut found: Vec<Value> = (program.steps.iter())
            .filter(|step| !matches!(step, Step::Norm { z, .. } if *z != layer))
            .flat_map(|step| step.inputs())
            .filter(|value| value.z == layer)
            .collect();
        let results = [plan.features, plan.layers.len() - 1];
        let results = results.iter().filter_map(|&result| program.values[result]);
        found.extend(results.filter(|value| value.z == layer));
        let Some(first) = found.first().copied() else {
            continue;
        };
        let mapped = is_for_maps(first.activation);
        if !mapped || first.norm.is_some() || found.iter().any(|value| *value != first) {
            continue;
        }
        if let Step::Conv(step) = &mut program.steps[place] {
            step.after.activation = first.activation;
        }
        each_value(program, |value| {
            if value.z == layer && value.norm.is_none() {
                value.activation = Activation::Identity;
            }
        });
    }
}

/// Adds to a convolution's outputs what a sum adds.
fn add(program: &mut Program) {
    let mut index = 0;
    while index < program.steps.len() {
        if let Step::Add {
            layer,
            inputs: [a, b],
            activation,
        } = program.steps[index]
        {
            let both = [(a, b), (b, a)];
            let found = (both.into_iter())
                .filter_map(|(own, other)| Some((target(program, own, other)?, other)))
                .max_by_key(|(place, _)| *place);
            if let Some((place, other)) = found {
                if let Step::Conv(step) = &mut program.steps[place] {
                    step.layer = layer;
                    step.after.addend = Some(other.z);
                    step.after.activation = activation;
                }
                program.steps.remove(index);
                continue;
            }
        }
        index += 1;
    }
}

/// The convolution that can compute a sum: it computes `own`, which only the sum reads, after `other`.
fn target(program: &Program, own: Value, other: Value) -> Option<usize> {
    let place = convolution(program, own.z)?;
    let Step::Conv(step) = &program.steps[place] else {
        return None;
    };
    let reads = program.steps.iter().flat_map(Step::inputs);
    let sole = reads.filter(|value| value.z == own.z).count() == 1;
    let ready = program.steps[..place]
        .iter()
        .any(|step| step.layer() == other.z)
        && program.parts[other.z].is_none();
    let fits = own.is_plain()
        && other.is_plain()
        && own.z != other.z
        && step.kind != Kind::Stem
        && step.after.addend.is_none()
        && step.after.activation == Activation::Identity
        && program.parts[own.z].is_none();
    (sole && ready && fits).then_some(place)
}

/// For each stored layer, the last step that reads it.
pub(super) fn last_readers(plan: &Plan, program: &Program) -> Vec<usize> {
    let mut last = vec![0; plan.layers.len()];
    for (index, step) in program.steps.iter().enumerate() {
        last[step.layer()] = last[step.layer()].max(index);
        for value in step.inputs() {
            last[value.z] = last[value.z].max(index);
        }
        if let Step::Conv(step) = step
            && let Some(addend) = step.after.addend
        {
            last[addend] = last[addend].max(index);
        }
    }
    // The results.
    for layer in [plan.features, plan.layers.len() - 1] {
        if let Some(value) = program.values[layer] {
            last[value.z] = program.steps.len();
        }
    }
    last
}
