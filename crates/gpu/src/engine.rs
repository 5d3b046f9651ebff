//! The engine: a network on a device.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::program::{Folding, Program, fold, lower};
use engine::{
    Buffer, DeviceValues, Engine, FusedError, ImagePixels, Images, Pass, Plan, RunningStatistics,
};

use crate::device::{Device, DeviceError, Launch, Storage};
use crate::step::{self, BatchShape, Fixed, Folded, Ports, Step};
use crate::training::Training;
use crate::transfer::floats;
use crate::values::{Added, Divided, MEASURING_BLOCKS};

/// Trains and runs a network on a device. It keeps the memory of the last batch's shape.
#[derive(Debug)]
pub struct Gpu<D: Device> {
    device: Arc<D>,
    plan: Arc<Plan>,
    pub(crate) program: Program,
    folding: Folding,
    fixed: Fixed,
    /// Parameters, statistics, gradient, momentum and sums.
    _memory: D::Memory,
    pub(crate) training: Mutex<Training<D>>,
    added: Mutex<Vec<Option<Added<D>>>>,
    ranges: Mutex<Vec<Option<Divided<D>>>>,
}

/// A step in its memory.
#[derive(Debug)]
pub(crate) struct Placed<D: Device> {
    pub(crate) ports: Ports,
    pub(crate) forward: D::Graph,
    pub(crate) backward: D::Graph,
    _memory: D::Memory,
}

/// The step of the last batch's shape.
#[derive(Debug)]
pub(crate) struct Current<D: Device> {
    pub(crate) batch: BatchShape,
    pub(crate) step: Placed<D>,
}

/// A network's weights, ready for inference.
#[derive(Debug)]
pub struct Weights<D: Device> {
    fixed: Fixed,
    folded: Folded,
    _memory: [D::Memory; 2],
    step: Mutex<Option<Current<D>>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn failed(error: DeviceError) -> FusedError {
    FusedError::Device(error.to_string())
}

impl<D: Device> Gpu<D> {
    /// An engine for `plan`. `None` if it has layers that no engine runs.
    ///
    /// # Errors
    /// If the device has too little memory for the parameters.
    pub fn new(plan: Arc<Plan>, device: Arc<D>) -> Result<Option<Self>, DeviceError> {
        let Some(program) = lower(&plan).filter(|_| step::has_layers(&plan)) else {
            return Ok(None);
        };
        let memory = device.allocate(fixed(&plan, 0).1)?;
        Ok(Some(Gpu {
            folding: fold(&plan, &program),
            fixed: fixed(&plan, D::address(&memory)).0,
            _memory: memory,
            training: Mutex::new(Training::new()),
            added: Mutex::default(),
            ranges: Mutex::default(),
            program,
            plan,
            device,
        }))
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn fixed(&self) -> Fixed {
        self.fixed
    }

    pub(crate) fn added(&self) -> &Mutex<Vec<Option<Added<D>>>> {
        &self.added
    }

    pub(crate) fn ranges(&self) -> &Mutex<Vec<Option<Divided<D>>>> {
        &self.ranges
    }

    /// Prepares the step of a batch. Its launches depend on the address of its memory.
    fn place(
        &self,
        batch: BatchShape,
        make: impl Fn(BatchShape, u64) -> Step,
    ) -> Result<Placed<D>, DeviceError> {
        let bytes = make(batch, 0).bytes;
        let memory = match self.device.allocate(bytes) {
            Err(DeviceError::Memory { .. }) => {
                let free = self.device.free()?;
                let fits = |images| make(BatchShape { images, ..batch }, 0).bytes <= free;
                return Err(DeviceError::Batch {
                    images: batch.images,
                    needed: gib(bytes),
                    free: gib(free),
                    largest: largest(batch.images, fits),
                });
            }
            other => other?,
        };
        let step = make(batch, D::address(&memory));
        for (at, bytes) in &step.ports.constants {
            // SAFETY: within the memory of the step.
            unsafe { self.device.write(*at, bytes)? };
        }
        Ok(Placed {
            forward: self.device.prepare(step.forward)?,
            backward: self.device.prepare(step.backward)?,
            ports: step.ports,
            _memory: memory,
        })
    }

    /// The step of a batch: the current one, or a new one that replaces it.
    pub(crate) fn current<'a>(
        &self,
        current: &'a mut Option<Current<D>>,
        batch: BatchShape,
        make: impl Fn(BatchShape, u64) -> Step,
    ) -> Result<&'a Placed<D>, FusedError> {
        // Memory of another shape is freed before the new step is placed.
        let kept = current.take().filter(|of| of.batch == batch);
        let kept = match kept {
            Some(kept) => kept,
            None => Current {
                batch,
                step: self.place(batch, make).map_err(failed)?,
            },
        };
        Ok(&current.insert(kept).step)
    }

    /// Runs inference, and reads the rows of the logits or the features.
    fn evaluate(
        &self,
        weights: &Weights<D>,
        images: Images<'_>,
        logits: bool,
        rows: &mut [f32],
    ) -> Result<(), FusedError> {
        images.check()?;
        let channels = if logits {
            self.plan.classes()
        } else {
            self.plan.feature_count()
        };
        let what = if logits { "logits" } else { "features" };
        let expected = images.count * channels;
        engine::check_length(what, rows.len(), expected)?;
        if images.count == 0 {
            return Ok(());
        }
        let batch = self.shape(&images)?;
        // One pass at a time: passes share memory.
        let mut current = lock(&weights.step);
        let placed = self.current(&mut current, batch, |batch, base| {
            let (program, storage) = (&self.folding.program, self.device.storage());
            let (folded, fixed) = (&weights.folded, weights.fixed);
            step::infer(&self.plan, program, folded, storage, batch, fixed, base)
        })?;
        let place = if logits {
            placed.ports.logits
        } else {
            placed.ports.features
        };
        let Some(place) = place else {
            unreachable!("inference stores the features and the logits");
        };
        let mut run = || {
            self.write_images(&placed.ports, images)?;
            // SAFETY: the step and the weights are in memory.
            unsafe { self.device.run(&placed.forward)? };
            self.read_rows(place, rows, channels, logits)
        };
        run().map_err(failed)
    }

    /// The shape of a batch, if the network can run it.
    pub(crate) fn shape(&self, images: &Images<'_>) -> Result<BatchShape, FusedError> {
        engine::check_shapes(&self.plan, images)?;
        Ok(BatchShape {
            images: images.count,
            height: images.height,
            width: images.width,
            bytes: matches!(images.pixels, ImagePixels::U8(..)),
        })
    }
}

fn gib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// The largest number below `images` that fits, or 0.
fn largest(images: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut fitting, mut failing) = (0, images);
    while fitting + 1 < failing {
        let middle = usize::midpoint(fitting, failing);
        if fits(middle) {
            fitting = middle;
        } else {
            failing = middle;
        }
    }
    fitting
}

/// The launches of a training step, and the bytes of memory that it needs. Nothing runs. `None` if the network has
/// layers that the engine lacks, or the images are too small for it.
pub fn training_launches(
    plan: &Plan,
    storage: Storage,
    batch: BatchShape,
) -> Option<(Vec<Launch>, usize)> {
    let program = lower(plan).filter(|_| step::has_layers(plan))?;
    let shapes = plan.shapes(batch.height, batch.width);
    if shapes.iter().any(|shape| shape.pixels() == 0) {
        return None;
    }
    let (fixed, own) = fixed(plan, 0);
    let step = step::train(plan, &program, storage, batch, fixed, 0);
    let launches = step.forward.into_iter().chain(step.backward).collect();
    Some((launches, own + step.bytes))
}

/// The addresses of a network's own memory from `base` on, and its size in bytes.
fn fixed(plan: &Plan, base: u64) -> (Fixed, usize) {
    // Kernels read up to 7 numbers behind a bias.
    let padded = |count: usize| (4 * (count + 8)).next_multiple_of(256) as u64;
    let parameters = padded(plan.parameters.len());
    let statistics = padded(plan.statistics.len());
    let fixed = Fixed {
        parameters: base,
        statistics: base + parameters,
        gradient: base + parameters + statistics,
        momentum: base + 2 * parameters + statistics,
        sums: base + 2 * parameters + statistics + 256,
    };
    let size = 2 * parameters as usize + statistics as usize + 256 + 16 * MEASURING_BLOCKS;
    (fixed, size)
}

impl<D: Device> Engine for Gpu<D> {
    const NAME: &'static str = "gpu";
    type Folded = Weights<D>;
    type Record = Pass;

    fn kind(&self) -> String {
        format!("{}, {}", self.device.name(), self.device.storage().name())
    }

    fn fold(&self, parameters: &[f32], statistics: &[f32]) -> Result<Weights<D>, FusedError> {
        engine::check_fold(&self.plan, parameters, statistics)?;
        let (plan, program, norms) = (&self.plan, &self.folding.program, &self.folding.norms);
        let storage = self.device.storage();
        let run = || {
            let own = self.device.allocate(fixed(plan, 0).1)?;
            let fixed = fixed(plan, D::address(&own)).0;
            let bytes = step::fold(plan, program, norms, storage, fixed, 0).bytes;
            let packed = self.device.allocate(bytes)?;
            let base = D::address(&packed);
            let mut folded = step::fold(plan, program, norms, storage, fixed, base);
            let launches = std::mem::take(&mut folded.launches);
            let graph = self.device.prepare(launches)?;
            // SAFETY: both blocks of memory were allocated for this.
            unsafe {
                self.device.write(fixed.parameters, floats(parameters))?;
                self.device.write(fixed.statistics, floats(statistics))?;
                self.device.run(&graph)?;
            }
            Ok(Weights {
                fixed,
                folded,
                _memory: [own, packed],
                step: Mutex::default(),
            })
        };
        run().map_err(failed)
    }

    fn infer(
        &self,
        weights: &Weights<D>,
        images: Images<'_>,
        logits: &mut [f32],
    ) -> Result<(), FusedError> {
        self.evaluate(weights, images, true, logits)
    }

    fn features(
        &self,
        weights: &Weights<D>,
        images: Images<'_>,
        features: &mut [f32],
    ) -> Result<(), FusedError> {
        self.evaluate(weights, images, false, features)
    }

    fn device_values(self: &Arc<Self>) -> Option<Arc<dyn DeviceValues>> {
        Some(Arc::clone(self) as Arc<dyn DeviceValues>)
    }

    fn forward(
        &self,
        parameters: &[f32],
        statistics: RunningStatistics<'_>,
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits: &mut [f32],
    ) -> Result<Pass, FusedError> {
        engine::check_fold(&self.plan, parameters, statistics.values)?;
        self.write(Buffer::Parameters, parameters)?;
        self.write(Buffer::Statistics, statistics.values)?;
        let pass = self.forward_step(statistics.momentum, images, masks, logits)?;
        self.read(Buffer::Statistics, statistics.values)?;
        Ok(pass)
    }

    fn backward(
        &self,
        pass: Pass,
        parameters: &[f32],
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits_gradient: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), FusedError> {
        let gradients = (logits_gradient, &*gradient);
        engine::check_backward(
            &self.plan,
            parameters,
            &images,
            pass.images,
            masks,
            gradients,
        )?;
        self.backward_step(pass, logits_gradient)?;
        self.read(Buffer::Gradient, gradient)
    }
}
