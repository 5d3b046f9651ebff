//! The golden files, and the fill of their networks; see `tests/golden/README.md`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use mobilenet::{Network, Scheme, Variant};
use safetensors::SafeTensors;
use serde::Deserialize;

use crate::fill::around;

/// The file of one family.
#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) family: String,
    pub(crate) classes: usize,
    pub(crate) cases: Vec<Case>,
    pub(crate) trainings: Vec<Training>,
    #[serde(skip)]
    answers: HashMap<String, Tensor>,
}

/// A network of one project.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) variant: String,
    scheme: String,
    /// Side of the images.
    pub(crate) side: usize,
    pub(crate) gain: f64,
    /// Whether the file needs `Overrides::tensorflow()`.
    pub(crate) tensorflow: bool,
    /// Number of tensors of the state dictionary.
    pub(crate) tensors: usize,
    /// SHA-256 of the sorted lines `name shape` of the state dictionary.
    pub(crate) names: String,
}

/// A network with gradients and steps of training.
#[derive(Deserialize)]
pub(crate) struct Training {
    pub(crate) variant: String,
    pub(crate) side: usize,
    pub(crate) batch: usize,
    gain: f64,
    /// Centre of the normalisations' weights.
    #[serde(default = "usual_norm_weight")]
    norm_weight: f64,
    pub(crate) learning_rate: f64,
    /// Parameters without an effect on the loss.
    pub(crate) zero_gradients: Vec<String>,
}

fn usual_norm_weight() -> f64 {
    0.45
}

impl Golden {
    fn read(path: &Path) -> Golden {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let case = &header.metadata().as_ref().unwrap()["case"];
        let mut golden: Golden = serde_json::from_str(case).unwrap();
        golden.answers = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        golden
    }

    pub(crate) fn answer(&self, name: &str) -> &Tensor {
        match self.answers.get(name) {
            Some(answer) => answer,
            None => panic!("family_{}.safetensors has no {name}", self.family),
        }
    }

    /// Whether a network belongs to the smallest ones, which every test run checks.
    pub(crate) fn is_trained(&self, variant: &str) -> bool {
        (self.trainings.iter()).any(|training| training.variant == variant)
    }
}

impl Case {
    pub(crate) fn variant(&self) -> Variant {
        self.variant.parse().unwrap()
    }

    pub(crate) fn scheme(&self) -> Scheme {
        let mut all = Scheme::ALL.into_iter();
        let found = all.find(|scheme| scheme.to_string() == self.scheme);
        found.unwrap_or_else(|| panic!("there is no scheme {}", self.scheme))
    }

    pub(crate) fn name(&self) -> String {
        let padded = if self.tensorflow { ".tensorflow" } else { "" };
        format!("{}.{}{padded}", self.variant, self.scheme)
    }
}

/// Every golden file of a family.
pub(crate) fn all() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("family_") && name.ends_with(".safetensors")
    });
    paths.sort();
    paths.iter().map(|path| Golden::read(path)).collect()
}

/// What a training changes in the fill.
#[derive(Clone, Copy)]
pub(crate) struct Trained {
    /// Centre of the normalisations' weights.
    norm_weight: f64,
    /// Whether the tensor is the bias of a normalisation.
    is_norm_bias: bool,
}

/// The fill of a tensor.
pub(crate) fn fill(
    name: &str,
    shape: &[usize],
    gain: f64,
    trained: Option<Trained>,
) -> impl Iterator<Item = f32> + use<> {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    let (centre, spread) = match (leaf, shape) {
        ("running_var", _) => (1.0, 0.5),
        ("running_mean", _) => (0.0, 0.04),
        ("gamma" | "layer_scale", _) => (0.5, 0.2),
        ("bias", _) if trained.is_some_and(|trained| trained.is_norm_bias) => (0.9, 0.1),
        ("bias", _) => (0.0, 0.02),
        ("relative_position_bias_table", _) => (0.0, 0.5),
        (_, [_]) => {
            let centre = trained.map_or(1.0, |trained| trained.norm_weight);
            (centre, 0.2 * centre)
        }
        (_, [_, fan_in @ ..]) => {
            let fan_in = fan_in.iter().product::<usize>() as f64;
            (0.0, (gain / fan_in).sqrt())
        }
        (_, []) => (0.0, 0.0),
    };
    around(centre, spread, name, shape.iter().product())
}

/// Fills a network for training, under the names in its plan.
pub(crate) fn fill_for_training(network: &Network, training: &Training) {
    let plan = network.plan();
    let shapes: BTreeMap<&str, &[usize]> = (plan.parameters.segments().iter())
        .map(|segment| (segment.name.as_str(), segment.shape.as_slice()))
        .collect();
    let [arena, statistics] = [&plan.parameters, &plan.statistics].map(|table| {
        let filled = table.segments().iter().flat_map(|segment| {
            let weight = (segment.name.strip_suffix("bias"))
                .and_then(|module| shapes.get(format!("{module}weight").as_str()));
            let trained = Trained {
                norm_weight: training.norm_weight,
                is_norm_bias: weight.is_some_and(|shape| shape.len() == 1),
            };
            fill(&segment.name, &segment.shape, training.gain, Some(trained))
        });
        filled.collect()
    });
    network.parameters().set(arena, statistics).unwrap();
}

pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference, relative to the largest expected value. Infinite for values that are not numbers.
pub(crate) fn off(found: &[f32], expected: &[f32]) -> f32 {
    if found.len() != expected.len() || found.iter().any(|value| !value.is_finite()) {
        return f32::INFINITY;
    }
    let largest = expected.iter().fold(0.0f32, |m, value| m.max(value.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}
