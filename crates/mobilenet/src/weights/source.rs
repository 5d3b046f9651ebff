//! Opens a weights file from any project, recognises its network, and loads it.

mod assumed;
mod design;
mod other;
mod rows;

use std::collections::HashSet;
use std::path::Path;

use candle_core::Device;
use engine::Plan;
use framing::Orientation;

use crate::run::parameters::Values;
use crate::weights::load::{Names, compare, fill};
use crate::weights::metadata::{WeightsMetadata, metadata};
use crate::weights::overrides::Overrides;
use crate::weights::recognise::{Origin, recognise};
use crate::weights::schemes::TensorName;
use crate::weights::tensor_file::TensorFile;
use crate::weights::usage::Usage;
use crate::{
    ClassOrder, Design, Error, LoadReport, ModelConfig, ModelDescription, Network, Padding, Result,
    Scheme, TORCHVISION_MOMENTUM, Variant,
};
use other::{backbone, fits_too_little, unknown};

/// A network from a file.
pub struct Loaded<M = Network> {
    /// The loaded network.
    pub network: M,
    /// The file's metadata. Missing entries have assumed values.
    pub metadata: WeightsMetadata,
    /// The result of comparing file and network.
    pub report: LoadReport,
}

/// An open weights file (safetensors or PyTorch's format) with recognised names.
///
/// ```no_run
/// use mobilenet::weights::{Overrides, Source};
/// use mobilenet::{ModelConfig, Network, Variant};
///
/// let mut source = Source::open("mobilenetv3_large_100.safetensors".as_ref(), Overrides::default())?;
/// let model = source.adapt(&ModelConfig::new(Variant::LARGE, 5))?;
/// let mut network = Network::new(&model, 1, &candle_core::Device::Cpu)?;
/// println!("{}", source.load_into(&mut network)?);
/// # Ok::<(), mobilenet::Error>(())
/// ```
pub struct Source {
    file: TensorFile,
    /// The network's configuration and the metadata, if the file contains them.
    metadata: Option<(ModelConfig, WeightsMetadata)>,
    origin: Origin,
    /// The design of the file's network.
    design: Design,
    overrides: Overrides,
}

impl Source {
    /// Opens a file and recognises its naming scheme.
    ///
    /// # Errors
    /// If the file is not a complete file of tensors, or no known scheme matches its names.
    pub fn open(path: &Path, overrides: Overrides) -> Result<Source> {
        Source::of_file(TensorFile::open(path)?, overrides)
    }

    pub(crate) fn of_file(file: TensorFile, overrides: Overrides) -> Result<Source> {
        let metadata = match metadata(&file)? {
            None => None,
            Some(metadata) => match &metadata.model {
                ModelDescription::MobileNet(model) => Some((model.clone(), metadata)),
                ModelDescription::Zoo(model) => {
                    let reason = format!(
                        "it holds the frozen backbone {}, expected another network",
                        model.name
                    );
                    return Err(Error::format(file.path(), reason));
                }
            },
        };
        let origin = match &metadata {
            Some((model, _)) => Origin::of(model, |name| file.shape(name).is_some())?,
            None => recognise(file.tensors()).ok_or_else(|| unknown(&file))?,
        };
        let design = match &metadata {
            Some((model, _)) => model.design,
            None => design::find(&origin, &file),
        };
        Ok(Source {
            file,
            metadata,
            origin,
            design,
            overrides,
        })
    }

    /// The file's metadata, if [`save`](crate::weights::save) wrote it.
    pub fn metadata(&self) -> Option<&WeightsMetadata> {
        self.metadata.as_ref().map(|(_, metadata)| metadata)
    }

    /// The file's naming scheme.
    pub fn scheme(&self) -> Scheme {
        self.origin.scheme
    }

    /// The network's configuration, from the file's metadata if present, otherwise from names and shapes.
    ///
    /// # Errors
    /// If no width fits the shapes of the file's tensors.
    pub fn model(&self) -> Result<ModelConfig> {
        match self.metadata {
            Some(_) => Ok(self.network(self.origin.variant)),
            None => self.inferred(),
        }
    }

    /// The configuration of the file's network, under this name, without width and classes, which depend on the shapes.
    fn network(&self, name: Variant) -> ModelConfig {
        let Origin { scheme, head, .. } = self.origin;
        self.with_overrides(match &self.metadata {
            Some((model, _)) => model.clone(),
            None => {
                let usage = Usage::of(scheme, name);
                ModelConfig {
                    head,
                    design: self.design,
                    padding: usage.padding,
                    batch_norm_epsilon: usage.epsilon,
                    batch_norm_momentum: TORCHVISION_MOMENTUM,
                    ..ModelConfig::new(name, 1)
                }
            }
        })
    }

    /// Returns `model`, changed to fit the file: it gets the file's design, padding and batch-norm epsilon.
    ///
    /// # Errors
    /// If the file contains another network.
    pub fn adapt(&self, model: &ModelConfig) -> Result<ModelConfig> {
        let own = match self.holds(model.name)? {
            true => self.network(model.name),
            false => self.network(self.origin.variant),
        };
        if own.name != model.name {
            return Err(self.format(format!(
                "it holds {}, and the model is {}: set model.name to what the file holds",
                own.name, model.name
            )));
        }
        Ok(ModelConfig {
            design: own.design,
            padding: own.padding,
            batch_norm_epsilon: own.batch_norm_epsilon,
            ..model.clone()
        })
    }

    /// Whether the file may hold the network of this name. Some networks differ only in the images that their published
    /// weights expect, so that names and shapes do not tell them apart.
    fn holds(&self, name: Variant) -> Result<bool> {
        let own = self.origin.variant;
        if name == own || self.metadata.is_some() || name.family() != own.family() {
            return Ok(name == own);
        }
        let [own, other] = [own, name].map(|name| self.network(name).plan());
        let (own, other) = (own?, other?);
        Ok(own.parameters == other.parameters && own.statistics == other.statistics)
    }

    /// Fills a network with the matching tensors. Other tensors, such as a head for other classes, keep their values.
    /// The report lists them.
    ///
    /// # Errors
    /// [`Error::OtherModel`] if fewer than nine tenths of the backbone's tensors fit, or no tensor of one kind, or if the
    /// file has more tensors inside the backbone's modules. Also if the network's configuration differs from the one that
    /// [`Source::adapt`] returns. [`Error::BadNumbers`] if a tensor has unusable values. In all cases the network is
    /// unchanged.
    pub fn load_into(&mut self, network: &mut Network) -> Result<LoadReport> {
        self.fill(network, None)
    }

    fn fill(&mut self, network: &mut Network, classes: Option<&[String]>) -> Result<LoadReport> {
        let config = network.config();
        let adapted = self.adapt(config)?;
        if adapted != *config {
            return Err(self.format(format!(
                "its network has design {:?}, padding {:?} and batch-norm epsilon {}, the model {:?}, {:?} and {}",
                adapted.design, adapted.padding, adapted.batch_norm_epsilon,
                config.design, config.padding, config.batch_norm_epsilon
            )));
        }
        let tensors = self.names(config, network.plan())?;
        let names = Names {
            origin: &self.origin,
            tensors: &tensors,
        };
        let mut report = compare(&names, &self.file);
        let plan = network.plan();
        let weight = &plan.parameters.segments()[plan.classifier().weight].name;
        report.new_classifier = report.matched.binary_search(weight).is_err();
        report.assumed = self.assumed(config, network.plan());
        let theirs = self.named_classes()?;
        let classifier = classes.and_then(|classes| self.classifier(plan, &tensors, classes));
        if let Some(classifier) = &classifier {
            classifier.claim(theirs.is_some(), &mut report);
        }
        let backbone = backbone(&tensors, plan);
        if fits_too_little(&report, &backbone) || self.has_other_parts(&report, &backbone) {
            return Err(self.other_model(report, &tensors));
        }
        let mut values = network.parameters().values()?;
        fill(&mut values, plan, &mut self.file, &names, &report)?;
        if let (Some(classifier), Some(theirs)) = (classifier, theirs) {
            classifier.load(&theirs, &mut self.file, &mut values.arena, &mut report)?;
        }
        report.bad_numbers = self.file.take_bad_numbers();
        report.check_numbers(self.file.path())?;
        network.parameters().set_values(values)?;
        Ok(report)
    }

    /// Loads the network in the file, with every tensor.
    ///
    /// # Errors
    /// [`Error::OtherModel`] if a tensor is missing or has another shape, or if the file has more tensors inside the
    /// backbone's modules. Also if the overrides do not fit the file. [`Error::BadNumbers`] if a tensor has unusable values.
    pub fn load(self, device: &Device) -> Result<Loaded> {
        let path = self.file.path().to_owned();
        let loaded = self.load_unchecked(device)?;
        loaded.report.check_numbers(&path)?;
        Ok(loaded)
    }

    /// As [`Source::load`], but lists unusable values in the report instead of refusing them.
    pub(crate) fn load_unchecked(mut self, device: &Device) -> Result<Loaded> {
        let model = self.model()?;
        let plan = model.plan()?;
        let tensors = self.names(&model, &plan)?;
        let names = Names {
            origin: &self.origin,
            tensors: &tensors,
        };
        let mut report = compare(&names, &self.file);
        let own = self.metadata.is_some();
        let has_others = match own {
            true => !report.unexpected.is_empty(),
            false => self.has_other_parts(&report, &backbone(&tensors, &plan)),
        };
        if !report.missing.is_empty() || !report.mismatched.is_empty() || has_others {
            return Err(self.other_model(report, &tensors));
        }
        let metadata = self.described(&model)?;
        report.assumed = self.assumed(&model, &plan);
        if !own {
            report.assumed.extend(self.assumed_use(&metadata));
        }
        let mut values = Values::zeros(&plan);
        fill(&mut values, &plan, &mut self.file, &names, &report)?;
        report.bad_numbers = self.file.take_bad_numbers();
        let network = Network::with_values(&model, plan, values, 0, device)?;
        Ok(Loaded {
            network,
            metadata,
            report,
        })
    }

    fn names(&self, model: &ModelConfig, plan: &Plan) -> Result<Vec<TensorName>> {
        let names = model.name.names(self.origin.scheme, plan);
        names.ok_or_else(|| {
            self.format(format!(
                "{} has no names for a {} with the {} head",
                self.origin.scheme, model.name, model.head
            ))
        })
    }

    fn with_overrides(&self, mut model: ModelConfig) -> ModelConfig {
        model.padding = self.overrides.padding.unwrap_or(model.padding);
        let epsilon = self.overrides.batch_norm_epsilon;
        model.batch_norm_epsilon = epsilon.unwrap_or(model.batch_norm_epsilon);
        model
    }

    /// Infers the network's width from the shapes in the file.
    fn inferred(&self) -> Result<ModelConfig> {
        let mut model = self.network(self.origin.variant);
        let (family, _) = model.name.of();
        // Widths in steps of a twentieth include every published width.
        let steps = if family.has_width { 80 } else { 0 };
        let widths = std::iter::once(1.0).chain((1..=steps).map(|step| f64::from(step) / 20.0));
        let mut best: Option<(LoadReport, f64, Vec<TensorName>)> = None;
        for width in widths {
            model.width = width;
            let plan = model.plan()?;
            let tensors = self.names(&model, &plan)?;
            let names = Names {
                origin: &self.origin,
                tensors: &tensors,
            };
            let report = compare(&names, &self.file);
            let classifier = &plan.parameters.segments()[plan.classifier().weight];
            let other = report.mismatched.iter().find(|m| m.name == classifier.name);
            // An empty tensor says nothing about the classes.
            if let Some(other) = other
                && let Some(&classes) = other.file.first()
                && !other.file.contains(&0)
            {
                model.classes = classes;
            }
            let head = head(&plan);
            if (report.mismatched.iter()).all(|m| head.contains(m.name.as_str())) {
                return Ok(model);
            }
            let matched = report.matched.len();
            if best
                .as_ref()
                .is_none_or(|(best, ..)| matched > best.matched.len())
            {
                best = Some((report, width, tensors));
            }
        }
        match best {
            // Loading reports the tensors that do not fit.
            Some((report, width, _)) if report.matched.len() > report.mismatched.len() => {
                model.width = width;
                Ok(model)
            }
            Some((report, _, tensors)) => Err(self.other_model(report, &tensors)),
            None => Err(unknown(&self.file)),
        }
    }

    /// The file's metadata, with the overrides applied.
    fn described(&self, model: &ModelConfig) -> Result<WeightsMetadata> {
        let described = match &self.metadata {
            Some((_, metadata)) => WeightsMetadata {
                model: model.clone().into(),
                ..metadata.clone()
            },
            None => {
                let mut usage = Usage::of(self.scheme(), model.name);
                if self.overrides.padding == Some(Padding::Same) {
                    usage = usage.tensorflow(model.name);
                }
                let classes = (0..model.classes).map(|class| class.to_string()).collect();
                let model = model.clone().into();
                WeightsMetadata {
                    class_order: ClassOrder::Numbered,
                    framing: usage.framing,
                    orientation: Orientation::Ignore,
                    normalisation: usage.normalisation,
                    ..WeightsMetadata::new(model, classes, usage.image_size)
                }
            }
        };
        self.overrides.clone().over(described, self.file.path())
    }

    fn format(&self, reason: String) -> Error {
        Error::format(self.file.path(), reason)
    }
}

/// The names of the parameters of the head.
fn head(plan: &Plan) -> HashSet<&str> {
    let segments = plan.parameters.segments().iter();
    let head = segments.filter(|segment| segment.range.start >= plan.head.start);
    head.map(|segment| segment.name.as_str()).collect()
}
