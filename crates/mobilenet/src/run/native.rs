//! Executors made of this project's own kernels. Tensors are on the CPU.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Tensor, TensorId, Var, bail};
use engine::{
    CpuEngine, DeviceValues, Engine, FusedError, FusedOptions, ImagePixels, Images as EngineImages,
    Pass, Plan, RunningStatistics,
};

use crate::run::composed::Composed;
use crate::run::dropout::layer_mask;
use crate::run::executor::{Executor, Tape, TrainingStep};
use crate::run::slices::{read_slice, write_slice};
use crate::{Images, Parameters, Result};

/// Runs chains of inverted residual blocks ([`engine::Chain`]).
pub type Fused = Native<engine::Fused>;

/// Runs any network of convolutions ([`engine::Layered`]).
pub type Layered = Native<engine::Layered>;

/// Runs a plan with an engine: on the CPU, or on a GPU that keeps its own copy of the values. Its tensors are on the CPU.
#[derive(Debug)]
pub struct Native<E: Engine> {
    engine: Arc<E>,
    plan: Arc<Plan>,
    /// Trains the head if the backbone is frozen.
    composed: Composed,
    /// The weights folded for inference, and the state of the parameters they were folded from.
    folded: Mutex<Option<(State, Arc<E::Folded>)>>,
}

/// Identifies the values of a network: the arena, and the versions of arena and statistics.
type State = (TensorId, [u64; 2]);

impl<E: CpuEngine> Native<E> {
    /// Creates an executor for `plan`. `None` if the engine cannot run the network.
    pub fn new(plan: Arc<Plan>, options: FusedOptions) -> Option<Self> {
        let engine = E::new(Arc::clone(&plan), options)?;
        Some(Native::with_engine(plan, engine))
    }
}

impl<E: Engine> Native<E> {
    /// Creates an executor for `plan` with an engine that was made for it.
    pub fn with_engine(plan: Arc<Plan>, engine: E) -> Self {
        Native {
            engine: Arc::new(engine),
            composed: Composed::new(Arc::clone(&plan)),
            folded: Mutex::default(),
            plan,
        }
    }

    fn folded(&self, parameters: &Parameters) -> Result<Arc<E::Folded>> {
        let arena = parameters.arena()?;
        let state = (arena.id(), parameters.versions());
        let mut cached = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, folded)) = &*cached
            && *of == state
        {
            return Ok(Arc::clone(folded));
        }
        let statistics = parameters.statistics()?;
        let folded = read_slice(arena, |arena| {
            read_slice(statistics, |statistics| self.engine.fold(arena, statistics))
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
        pass: impl FnOnce(&E::Folded, EngineImages<'_>, &mut [f32]) -> Result<(), FusedError>,
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

/// The factors of a plan's random layers in a step, for `count` images.
fn masks(plan: &Plan, count: usize, step: TrainingStep) -> Vec<Vec<f32>> {
    let masks = (plan.random_layers())
        .map(|random| layer_mask(plan, random.layer, count * random.width, random.rate, step));
    masks.collect()
}

impl<E: Engine> Executor for Native<E> {
    fn name(&self) -> &'static str {
        E::NAME
    }

    fn kind(&self) -> String {
        format!("{}, {}", self.name(), self.engine.kind())
    }

    fn features(&self, parameters: &Parameters, images: &Images) -> Result<Tensor> {
        let width = self.plan.feature_count();
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
        let classes = self.plan.classes();
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
        let (count, classes) = (images.pixels().dim(0)?, self.plan.classes());
        let masks = masks(&self.plan, count, step);
        let momentum = parameters.momentum(self.plan.batch_norm);
        let mut logits = vec![0.0; count * classes];
        if let Some(values) = self.engine.device_values() {
            parameters.lend(&values)?;
            let pass = with_images(images, |images| {
                values.forward_step(momentum, images, &masks, &mut logits)
            })??;
            parameters.statistics_moved_on_device();
            parameters.batch_tracked();
            let tape = DeviceTape {
                values,
                pass,
                arena_version: parameters.arena_version(),
                version: parameters.versions()[0],
            };
            let logits = Tensor::from_vec(logits, (count, classes), &Device::Cpu)?;
            return Ok((logits, Box::new(tape)));
        }
        let record = read_slice(parameters.arena()?, |arena| {
            with_images(images, |images| {
                parameters.update_statistics(|statistics| {
                    let running = RunningStatistics {
                        values: statistics,
                        momentum,
                    };
                    (self.engine).forward(arena, running, images, &masks, &mut logits)
                })
            })
        })????;
        parameters.batch_tracked();
        let tape = NativeTape {
            engine: Arc::clone(&self.engine),
            record: Mutex::new(record),
            arena: parameters.arena()?.clone(),
            arena_version: parameters.arena_version(),
            version: parameters.versions()[0],
            images: images.clone(),
            masks,
        };
        let logits = Tensor::from_vec(logits, (count, classes), &Device::Cpu)?;
        Ok((logits, Box::new(tape)))
    }
}

/// The state of a forward pass on a device with values of its own.
struct DeviceTape {
    values: Arc<dyn DeviceValues>,
    pass: Pass,
    arena_version: Arc<AtomicU64>,
    /// The version of the arena in the forward pass.
    version: u64,
}

impl Tape for DeviceTape {
    fn backward(self: Box<Self>, logits_gradient: &Tensor, _: &Var) -> candle_core::Result<()> {
        check_unchanged(&self.arena_version, self.version)?;
        let slope = logits_gradient.contiguous()?;
        let (values, pass) = (self.values, self.pass);
        let outcome = read_slice(&slope, |slope| values.backward_step(pass, slope))?;
        outcome.map_err(candle_core::Error::wrap)
    }

    fn device_values(&self) -> Option<Arc<dyn DeviceValues>> {
        Some(Arc::clone(&self.values))
    }
}

fn check_unchanged(arena: &AtomicU64, version: u64) -> candle_core::Result<()> {
    if arena.load(Ordering::Acquire) == version {
        return Ok(());
    }
    bail!("the parameters have changed since the forward pass")
}

struct NativeTape<E: Engine> {
    engine: Arc<E>,
    record: Mutex<E::Record>,
    arena: Tensor,
    arena_version: Arc<AtomicU64>,
    /// The version of the arena in the forward pass.
    version: u64,
    images: Images,
    masks: Vec<Vec<f32>>,
}

impl<E: Engine> Tape for NativeTape<E> {
    fn backward(
        self: Box<Self>,
        logits_gradient: &Tensor,
        gradient: &Var,
    ) -> candle_core::Result<()> {
        let NativeTape {
            engine,
            record,
            arena,
            arena_version,
            version,
            images,
            masks,
        } = *self;
        check_unchanged(&arena_version, version)?;
        let Ok(record) = record.into_inner() else {
            bail!("an earlier pass of the network panicked")
        };
        let slope = logits_gradient.contiguous()?;
        let outcome = read_slice(&arena, |arena| {
            read_slice(&slope, |slope| {
                with_images(&images, |images| {
                    write_slice(gradient, |gradient| {
                        engine.backward(record, arena, images, &masks, slope, gradient)
                    })
                })
            })
        })????;
        outcome.map_err(candle_core::Error::wrap)
    }
}
