//! Tests a network's behaviour apart from its numerical results: training, loading, saving, errors.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_numbers;
mod executors;
mod explanations;
mod families;
mod features;
mod foreign;
mod images;
mod others;
mod rows;
mod training;
mod weights;

use candle_core::{Device, Tensor};
use mobilenet::{Images, ModelConfig, Network, Variant};

/// A network that is small enough for a test: width 0.25, three classes.
fn config() -> ModelConfig {
    ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 3)
    }
}

fn network(config: &ModelConfig) -> Network {
    Network::new(config, 5, &Device::Cpu).unwrap()
}

fn images(batch: usize, side: usize) -> Images {
    let count = batch * side * side * 3;
    let values: Vec<f32> = (0..count)
        .map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0)
        .collect();
    let pixels = Tensor::from_vec(values, (batch, side, side, 3), &Device::Cpu).unwrap();
    Images::normalised(&pixels).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn arena(network: &Network) -> Vec<f32> {
    values(network.parameters().arena().unwrap())
}

fn statistics(network: &Network) -> Vec<f32> {
    values(network.parameters().statistics().unwrap())
}
