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
#[derive(Clone, Debug)]
pub struct Folding {
    /// The steps of inference.
    pub program: Program,
    /// The normalisation that is folded into each step's weights.
    pub norms: Vec<Option<BatchNorm>>,
}

/// Rewrites the steps of training.
pub fn fold(plan: &Plan, program: &Program) -> Folding {
    let mut program = program.clone();
    let norms = fold_norms(plan, &mut program);
    skip_copies(&mut program);
    activate(plan, &mut program);
    skip_copies(&mut program);
    add(plan, &mut program);
    store_results(plan, &mut program);
    let norm_of = |step: &Step| match step {
        Step::Conv(step) => step.after.norm.and_then(|layer| norms[layer].clone()),
        _ => None,
    };
    Folding {
        norms: program.steps.iter().map(norm_of).collect(),
        program,
    }
}

/// Changes all values that are read with their normalisation and activation.
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
            | Step::Other { input, .. }
            | Step::Mask { input, .. } => change(input),
            Step::Norm { .. } => {}
        }
    }
}

/// Turns dropouts into copies, and reads the originals of copies instead.
fn skip_copies(program: &mut Program) {
    let mut index = 0;
    while index < program.steps.len() {
        let (Step::Mask { layer, input, .. } | Step::Make { layer, input }) = program.steps[index]
        else {
            index += 1;
            continue;
        };
        if !input.is_plain() || program.parts[layer].is_some() {
            program.steps[index] = Step::Make { layer, input };
            index += 1;
            continue;
        }
        program.steps.remove(index);
        each_value(program, |value| {
            if value.z == layer {
                value.z = input.z;
            }
        });
        for step in &mut program.steps {
            if let Step::Norm { z: layer_read, .. }
            | Step::Gate {
                factors: layer_read,
                ..
            } = step
                && *layer_read == layer
            {
                *layer_read = input.z;
            }
        }
    }
}

fn convolution(program: &Program, layer: usize) -> Option<usize> {
    let fits = |step: &Step| {
        step.layer() == layer && matches!(step, Step::Conv(step) if step.kind != Kind::Depthwise)
    };
    program.steps.iter().position(fits)
}

/// Folds normalisations, which are no steps any more. Returns them by layer.
fn fold_norms(plan: &Plan, program: &mut Program) -> Vec<Option<BatchNorm>> {
    let mut folded = vec![None; plan.layers.len()];
    for index in 0..program.steps.len() {
        let Step::Norm { layer, z, norm } = program.steps[index].clone() else {
            continue;
        };
        let Some(place) = convolution(program, z) else {
            continue;
        };
        // Normalisations read the value itself. Nothing else may.
        let reads = reads(plan, program, z);
        let plain = reads.iter().filter(|value| value.norm.is_none()).count();
        if plain != 1 || program.parts[z].is_some() {
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
    program
        .steps
        .retain(|step| !matches!(step, Step::Norm { layer, .. } if folded[*layer].is_some()));
    folded
}

/// How steps and callers read a stored layer.
fn reads(plan: &Plan, program: &Program, z: usize) -> Vec<Value> {
    let results = results(plan).map(|layer| program.values[layer]);
    let inputs = program.steps.iter().flat_map(Step::inputs);
    let all = inputs.chain(results.into_iter().flatten());
    all.filter(|value| value.z == z).collect()
}

/// The layers that callers read.
fn results(plan: &Plan) -> [usize; 2] {
    [plan.features, plan.layers.len() - 1]
}

/// Stores the values that callers read.
fn store_results(plan: &Plan, program: &mut Program) {
    for layer in results(plan) {
        if let Some(input) = program.values[layer]
            && !input.is_plain()
        {
            program.steps.push(Step::Make { layer, input });
            program.values[layer] = Some(Value::stored(layer));
        }
    }
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
        let found = reads(plan, program, layer);
        let Some(first) = found.first().copied() else {
            continue;
        };
        let mapped = is_for_maps(first.activation) || first.activation == Activation::Gelu;
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
fn add(plan: &Plan, program: &mut Program) {
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
                .filter_map(|(own, other)| Some((target(plan, program, own, other)?, other)))
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
fn target(plan: &Plan, program: &Program, own: Value, other: Value) -> Option<usize> {
    let place = convolution(program, own.z)?;
    let Step::Conv(step) = &program.steps[place] else {
        return None;
    };
    let sole = reads(plan, program, own.z).len() == 1;
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
pub fn last_readers(plan: &Plan, program: &Program) -> Vec<usize> {
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
    for layer in results(plan) {
        if let Some(value) = program.values[layer] {
            last[value.z] = program.steps.len();
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::super::lower::lower;
    use super::*;
    use crate::network::{Builder, ConvSpec};
    use crate::spec::BatchNormSpec;

    fn builder() -> Builder {
        let batch_norm = BatchNormSpec {
            epsilon: 1e-3,
            momentum: 0.01,
        };
        let mut b = Builder::new("chain", batch_norm);
        b.block("all");
        b
    }

    /// Otherwise callers would read normalised features.
    #[test]
    fn a_normalisation_of_the_features_is_not_folded() {
        let mut b = builder();
        let x = b.conv("conv", 0, ConvSpec::new(16, 3));
        let x = b.global_average(x);
        let x = b.linear("hidden", x, 16);
        b.features(x);
        let x = b.batch_norm("norm", x);
        let x = b.linear("fc", x, 3);
        let plan = b.finish(x).unwrap();
        let program = fold(&plan, &lower(&plan).unwrap()).program;
        assert!(program.steps.iter().any(Step::is_norm));
        assert!(program.values[plan.features].is_some_and(Value::is_plain));
    }

    /// Otherwise every reader would apply them again.
    #[test]
    fn convolutions_apply_their_normalisation_and_activation() {
        let mut b = builder();
        let mut x = 0;
        for (layer, kernel) in [3, 1, 3].into_iter().enumerate() {
            x = b.conv(format!("{layer}"), x, ConvSpec::new(16, kernel));
            x = b.batch_norm(format!("{layer}.norm"), x);
            x = b.activate(x, Activation::Silu);
        }
        let x = b.global_average(x);
        b.features(x);
        let x = b.dropout(x, 0.2);
        let x = b.linear("fc", x, 3);
        let plan = b.finish(x).unwrap();
        let program = fold(&plan, &lower(&plan).unwrap()).program;
        let steps: Vec<_> = (program.steps.iter())
            .map(|step| match step {
                Step::Conv(step) => ("conv", step.after.activation, step.after.norm.is_some()),
                Step::Average { .. } => ("average", Activation::Identity, false),
                _ => ("other", Activation::Identity, false),
            })
            .collect();
        let conv = ("conv", Activation::Silu, true);
        let average = ("average", Activation::Identity, false);
        let head = ("conv", Activation::Identity, false);
        assert_eq!(steps, [conv, conv, conv, average, head]);
        let reads = program.steps.iter().flat_map(Step::inputs);
        assert!(reads.into_iter().all(Value::is_plain));
    }
}
