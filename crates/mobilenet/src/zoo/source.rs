//! Gives the tensors of a file to the models.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Func, Init, VarBuilder};

use super::Backbone;
#[cfg(feature = "zoo")]
use super::candle::model;
use crate::weights::nearest::nearest;
use crate::weights::tensor_file::TensorFile;
use crate::{Error, Result};

/// The name of the batch counter that torch keeps beside each running mean. No model here uses it.
const COUNTER: &str = "num_batches_tracked";

/// The project with the names of the tensors.
const PROJECT: &str = "timm (before its branches are fused)";

/// A backbone built from a file's tensors.
pub(super) struct Opened {
    /// Computes features `[n, features]` of normalised images `[n, 3, h, w]`.
    pub(super) extractor: Func<'static>,
    /// The backbone's tensors, with the names in the file.
    pub(super) tensors: BTreeMap<String, Tensor>,
    pub(super) file: TensorFile,
}

/// Builds a backbone from the tensors of `file`.
///
/// # Errors
/// [`Error::NotBuilt`] in a build without the backbone. If a tensor is missing or has another
/// shape; the message lists the most similar names in the file. If the backbone does not use all
/// tensors of the file: some parts of a model are built only if the file has their tensors.
pub(super) fn open(backbone: Backbone, file: TensorFile, device: &Device) -> Result<Opened> {
    if !backbone.is_built() {
        return Err(Error::NotBuilt(backbone));
    }
    let path = file.path().to_owned();
    let source = Arc::new(Source {
        backbone,
        state: Mutex::new(State {
            file,
            taken: BTreeMap::new(),
            refused: None,
        }),
    });
    let backend: Box<dyn SimpleBackend> = Box::new(Shared(Arc::clone(&source)));
    let builder = VarBuilder::from_backend(backend, DType::F32, device.clone());
    let built = model(backbone, builder);
    let Some(source) = Arc::into_inner(source) else {
        return Err(Error::format(&path, format!("{backbone} keeps its source")));
    };
    let State {
        file,
        taken,
        refused,
    } = (source.state)
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let extractor = match (built, refused) {
        (Ok(extractor), _) => extractor,
        (Err(_), Some(refused)) => return Err(refused.error(backbone, &file, &taken)),
        (Err(error), None) => return Err(error.into()),
    };
    check_leftovers(backbone, &file, &taken)?;
    Ok(Opened {
        extractor,
        tensors: taken,
        file,
    })
}

#[cfg(not(feature = "zoo"))]
fn model(backbone: Backbone, _: VarBuilder<'static>) -> candle_core::Result<Func<'static>> {
    candle_core::bail!("{backbone} is not built")
}

/// Whether a tensor belongs to the backbone's original classifier.
pub(super) fn is_classifier(backbone: Backbone, name: &str) -> bool {
    let leaf = name.strip_prefix(backbone.classifier());
    matches!(leaf, Some(".weight" | ".bias"))
}

fn check_leftovers(
    backbone: Backbone,
    file: &TensorFile,
    taken: &BTreeMap<String, Tensor>,
) -> Result<()> {
    let is_left = |name: &&str| {
        !taken.contains_key(*name) && !is_classifier(backbone, name) && !name.ends_with(COUNTER)
    };
    let left: Vec<&str> = file.names().filter(is_left).collect();
    let Some(first) = left.first() else {
        return Ok(());
    };
    Err(Error::format(
        file.path(),
        format!(
            "{} of its tensors have no place in {backbone}, among them {first} {:?}; expected the \
             tensors of that model alone, under the names of {PROJECT}",
            left.len(),
            file.shape(first).unwrap_or_default(),
        ),
    ))
}

/// A tensor that a model requested but the file lacks.
struct Refused {
    name: String,
    shape: Vec<usize>,
}

impl Refused {
    /// The error for this tensor. `taken` are the tensors that the model uses.
    fn error(
        &self,
        backbone: Backbone,
        file: &TensorFile,
        taken: &BTreeMap<String, Tensor>,
    ) -> Error {
        let Refused { name, shape } = self;
        let reason = match file.shape(name) {
            Some(found) if found == shape => format!("{name} cannot be read"),
            Some(found) => format!("{name} has the shape {found:?}, {backbone} has {shape:?}"),
            None => {
                let names = file.names().filter(|other| !taken.contains_key(*other));
                let nearest = nearest(name, names, 3);
                format!(
                    "there is no {name} of shape {shape:?} for {backbone}, whose names are those \
                     of {PROJECT}; the nearest are {}",
                    nearest.join(", ")
                )
            }
        };
        Error::format(file.path(), reason)
    }
}

struct Source {
    backbone: Backbone,
    state: Mutex<State>,
}

struct State {
    file: TensorFile,
    taken: BTreeMap<String, Tensor>,
    /// The last missing tensor. If the model continues after it, the tensor is optional.
    refused: Option<Refused>,
}

impl Source {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tensor(&self, shape: &[usize], name: &str, device: &Device) -> candle_core::Result<Tensor> {
        if is_classifier(self.backbone, name) {
            return match shape {
                [rows, columns] if rows == columns => Tensor::eye(*rows, DType::F32, device),
                _ => Tensor::zeros(shape, DType::F32, device),
            };
        }
        let mut state = self.state();
        if let Some(tensor) = state.taken.get(name)
            && tensor.dims() == shape
        {
            return Ok(tensor.clone());
        }
        if state.file.shape(name) != Some(shape) {
            let error = candle_core::Error::msg(format!("no {name} of shape {shape:?}"));
            state.refused = Some(Refused {
                name: name.to_owned(),
                shape: shape.to_vec(),
            });
            return Err(error);
        }
        let mut values = vec![0.0; shape.iter().product()];
        let read = state.file.read(name, &mut values);
        read.map_err(candle_core::Error::wrap)?;
        let tensor = Tensor::from_vec(values, shape, device)?;
        state.taken.insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }
}

/// A model's access to the tensors.
struct Shared(Arc<Source>);

impl SimpleBackend for Shared {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        _: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        self.0.tensor(shape.dims(), name, device)
    }

    fn get_unchecked(&self, name: &str, _: DType, device: &Device) -> candle_core::Result<Tensor> {
        let shape = self.0.state().file.shape(name).map(<[usize]>::to_vec);
        let missing = || candle_core::Error::msg(format!("no {name}"));
        self.0.tensor(&shape.ok_or_else(missing)?, name, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        is_classifier(self.0.backbone, name) || self.0.state().file.shape(name).is_some()
    }
}

/// The name of the counter that torch keeps beside a running mean.
pub(super) fn counter(name: &str) -> Option<String> {
    let norm = name.strip_suffix("running_mean")?;
    Some(format!("{norm}{COUNTER}"))
}
