//! Steps in the memory of a device give the values of steps on the host.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use gpu::{Gpu, Shim, Storage};
use mobilenet::{Images, ModelConfig, Native, Network, Parameters, Variant};
use optim::{LrSchedule, Optimizer, ParameterGroup};

use super::PlacedOptimizer;
use crate::config::RunConfig;
use crate::fit::average::Average;
use crate::fit::step::Stepper;
use crate::{Objective, Targets};

const IMAGES: usize = 4;

/// A network on the shim, its stepper and its averages.
struct Scene {
    network: Network,
    stepper: Stepper,
    average: Average,
    /// Whether gradients are fetched, so that steps are taken on the host.
    on_host: bool,
    step: u64,
}

fn scene(settings: &str, storage: Storage, on_host: bool) -> Scene {
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 2)
    };
    let mut network = Network::new(&config, 1, &Device::Cpu).unwrap();
    let plan = Arc::new(network.plan().clone());
    let device = Arc::new(Shim::new(storage, false));
    let engine = Gpu::new(Arc::clone(&plan), device).unwrap().unwrap();
    network.set_executor(Box::new(Native::with_engine(plan, engine)));
    let config = RunConfig::from_toml(&format!("{settings}\nema = {{ decay = 0.9 }}"), "test");
    let config = config.unwrap();
    let schedule = LrSchedule::new(&config.schedule, None, 3e-3, 20, 1).unwrap();
    let stepper = Stepper::new(&config, network.parameters(), schedule).unwrap();
    let average = Average::new(config.ema.as_ref().unwrap(), network.parameters()).unwrap();
    Scene {
        network,
        stepper,
        average,
        on_host,
        step: 0,
    }
}

impl Scene {
    /// Runs a batch forward and backward.
    fn backward(&mut self, scale: f32) {
        let pixels: Vec<f32> = (0..IMAGES * 16 * 16 * 3)
            .map(|i| (i % 7) as f32 / 7.0 + (i / 768 % 2) as f32 - 0.5 + self.step as f32 * 0.01)
            .collect();
        let pixels = Tensor::from_vec(pixels, (IMAGES, 16, 16, 3), &Device::Cpu).unwrap();
        let images = Images::normalised(&pixels).unwrap();
        let pass = self.network.forward_step(&images, self.step, false);
        let pass = pass.unwrap();
        self.step += 1;
        let targets = Targets::of(&[0, 1, 0, 1], &[1.0; IMAGES]);
        let loss = Objective::cross_entropy(2);
        let loss = loss.apply(pass.logits(), &targets).unwrap();
        loss.backward_scaled(pass, scale).unwrap();
    }

    /// Runs a batch, and steps. Returns whether a step was taken.
    fn run(&mut self, scale: f32) -> bool {
        self.backward(scale);
        let parameters = self.network.parameters();
        if self.on_host {
            parameters.gradient().unwrap();
        }
        let stepped = self.stepper.take(parameters, 4.0).unwrap();
        if stepped {
            self.average.update(parameters).unwrap();
        }
        stepped
    }

    /// Parameters, statistics, the optimizer's buffers and the averages.
    fn values(&self) -> Vec<Vec<f32>> {
        let mut values = self
            .network
            .parameters()
            .read(|a, s| vec![a.to_vec(), s.to_vec()]);
        let values = values.as_mut().unwrap();
        let buffers = self.stepper.buffers().unwrap().into_iter();
        values.extend(buffers.map(|(_, buffer)| buffer.into_owned()));
        values.extend(
            self.average
                .values()
                .unwrap()
                .map(|average| average.into_owned()),
        );
        values.clone()
    }
}

fn assert_near(found: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len());
    for (part, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            let near = (f - e).abs() <= tolerance * e.abs().max(1e-4);
            assert!(
                f.to_bits() == e.to_bits() || near,
                "{what}, part {part}: {f} instead of {e}"
            );
        }
    }
}

#[test]
fn steps_on_the_device_are_those_on_the_host() {
    for (settings, tolerance) in [
        ("train = { precision = 'f32' }", 0.0),
        (
            "train = { precision = 'f32', accumulate_batches = 2, clip_gradient_value = 1e-3 }\noptimizer = { type = 'sgd', momentum = 0.9 }",
            0.0,
        ),
        (
            "train = { precision = 'f32', clip_gradient_norm = 0.1 }\noptimizer = { type = 'ranger' }",
            1e-3,
        ),
    ] {
        let mut scenes = [false, true].map(|on_host| scene(settings, Storage::F32, on_host));
        for batch in 0..4 {
            // The third batch's step is taken on the host in both, after and before steps on the device.
            scenes[0].on_host = batch == 2 && !settings.contains("accumulate");
            let stepped = scenes.each_mut().map(|scene| scene.run(1.0));
            assert_eq!(stepped[0], stepped[1]);
        }
        let [found, expected] = scenes.each_ref().map(Scene::values);
        assert!(scenes[0].network.parameters().device_values().is_some());
        assert!(scenes[1].network.parameters().device_values().is_none());
        assert_near(&found, &expected, tolerance, settings);
    }
}

#[test]
fn a_step_that_overflows_changes_nothing() {
    let settings = "train = { precision = 'f16' }";
    let mut scene = scene(settings, Storage::F16, false);
    let scale = scene.stepper.loss_scale().unwrap();
    let before = scene.values();
    assert!(!scene.run(1e30));
    assert_eq!(scene.stepper.loss_scale(), Some(scale / 2.0));
    let after = scene.values();
    // The running statistics are those of a batch that was seen.
    assert!(before[0] == after[0] && before[2..] == after[2..]);
    let scale = scene.stepper.loss_scale().unwrap();
    assert!(scene.run(scale));
    assert!(scene.values()[0] != before[0]);
}

/// What changes the parameters on the host reaches the device.
#[test]
fn restored_values_are_used() {
    let mut scene = scene("train = { precision = 'f32' }", Storage::F32, false);
    scene.run(1.0);
    let parameters = |scene: &Scene| -> Vec<f32> {
        let of: &Parameters = scene.network.parameters();
        of.read(|arena, _| arena.to_vec()).unwrap()
    };
    let snapshot = scene.network.parameters().snapshot().unwrap();
    let first = parameters(&scene);
    scene.run(1.0);
    let second = parameters(&scene);
    assert!(first != second);
    scene.network.parameters().restore(&snapshot).unwrap();
    assert!(parameters(&scene) == first);
    let loss = |scene: &mut Scene| {
        let pixels = Tensor::ones((IMAGES, 16, 16, 3), candle_core::DType::F32, &Device::Cpu);
        let images = Images::normalised(&pixels.unwrap()).unwrap();
        let pass = scene.network.forward_step(&images, 9, false).unwrap();
        pass.logits().to_vec2::<f32>().unwrap()
    };
    let restored = loss(&mut scene);
    scene
        .network
        .parameters()
        .change(|values| values.copy_from_slice(&second))
        .unwrap();
    assert!(loss(&mut scene) != restored);
    scene.network.parameters().restore(&snapshot).unwrap();
    assert!(loss(&mut scene) == restored);
}

/// Optimizers of one network have ranges and buffers of their own.
#[test]
fn two_optimizers_take_turns() {
    let mut scene = scene("train = { precision = 'f32' }", Storage::F32, false);
    let len = scene.network.parameters().len();
    let config = serde_json::from_str(r#"{ "type": "sgd", "momentum": 0.9 }"#).unwrap();
    let [mut all, mut few] = [0..len, 10..30].map(|range| {
        let group = ParameterGroup::new("all", range);
        PlacedOptimizer::new(Optimizer::new(&config, len, vec![group]).unwrap())
    });
    let changed = |scene: &mut Scene, optimizer: &mut PlacedOptimizer| -> Vec<usize> {
        let arena = |scene: &Scene| -> Vec<f32> {
            let arena = scene.network.parameters().arena().unwrap();
            arena.to_vec1().unwrap()
        };
        let before = arena(scene);
        scene.backward(1.0);
        optimizer.step(scene.network.parameters(), 0.1).unwrap();
        let after = arena(scene);
        (0..len).filter(|&i| before[i] != after[i]).collect()
    };
    let within = |changed: &[usize]| {
        !changed.is_empty() && changed.iter().all(|index| (10..30).contains(index))
    };
    assert!(changed(&mut scene, &mut all).len() > 30);
    assert!(within(&changed(&mut scene, &mut few)));
    assert!(changed(&mut scene, &mut all).len() > 30);
    drop(all);
    assert!(within(&changed(&mut scene, &mut few)));
}
