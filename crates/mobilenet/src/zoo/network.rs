//! A frozen backbone with a linear head.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use candle_nn::{Func, Module as _};
use engine::{Role, Segment, Table};

use super::ZooConfig;
use super::source::{Opened, counter, open};
use crate::run::composed::GraphTape;
use crate::run::dropout::dropout_mask;
use crate::run::executor::{ForwardPass, TrainingStep};
use crate::run::initialise;
use crate::run::key::BackboneKey;
use crate::run::parameters::{Tables, Values, check_length, view};
use crate::weights::classes::Classifier;
use crate::weights::metadata::{WeightsMetadata, metadata};
use crate::weights::tensor_file::TensorFile;
use crate::{
    Error, GradCam, Images, LoadReport, Mismatch, Model, ModelDescription, Parameters, Precision,
    Processor, Result,
};

/// Number of images that a backbone processes at once. Its convolutions copy every window of their
/// input, which takes many times the memory of an image.
const TOGETHER: usize = 8;

/// A frozen backbone of the zoo with a new linear head: features, dropout, classes.
///
/// [`Model::parameters`] contains only the head. The head's tensors have the names of the
/// backbone's original classifier. So other programs that load the backbone can also load a saved
/// model.
pub struct ZooNetwork {
    config: ZooConfig,
    extractor: Func<'static>,
    /// The backbone's tensors from the file, including torch's batch counters.
    backbone: BTreeMap<String, Tensor>,
    key: String,
    parameters: Parameters,
    seed: u64,
}

impl ZooNetwork {
    /// Loads a backbone from a file (safetensors or from `torch.save`) with timm's
    /// names, and adds a new head. `seed` is the seed of the head and of its dropout. The file's
    /// classifier is used if it has the same number of classes.
    ///
    /// # Errors
    /// If the file's tensors do not match the backbone; the message lists the most similar names.
    /// [`Error::BadNumbers`] if a tensor has unusable values.
    pub fn pretrained(
        config: &ZooConfig,
        path: &Path,
        seed: u64,
        device: &Device,
    ) -> Result<(ZooNetwork, LoadReport)> {
        ZooNetwork::sound(config, path, None, seed, device)
    }

    /// As [`ZooNetwork::pretrained`], with these classes. A class with a row in the file's
    /// classifier gets that row; other classes get initial values. If the file has no class names
    /// but the same number of classes, its rows are assumed to be in the order of `classes`.
    ///
    /// # Errors
    /// As [`ZooNetwork::pretrained`]. Also if the number of names differs from the model's number
    /// of classes.
    pub fn pretrained_classes(
        config: &ZooConfig,
        path: &Path,
        classes: &[String],
        seed: u64,
        device: &Device,
    ) -> Result<(ZooNetwork, LoadReport)> {
        check_length("the list of class names", classes.len(), config.classes)?;
        ZooNetwork::sound(config, path, Some(classes), seed, device)
    }

    /// As [`ZooNetwork::of_file`], but refuses unusable values.
    fn sound(
        config: &ZooConfig,
        path: &Path,
        classes: Option<&[String]>,
        seed: u64,
        device: &Device,
    ) -> Result<(ZooNetwork, LoadReport)> {
        let file = TensorFile::open(path)?;
        let (network, report) = ZooNetwork::of_file(config, file, classes, seed, device)?;
        report.check_numbers(path)?;
        Ok((network, report))
    }

    /// Loads a file that [`weights::save`](crate::weights::save) wrote. Unusable values are listed
    /// in the report.
    pub(crate) fn saved(
        config: &ZooConfig,
        file: TensorFile,
        device: &Device,
    ) -> Result<(Self, LoadReport)> {
        let path = file.path().to_owned();
        let (network, report) = ZooNetwork::of_file(config, file, None, 0, device)?;
        if report.is_complete() {
            return Ok((network, report));
        }
        Err(Error::OtherModel {
            path,
            report: Box::new(report),
            nearest: Vec::new(),
        })
    }

    fn of_file(
        config: &ZooConfig,
        file: TensorFile,
        classes: Option<&[String]>,
        seed: u64,
        device: &Device,
    ) -> Result<(ZooNetwork, LoadReport)> {
        let Opened {
            extractor,
            tensors: mut backbone,
            mut file,
        } = open(config.name, file, device)?;
        let key = key(config, &backbone)?;
        let counters: Vec<String> = backbone.keys().filter_map(|name| counter(name)).collect();
        for name in counters {
            // Files of older versions of torch have no batch counters.
            let batches = match file.shape(&name) {
                Some(_) => file.integer(&name)?,
                None => 0,
            };
            backbone.insert(name, Tensor::new(batches, &Device::Cpu)?);
        }
        let tables = tables(config);
        let mut report = LoadReport {
            matched: backbone.keys().cloned().collect(),
            ..LoadReport::default()
        };
        let head = head(&tables, &mut file, classes, seed, &mut report)?;
        report.matched.sort_unstable();
        report.bad_numbers = file.take_bad_numbers();
        let values = Values {
            arena: head,
            statistics: Vec::new(),
            batches_tracked: 0,
        };
        let network = ZooNetwork {
            config: config.clone(),
            extractor,
            backbone,
            key,
            parameters: Parameters::new(tables, values, device)?,
            seed,
        };
        Ok((network, report))
    }

    /// The head's weight `[classes, features]` and bias `[classes]`.
    fn head(&self) -> Result<[Tensor; 2]> {
        let arena = self.parameters.arena()?;
        let [weight, bias] = [0, 1].map(|index| {
            let segment = &self.parameters.segments()[index];
            view(arena, segment)
        });
        Ok([weight?, bias?])
    }
}

/// Applies a head's weight and bias to `features` `[n, in]`.
fn linear(features: &Tensor, [weight, bias]: [&Tensor; 2]) -> candle_core::Result<Tensor> {
    features.matmul(&weight.t()?)?.broadcast_add(bias)
}

/// The head's parameters. The backbone has no trainable parameters.
fn tables(config: &ZooConfig) -> Tables {
    let name = |leaf: &str| format!("{}.{leaf}", config.name.classifier());
    let mut parameters = Table::default();
    let shape = vec![config.classes, config.name.features()];
    parameters.push(name("weight"), shape, Role::LinearWeight);
    parameters.push(name("bias"), vec![config.classes], Role::Bias);
    Tables {
        backbone: 0..0,
        head: 0..parameters.len(),
        depths: vec![0; parameters.segments().len()],
        parameters,
        statistics: Table::default(),
    }
}

/// The head's values. They come from the file if it has a whole classifier of these shapes, or rows
/// for the classes named in `classes`. Otherwise they are initial values.
fn head(
    tables: &Tables,
    file: &mut TensorFile,
    classes: Option<&[String]>,
    seed: u64,
    report: &mut LoadReport,
) -> Result<Vec<f32>> {
    let segments = tables.parameters.segments();
    let mut values = initialise::head(segments, seed);
    let fits = |segment: &Segment| file.shape(&segment.name) == Some(&segment.shape);
    let whole = segments.iter().all(fits);
    for segment in segments {
        match file.shape(&segment.name) {
            Some(_) if whole => report.matched.push(segment.name.clone()),
            Some(shape) => report.mismatched.push(Mismatch {
                name: segment.name.clone(),
                file: shape.to_vec(),
                model: segment.shape.clone(),
            }),
            None => report.missing.push(segment.name.clone()),
        }
    }
    report.new_classifier = !whole;
    let metadata = metadata(file)?;
    let theirs = metadata.as_ref().and_then(WeightsMetadata::named_classes);
    if let Some(classes) = classes {
        let classifier = Classifier {
            tensors: [0, 1].map(|index| (&segments[index], segments[index].name.clone())),
            classes,
        };
        classifier.claim(theirs.is_some(), report);
        if let Some(theirs) = theirs {
            classifier.load(theirs, file, &mut values, report)?;
            return Ok(values);
        }
    }
    if whole {
        for segment in segments {
            file.read(&segment.name, &mut values[segment.range.clone()])?;
        }
    }
    Ok(values)
}

fn key(config: &ZooConfig, backbone: &BTreeMap<String, Tensor>) -> Result<String> {
    let mut key = BackboneKey::new(config.name.name(), "candle");
    for tensor in backbone.values() {
        key.numbers(&tensor.flatten_all()?.to_vec1()?);
    }
    Ok(key.finish())
}

impl Model for ZooNetwork {
    fn description(&self) -> ModelDescription {
        self.config.clone().into()
    }

    fn device(&self) -> &Device {
        self.parameters.tensor_device()
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn trains_backbone(&self) -> bool {
        false
    }

    fn executor(&self) -> &'static str {
        "candle"
    }

    fn run_on(&mut self, _: &Processor, precision: Precision) -> Result<()> {
        match precision {
            Precision::F32 => Ok(()),
            other => Err(Error::OnlyF32(self.config.name, other)),
        }
    }

    fn infer(&self, images: &Images) -> Result<Tensor> {
        self.infer_head(&self.features(images)?)
    }

    fn features(&self, images: &Images) -> Result<Tensor> {
        let images = images.values()?;
        let count = images.dim(0)?;
        let mut features = Vec::with_capacity(count.div_ceil(TOGETHER));
        for first in (0..count).step_by(TOGETHER) {
            let some = images.narrow(0, first, TOGETHER.min(count - first))?;
            let some = some.permute((0, 3, 1, 2))?.contiguous()?;
            features.push(self.extractor.forward(&some)?);
        }
        Ok(Tensor::cat(&features, 0)?.detach())
    }

    fn grad_cam(&self, _: &Images, _: Option<&[usize]>) -> Result<GradCam> {
        Err(Error::NoMap(self.config.name))
    }

    fn feature_count(&self) -> usize {
        self.config.name.features()
    }

    fn backbone_key(&self) -> Result<String> {
        Ok(self.key.clone())
    }

    fn infer_head(&self, features: &Tensor) -> Result<Tensor> {
        let [weight, bias] = self.head()?;
        Ok(linear(features, [&weight, &bias])?)
    }

    fn forward_step(
        &mut self,
        images: &Images,
        step: u64,
        freeze_backbone: bool,
    ) -> Result<ForwardPass> {
        if !freeze_backbone {
            return Err(Error::Frozen(self.config.name));
        }
        self.forward_head_step(&self.features(images)?, step)
    }

    fn forward_head_step(&mut self, features: &Tensor, step: u64) -> Result<ForwardPass> {
        let step = TrainingStep {
            dropout_seed: self.seed,
            step,
            freeze_backbone: true,
        };
        let [weight, bias] = self.head()?;
        let leaves = [Var::from_tensor(&weight)?, Var::from_tensor(&bias)?];
        let mut x = features.clone();
        if self.config.dropout > 0.0 {
            let mask = dropout_mask(x.elem_count(), self.config.dropout, step);
            x = (&x * Tensor::from_vec(mask, x.shape(), x.device())?)?;
        }
        let logits = linear(&x, [leaves[0].as_tensor(), leaves[1].as_tensor()])?;
        let leaves = leaves.into_iter().map(Some).collect();
        let tape = GraphTape::new(&logits, self.parameters.segments(), leaves);
        Ok(ForwardPass::new(&self.parameters, (logits, Box::new(tape))))
    }

    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut tensors = self.backbone.clone();
        tensors.extend(self.parameters.named()?);
        Ok(tensors)
    }
}
