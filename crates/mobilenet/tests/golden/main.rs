//! Compares every result with torchvision's. torchvision's results are in `tests/golden` at the top
//! of the repository; see the README there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fill;
mod formula;
mod grad_cam;
mod schemes;
mod shapes;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{D, Device, Tensor, safetensors::load};
use mobilenet::{
    Composed, Fused, FusedOptions, Images, Isa, ModelConfig, Network, TORCHVISION_MOMENTUM, Variant,
};
use optim::{AdamConfig, Optimizer, OptimizerConfig, ParameterGroup};
use safetensors::SafeTensors;
use serde::Deserialize;

/// The networks with golden files of their own.
pub(crate) const MOBILENETS: [Variant; 3] = [Variant::LARGE, Variant::SMALL, Variant::V2];

/// The metadata of a golden file.
#[derive(Deserialize)]
struct Metadata {
    batch: usize,
    learning_rate: f64,
    parameters: Vec<String>,
    zero_gradients: Vec<String>,
}

struct Case {
    answers: HashMap<String, Tensor>,
    metadata: Metadata,
    network: Network,
    images: Images,
    labels: Tensor,
}

fn file(variant: Variant, side: usize, classes: usize) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    folder.join(format!("{variant}_{side}_{classes}.safetensors"))
}

/// The executor that a case runs on.
#[derive(Clone, Copy, Debug)]
enum Executor {
    Composed,
    Fused(Isa, usize),
}

impl Executor {
    /// All executors, on every instruction set of this machine and with several numbers of threads.
    fn all() -> Vec<Executor> {
        let mut all = vec![Executor::Composed];
        for isa in Isa::available() {
            all.push(Executor::Fused(isa, 2));
        }
        all.extend([1, 3].map(|threads| Executor::Fused(Isa::best(), threads)));
        all
    }

    fn install(self, network: &mut Network) {
        let plan = Arc::new(network.plan().clone());
        match self {
            Executor::Composed => network.set_executor(Box::new(Composed::new(plan))),
            Executor::Fused(isa, threads) => {
                let options = FusedOptions {
                    threads: Some(threads),
                    isa: Some(isa),
                };
                network.set_executor(Box::new(Fused::new(plan, options).unwrap()));
            }
        }
    }
}

impl Case {
    fn read(variant: Variant, side: usize, classes: usize) -> Case {
        let path = file(variant, side, classes);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let entries = header.metadata().as_ref().unwrap();
        let metadata: Metadata = serde_json::from_str(&entries["case"]).unwrap();
        let config = ModelConfig {
            dropout: 0.0,
            batch_norm_momentum: match variant {
                Variant::LARGE | Variant::SMALL => TORCHVISION_MOMENTUM,
                // torch's default, which MobileNetV2 uses.
                _ => 0.1,
            },
            ..ModelConfig::new(variant, classes)
        };
        Case {
            answers: load(&path, &Device::Cpu).unwrap(),
            network: formula::network(&config, side),
            images: fill::images(metadata.batch, side),
            labels: formula::labels(metadata.batch, classes),
            metadata,
        }
    }

    fn answer(&self, name: &str) -> Vec<f32> {
        self.answers[name].flatten_all().unwrap().to_vec1().unwrap()
    }
}

fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    candle_nn::loss::cross_entropy(logits, labels).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn norm(values: impl IntoIterator<Item = f32>) -> f64 {
    values
        .into_iter()
        .map(|v| f64::from(v).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// Length of the difference between the vectors, relative to the length of the expected vector.
fn relative(actual: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    norm(actual.iter().zip(expected).map(|(a, e)| a - e)) / norm(expected.iter().copied())
}

/// Compares one training step and one inference with all of PyTorch's results.
fn check(variant: Variant, side: usize, classes: usize) {
    for executor in Executor::all() {
        let mut case = Case::read(variant, side, classes);
        executor.install(&mut case.network);
        let what = format!("{variant} at {side} px, {classes} classes, {executor:?}");
        check_case(&mut case, &what);
    }
}

fn check_case(case: &mut Case, what: &str) {
    let logits = values(&case.network.infer(&case.images).unwrap());
    let expected = case.answer("eval.logits");
    let worst = logits
        .iter()
        .zip(&expected)
        .map(|(a, e)| (a - e).abs())
        .max_by(f32::total_cmp) // treats NaN as the largest
        .unwrap();
    assert!(
        worst <= 1e-4,
        "{what}: logits in eval mode off by {worst:e}"
    );

    let logits = case.network.forward_train(&case.images, 0, false).unwrap();
    let loss = cross_entropy(&logits, &case.labels);
    let close = |name: &str, actual: &[f32]| {
        let off = relative(actual, &case.answer(name));
        assert!(off <= 1e-3, "{what}: {name} off by {off:e} of its length");
    };
    close("train.logits", &values(&logits));
    close("train.loss", &[loss.to_scalar().unwrap()]);
    let off = relative(&[loss.to_scalar().unwrap()], &case.answer("train.loss"));
    assert!(off <= 1e-5, "{what}: loss off by {off:e}");
    let named = case.network.parameters().named().unwrap();
    let statistic = |leaf: &str| -> Vec<f32> {
        // The tables are in module order, but the names are in alphabetical order.
        let plan = case.network.plan();
        let segments = plan
            .statistics
            .segments()
            .iter()
            .filter(|s| s.name.ends_with(leaf));
        segments
            .flat_map(|segment| values(&named[&segment.name]))
            .collect()
    };
    close("train.running_mean", &statistic("running_mean"));
    close("train.running_var", &statistic("running_var"));
    let counter = &named["features.0.1.num_batches_tracked"];
    assert_eq!(counter.to_scalar::<i64>().unwrap(), 1, "{what}");

    loss.backward().unwrap();
    let gradient = values(case.network.parameters().gradient().unwrap());
    check_gradients(case, &gradient, what);
}

/// Checks the gradient of every parameter. Small gradients are stored and compared in full. For
/// large gradients, only the norm and eight projections are stored. Both comparisons measure the
/// same mean square error.
fn check_gradients(case: &Case, gradient: &[f32], what: &str) {
    let summaries: Vec<Vec<f32>> = case.answers["gradient.summary"].to_vec2().unwrap();
    let total = norm(summaries.iter().map(|summary| summary[0]));
    let zero = &case.metadata.zero_gradients;
    let segments = case.network.parameters().segments();
    let names: Vec<&String> = segments.iter().map(|segment| &segment.name).collect();
    assert_eq!(
        names,
        case.metadata.parameters.iter().collect::<Vec<_>>(),
        "{what}"
    );
    let mut distance = 0.0;
    for (segment, summary) in segments.iter().zip(&summaries) {
        let ours = &gradient[segment.range.clone()];
        let length = norm(ours.iter().copied());
        if zero.contains(&segment.name) {
            // The parameter does not affect the loss, so its gradient is only rounding.
            let share = length / total;
            assert!(
                share < 1e-5,
                "{what}: {} should be 0, is {share:e}",
                segment.name
            );
            continue;
        }
        let expected = f64::from(summary[0]);
        let off = match case.answers.get(&format!("gradient.{}", segment.name)) {
            Some(whole) => relative(ours, &values(whole)),
            None => {
                let squares: f64 = (0..8)
                    .map(|j| formula::projection(ours, j) - f64::from(summary[1 + j as usize]))
                    .map(|distance| distance * distance)
                    .sum();
                (squares / 8.0).sqrt() / expected
            }
        };
        assert!(
            off <= 1e-3,
            "{what}: gradient of {} off by {off:e}",
            segment.name
        );
        distance += (off * expected).powi(2);
        let off = (length / expected - 1.0).abs();
        assert!(
            off <= 1e-3,
            "{what}: norm of the gradient of {} off by {off:e}",
            segment.name
        );
    }
    let off = distance.sqrt() / total;
    assert!(off <= 5e-5, "{what}: the whole gradient off by {off:e}");
}

macro_rules! parity {
    ($($name:ident: $variant:ident, $side:literal, $classes:literal;)*) => {$(
        #[test]
        fn $name() {
            check(Variant::$variant, $side, $classes);
        }
    )*};
}

parity! {
    large_224_10: LARGE, 224, 10;
    large_224_1000: LARGE, 224, 1000;
    large_32_10: LARGE, 32, 10;
    large_32_1000: LARGE, 32, 1000;
    small_224_10: SMALL, 224, 10;
    small_224_1000: SMALL, 224, 1000;
    small_32_10: SMALL, 32, 10;
    small_32_1000: SMALL, 32, 1000;
    v2_224_10: V2, 224, 10;
    v2_224_1000: V2, 224, 1000;
    v2_32_10: V2, 32, 10;
    v2_32_1000: V2, 32, 1000;
}

#[test]
fn twenty_adam_steps_follow_torchs_loss_curve() {
    for variant in MOBILENETS {
        let mut case = Case::read(variant, 32, 10);
        let rate = case.metadata.learning_rate;
        let len = case.network.parameters().len();
        let group = ParameterGroup::new("all", 0..len);
        let config = OptimizerConfig::Adam(AdamConfig::default());
        let mut adam = Optimizer::new(&config, len, vec![group]).unwrap();
        for (step, expected) in case.answer("curve.losses").into_iter().enumerate() {
            let logits = case
                .network
                .forward_train(&case.images, step as u64, false)
                .unwrap();
            let loss = cross_entropy(&logits, &case.labels);
            let found: f32 = loss.to_scalar().unwrap();
            let off = (found / expected - 1.0).abs();
            assert!(
                off <= 1e-3,
                "{variant}: loss {found} at step {step}, torch has {expected}"
            );
            loss.backward().unwrap();
            case.network
                .parameters()
                .update(|values, gradient| adam.step(values, gradient, rate).unwrap())
                .unwrap();
        }
    }
}

#[test]
fn images_make_a_difference_far_above_the_tolerance() {
    // If the logits hardly differed, a network that ignores its images would pass the tests.
    for (variant, side) in MOBILENETS.into_iter().flat_map(|v| [(v, 32), (v, 224)]) {
        let case = Case::read(variant, side, 10);
        let variance = case.answers["eval.logits"]
            .var(0)
            .unwrap()
            .mean(D::Minus1)
            .unwrap();
        let deviation = variance.to_scalar::<f32>().unwrap().sqrt();
        assert!(deviation > 1e-2, "{variant} at {side} px: {deviation}");
    }
}
