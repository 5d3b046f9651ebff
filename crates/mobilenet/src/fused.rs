//! An executor made of this project's own kernels, for CPUs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Tensor, TensorId, Var, bail};
use engine::{
    Folded, Fused as Engine, FusedError, FusedOptions, ImagePixels, Images as EngineImages, Plan,
    Record, RunningStatistics,
};

use crate::composed::Composed;
use crate::dropout::dropout_mask;
use crate::executor::{Executor, Tape, TrainingStep};
use crate::slices::{read_slice, write_slice};
use crate::{Images, Parameters, Result};

/// Runs a plan with the fused engine. Its tensors are on the CPU.
#[derive(Debug)]
pub struct Fused {
    engine: Arc<Engine>,
    plan: Arc<Plan>,
    /// Trains the head if the backbone is frozen.
    composed: Composed,
    /// The weights folded for inference, and the state of the parameters they were folded from.
    folded: Mutex<Option<(State, Arc<Folded>)>>,
}

/// Identifies the values of a network: the arena, and the versions of arena and statistics.
type State = (TensorId, [u64; 2]);

impl Fused {
    /// Creates an executor for `plan`.
    pub fn new(plan: Arc<Plan>, options: FusedOptions) -> Self {
        Fused {
            engine: Arc::new(Engine::new(Arc::clone(&plan), options)),
            composed: Composed::new(Arc::clone(&plan)),
            folded: Mutex::default(),
            plan,
        }
    }

    fn folded(&self, parameters: &Parameters) -> Result<Arc<Folded>> {
        let state = (parameters.arena().id(), parameters.versions());
        let mut cached = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, folded)) = &*cached
            && *of == state
        {
            return Ok(Arc::clone(folded));
        }
        let folded = read_slice(parameters.arena(), |arena| {
            read_slice(parameters.statistics(), |statistics| {
                self.engine.fold(arena, statistics)
            })
        })???;
        let folded = Arc::new(folded);
        *cached = Some((state, Arc::clone(&folded)));
        Ok(folded)
    }

    /// Runs an inference pass of the engine that writes `width` values per image.
    fn inferred(
        &self,
        parameters: &Parameters,
        images: &Images,
        width: usize,
        pass: impl FnOnce(&Folded, EngineImages<'_>, &mut [f32]) -> Result<(), FusedError>,
    ) -> Result<Tensor> {
        let folded = self.folded(parameters)?;
        let count = images.pixels().dim(0)?;
        let mut rows = vec![0.0; count * width];
        with_images(images, |images| pass(&folded, images, &mut rows))??;
        Ok(Tensor::from_vec(rows, (count, width), &Device::Cpu)?)
    }
}

/// Converts images to the engine's type and passes them to a function.
fn with_images<R>(
    images: &Images,
    f: impl FnOnce(EngineImages<'_>) -> R,
) -> candle_core::Result<R> {
    let (count, height, width, _) = images.pixels().dims4()?;
    let f = |pixels: ImagePixels<'_>| {
        f(EngineImages {
            count,
            height,
            width,
            pixels,
        })
    };
    match images.table() {
        Some(table) => read_slice(images.pixels(), |bytes| f(ImagePixels::U8(bytes, table))),
        None => read_slice(images.pixels(), |values| f(ImagePixels::F32(values))),
    }
}

impl Executor for Fused {
    fn name(&self) -> &'static str {
        "fused"
    }

    fn kind(&self) -> String {
        format!("{}, {}", self.name(), self.engine.isa())
    }

    fn features(&self, parameters: &Parameters, images: &Images) -> Result<Tensor> {
        let width = self.plan.spec.features;
        self.inferred(parameters, images, width, |folded, images, features| {
            self.engine.features(folded, images, features)
        })
    }

    fn infer_head(&self, parameters: &Parameters, features: &Tensor) -> Result<Tensor> {
        self.composed.infer_head(parameters, features)
    }

    fn forward_head(
        &self,
        parameters: &Parameters,
        features: &Tensor,
        step: TrainingStep,
    ) -> Result<(Tensor, Box<dyn Tape>)> {
        self.composed.forward_head(parameters, features, step)
    }

    fn infer(&self, parameters: &Parameters, images: &Images) -> Result<Tensor> {
        let classes = self.plan.spec.head.classes;
        self.inferred(parameters, images, classes, |folded, images, logits| {
            self.engine.infer(folded, images, logits)
        })
    }

    fn forward(
        &self,
        parameters: &Parameters,
        images: &Images,
        step: TrainingStep,
    ) -> Result<(Tensor, Box<dyn Tape>)> {
        if step.freeze_backbone {
            let features = self.features(parameters, images)?;
            return self.forward_head(parameters, &features, step);
        }
        let (count, head) = (images.pixels().dim(0)?, &self.plan.spec.head);
        let mask = (head.dropout > 0.0)
            .then(|| dropout_mask(count * self.plan.classifier.in_features, head.dropout, step));
        let momentum = parameters.momentum(self.plan.spec.batch_norm);
        let mut logits = vec![0.0; count * head.classes];
        let mut record = None;
        read_slice(parameters.arena(), |arena| {
            with_images(images, |images| {
                parameters.update_statistics(|statistics| {
                    let mask = mask.as_deref();
                    let logits = &mut logits;
                    let running = RunningStatistics {
                        values: statistics,
                        momentum,
                    };
                    record = Some(self.engine.forward(arena, running, images, mask, logits));
                })
            })
        })???;
        let record = record.ok_or_else(|| candle_core::Error::msg("no statistics to update"))??;
        parameters.batch_tracked();
        let tape = FusedTape {
            engine: Arc::clone(&self.engine),
            record: Mutex::new(record),
            arena: parameters.arena().clone(),
            arena_version: parameters.arena_version(),
            version: parameters.versions()[0],
            images: images.clone(),
            mask,
        };
        let logits = Tensor::from_vec(logits, (count, head.classes), &Device::Cpu)?;
        Ok((logits, Box::new(tape)))
    }
}

struct FusedTape {
    engine: Arc<Engine>,
    record: Mutex<Record>,
    arena: Tensor,
    arena_version: Arc<AtomicU64>,
    /// The version of the arena in the forward pass.
    version: u64,
    images: Images,
    mask: Option<Vec<f32>>,
}

impl Tape for FusedTape {
    fn backward(
        self: Box<Self>,
        logits_gradient: &Tensor,
        gradient: &Var,
    ) -> candle_core::Result<()> {
        let FusedTape {
            engine,
            record,
            arena,
            arena_version,
            version,
            images,
            mask,
        } = *self;
        if arena_version.load(Ordering::Acquire) != version {
            bail!("the parameters have changed since the forward pass")
        }
        let Ok(record) = record.into_inner() else {
            bail!("an earlier pass of the network panicked")
        };
        let (mut record, mut outcome) = (Some(record), Ok(()));
        let slope = logits_gradient.contiguous()?;
        read_slice(&arena, |arena| {
            read_slice(&slope, |slope| {
                with_images(&images, |images| {
                    write_slice(gradient, |gradient| {
                        if let Some(record) = record.take() {
                            let mask = mask.as_deref();
                            outcome = engine.backward(record, arena, images, mask, slope, gradient);
                        }
                    })
                })
            })
        })????;
        outcome.map_err(candle_core::Error::wrap)
    }
}
