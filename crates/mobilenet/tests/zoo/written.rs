//! Writes weights files that are filled by the formula of the golden data.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, safetensors::load};
use mobilenet::zoo::Backbone;
use safetensors::SafeTensors;
use serde::Deserialize;

use crate::fill::around;

/// The metadata of a golden file.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: Backbone,
    pub(crate) image_size: usize,
    gain: f64,
    tensors: Vec<(String, Vec<usize>)>,
}

/// Reads the case in a file, and the features `[n, features]` from timm.
pub(crate) fn read(path: &Path) -> (Case, Tensor) {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let case = &header.metadata().as_ref().unwrap()["case"];
    let features = load(path, &Device::Cpu).unwrap().remove("features");
    (serde_json::from_str(case).unwrap(), features.unwrap())
}

pub(crate) fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    folder.join(format!("zoo_{name}.safetensors"))
}

impl Case {
    /// The backbone's tensors, filled by the formula.
    pub(crate) fn tensors(&self) -> Vec<(String, Tensor)> {
        let filled = self.tensors.iter().map(|(name, shape)| {
            let values: Vec<f32> = self.fill(name, shape).collect();
            let tensor = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu);
            (name.clone(), tensor.unwrap())
        });
        filled.collect()
    }

    fn fill(&self, name: &str, shape: &[usize]) -> impl Iterator<Item = f32> {
        let leaf = name.rsplit('.').next().unwrap_or(name);
        let (centre, spread) = match (leaf, shape) {
            ("running_var", _) => (1.0, 0.5),
            ("running_mean", _) => (0.0, 0.04),
            ("gamma", _) => (0.5, 0.2),
            ("bias", _) => (0.0, 0.02),
            (_, [_]) => (1.0, 0.2),
            (_, [_, fan_in @ ..]) => {
                let fan_in = fan_in.iter().product::<usize>() as f64;
                (0.0, (self.gain / fan_in).sqrt())
            }
            (_, []) => (0.0, 0.0),
        };
        around(centre, spread, name, shape.iter().product())
    }

    /// Writes the tensors of the backbone without a classifier.
    pub(crate) fn write(&self, path: &Path) {
        let tensors = self.tensors().into_iter().collect();
        candle_core::safetensors::save(&tensors, path).unwrap();
    }
}
