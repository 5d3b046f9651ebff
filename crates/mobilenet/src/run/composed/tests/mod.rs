//! Every operation, in small networks, against double precision: logits in inference and in training, and the gradient
//! of every parameter against differences of the reference's logits.

mod reference;

use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use engine::{Activation, BatchNormSpec, Builder, ConvSpec, FusedOptions, Pad, Plan, Role, Window};

use super::Composed;
use crate::run::dropout::layer_mask;
use crate::run::executor::{Executor, TrainingStep};
use crate::run::native::Layered;
use crate::run::operators::test_support::numbers;
use crate::run::parameters::{Tables, Values};
use crate::{Error, Images, Parameters};
use reference::{Numbers, Value};

const STEP: TrainingStep = TrainingStep {
    dropout_seed: 3,
    step: 4,
    freeze_backbone: false,
};

/// A network: a 1×1 convolution to `channels`, what `middle` builds, the mean, dropout, two classes.
fn plan(channels: usize, middle: impl FnOnce(&mut Builder, usize) -> usize) -> Plan {
    let mut b = Builder::new(
        "test",
        BatchNormSpec {
            epsilon: 1e-3,
            momentum: 0.1,
        },
    );
    b.block("first");
    let x = b.conv("first", b.image(), ConvSpec::new(channels, 1));
    b.block("middle");
    let x = middle(&mut b, x);
    let x = b.global_average(x);
    b.features(x);
    let x = b.dropout(x, 0.3);
    let logits = b.linear("fc", x, 2);
    b.finish(logits).unwrap()
}

fn parameters(plan: &Plan) -> Parameters {
    let host = |count: usize, seed| numbers(&[count], seed).to_vec1::<f32>().unwrap();
    let mut statistics = host(plan.statistics.len(), 2);
    for segment in plan.statistics.segments() {
        if segment.role == Role::RunningVariance {
            let values = &mut statistics[segment.range.clone()];
            values
                .iter_mut()
                .for_each(|value| *value = value.abs() + 0.5);
        }
    }
    let mut arena = host(plan.parameters.len(), 1);
    for segment in plan.parameters.segments() {
        if segment.role == Role::Scale {
            arena[segment.range.clone()]
                .iter_mut()
                .for_each(|value| *value *= 16.0);
        }
    }
    let values = Values {
        arena,
        statistics,
        batches_tracked: 0,
    };
    Parameters::new(Tables::from(plan), values, &Device::Cpu).unwrap()
}

fn doubles(tensor: &Tensor) -> Vec<f64> {
    let values = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    values.to_vec1().unwrap()
}

fn assert_near(found: &[f64], expected: &[f64], most: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let off = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let length = norm(&mut expected.iter().copied());
    assert!(
        off <= most * length + 1e-7,
        "{what}: off by {off:e} of {length:e}"
    );
}

/// Compares a network with the reference, on images of these sizes.
fn check(name: &str, plan: Plan, [height, width]: [usize; 2]) {
    let plan = Arc::new(plan);
    let parameters = parameters(&plan);
    let executor = Composed::new(Arc::clone(&plan));
    let pixels = numbers(&[3, height, width, 3], 5);
    let images = Images::normalised(&pixels).unwrap();
    let pixels = Value {
        shape: [3, height, width, 3],
        data: doubles(&pixels),
    };
    let mut arena = doubles(parameters.arena().unwrap());
    let statistics = doubles(parameters.statistics().unwrap());
    let masks =
        |index: usize, length: usize, rate: f64| layer_mask(&plan, index, length, rate, STEP);
    let expected = |arena: &[f64], training: bool| {
        let numbers = Numbers {
            parameters: arena,
            statistics: &statistics,
            masks: training.then_some(&masks),
        };
        reference::logits(&plan, &numbers, &pixels).data
    };
    let found = executor.infer(&parameters, &images).unwrap();
    let what = format!("{name}, inference");
    assert_near(&doubles(&found), &expected(&arena, false), 1e-5, &what);

    let (logits, tape) = executor.forward(&parameters, &images, STEP).unwrap();
    let what = format!("{name}, training");
    assert_near(&doubles(&logits), &expected(&arena, true), 1e-5, &what);
    let seed = numbers(&[3, 2], 6);
    let gradient = Var::zeros(plan.parameters.len(), DType::F32, &Device::Cpu).unwrap();
    tape.backward(&seed, &gradient).unwrap();
    let gradient = doubles(gradient.as_tensor());
    let seed = doubles(&seed);
    for segment in plan.parameters.segments() {
        let mut differences = Vec::with_capacity(segment.range.len());
        for index in segment.range.clone() {
            let value = arena[index];
            let mut loss = |value: f64| {
                arena[index] = value;
                let logits = expected(&arena, true);
                logits.iter().zip(&seed).map(|(a, b)| a * b).sum::<f64>()
            };
            let step = 1e-5;
            differences.push((loss(value + step) - loss(value - step)) / (2.0 * step));
            arena[index] = value;
        }
        let what = format!("{name}, gradient of {}", segment.name);
        let found = &gradient[segment.range.clone()];
        assert_near(found, &differences, 1e-4, &what);
    }
}

fn window(kernel: usize, stride: usize, pad: Pad, ceil: bool) -> Window {
    Window {
        kernel,
        stride,
        pad,
        ceil,
    }
}

#[test]
fn convolutions() {
    for (kernel, stride, pad, groups) in [
        (1, 2, Pad::Zeros(0), 1),
        (3, 1, Pad::Zeros(1), 1),
        (3, 2, Pad::Same, 1),
        (7, 2, Pad::Zeros(3), 1),
        (4, 4, Pad::Zeros(0), 1),
        (2, 2, Pad::Zeros(1), 1),
        (3, 2, Pad::Zeros(1), 2),
        (1, 1, Pad::Zeros(0), 2),
        (3, 1, Pad::Zeros(0), 4),
        (7, 1, Pad::Zeros(3), 4),
        (2, 1, Pad::Zeros(0), 4),
    ] {
        for bias in [false, true] {
            let name = format!("convolution {kernel} {stride} {pad:?} {groups} {bias}");
            let spec = ConvSpec {
                bias,
                ..ConvSpec::new(4, kernel)
            };
            let spec = spec.stride(stride).pad(pad).groups(groups);
            check(&name, plan(4, |b, x| b.conv("middle", x, spec)), [7, 6]);
        }
    }
    // Two outputs for each input.
    let spec = ConvSpec::new(6, 3).groups(3);
    check(
        "multiplied",
        plan(3, |b, x| b.conv("middle", x, spec)),
        [5, 4],
    );
}

#[test]
fn normalisations() {
    check("batch", plan(3, |b, x| b.batch_norm("n", x)), [3, 4]);
    check("layer", plan(5, |b, x| b.layer_norm("n", x, 1e-6)), [3, 4]);
    let pooled = |b: &mut Builder, x| {
        let factors = b.global_average(x);
        let factors = b.layer_norm("n", factors, 1e-6);
        b.gate(x, factors)
    };
    check("layer of averages", plan(5, pooled), [3, 4]);
}

#[test]
fn activations() {
    for activation in [
        Activation::Relu,
        Activation::Relu6,
        Activation::Hardswish,
        Activation::Silu,
        Activation::Gelu,
        Activation::Sigmoid,
        Activation::Hardsigmoid,
    ] {
        for norm in [false, true] {
            let middle = |b: &mut Builder, mut x| {
                // So large that every part of the function is used.
                x = b.scale("large", x, vec![6, 1, 1]);
                if norm {
                    x = b.batch_norm("n", x);
                }
                b.activate(x, activation)
            };
            check(&format!("{activation:?} {norm}"), plan(6, middle), [4, 3]);
        }
    }
}

#[test]
fn pooling() {
    for (kernel, stride, pad, ceil) in [
        (3, 2, 1, false),
        (3, 2, 0, true),
        (2, 2, 0, false),
        (2, 2, 0, true),
        (3, 1, 1, false),
    ] {
        let window = window(kernel, stride, Pad::Zeros(pad), ceil);
        let name = format!("{window:?}");
        check(&name, plan(3, |b, x| b.max_pool(x, window)), [7, 8]);
        check(&name, plan(3, |b, x| b.average_pool(x, window)), [7, 8]);
    }
}

#[test]
fn channels() {
    let middle = |b: &mut Builder, x| {
        let left = b.slice(x, 0, 2);
        let right = b.slice(x, 2, 4);
        let right = b.conv("right", right, ConvSpec::new(4, 1));
        let x = b.concat(vec![left, right, left]);
        let y = b.shuffle(x, 2);
        let x = b.shuffle(x, 4);
        let x = b.add(x, y);
        b.conv("last", x, ConvSpec::new(2, 1))
    };
    check("concat, slice, shuffle", plan(6, middle), [3, 2]);
    let middle = |b: &mut Builder, x| {
        let factors = b.global_average(x);
        let factors = b.linear_conv("fc1", factors, 3);
        let factors = b.activate(factors, Activation::Sigmoid);
        let factors = b.linear("fc2", factors, 4);
        let x = b.gate(x, factors);
        b.linear_without_bias("fc3", x, 5)
    };
    check("gate, linear of a map", plan(4, middle), [3, 2]);
}

#[test]
fn merging() {
    for size in [[4, 6], [5, 3], [1, 2]] {
        let middle = |b: &mut Builder, x| {
            let x = b.merge(x);
            b.linear_without_bias("reduction", x, 3)
        };
        check(&format!("merging of {size:?}"), plan(2, middle), size);
    }
}

#[test]
fn attention() {
    for (window, shift, size) in [
        (2, 0, [4, 4]),
        (2, 1, [4, 6]),
        (3, 1, [7, 5]),
        (3, 1, [3, 6]), // one axis is not shifted
        (3, 1, [2, 3]), // none is
        (4, 2, [9, 4]),
    ] {
        let middle = |b: &mut Builder, x| b.attention("attn", x, 2, window, shift);
        let name = format!("attention {window} {shift} {size:?}");
        check(&name, plan(4, middle), size);
    }
}

#[test]
fn random_layers_have_masks_of_their_own() {
    let middle = |b: &mut Builder, x| {
        let y = b.conv("a", x, ConvSpec::new(3, 3));
        let y = b.drop_path(y, 0.4);
        let x = b.add(x, y);
        let y = b.conv("b", x, ConvSpec::new(3, 3));
        let y = b.drop_path(y, 0.6);
        let x = b.add(x, y);
        b.dropout(x, 0.2)
    };
    check("drop path", plan(3, middle), [3, 4]);
    let plan = plan(3, middle);
    let masks: Vec<_> = (1..plan.layers.len())
        .map(|index| layer_mask(&plan, index, 64, 0.5, STEP))
        .collect();
    for (index, mask) in masks[..plan.features].iter().enumerate() {
        assert!(!masks[..index].contains(mask), "{index}");
    }
    // A frozen backbone runs as in inference.
    let plan = Arc::new(plan);
    let parameters = parameters(&plan);
    let executor = Composed::new(Arc::clone(&plan));
    let images = Images::normalised(&numbers(&[3, 3, 4, 3], 5)).unwrap();
    let step = TrainingStep {
        freeze_backbone: true,
        ..STEP
    };
    let (logits, _) = executor.forward(&parameters, &images, step).unwrap();
    let features = executor.features(&parameters, &images).unwrap();
    let (expected, _) = executor.forward_head(&parameters, &features, step).unwrap();
    assert_eq!(doubles(&logits), doubles(&expected));
}

#[test]
fn images_smaller_than_a_window_are_refused() {
    let plan = Arc::new(plan(3, |b, x| {
        b.conv("middle", x, ConvSpec::new(3, 5).pad(Pad::Zeros(0)))
    }));
    let parameters = parameters(&plan);
    let layered = Layered::new(Arc::clone(&plan), FusedOptions::default()).unwrap();
    let executors: [Box<dyn Executor>; 2] = [Box::new(Composed::new(plan)), Box::new(layered)];
    for executor in &executors {
        for (side, fits) in [(5, true), (4, false)] {
            let images = Images::normalised(&numbers(&[2, side, 6, 3], 5)).unwrap();
            match executor.infer(&parameters, &images) {
                Ok(_) => assert!(fits),
                Err(Error::ImagesTooSmall { layer, .. }) => assert!(!fits && layer == "middle"),
                Err(other) => panic!("{other}"),
            }
        }
    }
}
