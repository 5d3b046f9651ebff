//! Where a network runs.

use std::sync::Arc;

use candle_core::Device;
use engine::Plan;

use crate::run::composed::Composed;
use crate::run::executor::Executor;
use crate::run::native::{Fused, Layered};
use crate::{Error, FusedOptions, Precision, Result};

/// What computes a network: the CPU, a device of candle's, or a GPU with our own kernels.
///
/// ```
/// use candle_core::Device;
/// use mobilenet::{ModelConfig, Network, Precision, Processor, Variant};
///
/// let mut network = Network::new(&ModelConfig::new(Variant::SMALL, 3), 1, &Device::Cpu)?;
/// network.run_on(&Processor::of(Device::Cpu), Precision::F32)?;
/// # Ok::<(), mobilenet::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Processor {
    tensors: Device,
    #[cfg(feature = "cuda")]
    gpu: Option<Arc<cuda::OpenGpu>>,
}

impl Processor {
    /// The device of tensors.
    pub fn of(tensors: Device) -> Processor {
        Processor {
            tensors,
            #[cfg(feature = "cuda")]
            gpu: None,
        }
    }

    /// The NVIDIA GPU with this number, from 0 on. Tensors stay on the CPU. `cache` is a folder for compiled kernels.
    /// `tell` is called with what a user should know about the kernels, when [`Network::run_on`](crate::Network::run_on)
    /// loads them: that NVRTC did not compile them, why, and what to install.
    ///
    /// # Errors
    /// [`Error::Gpu`] says what is missing: the driver, the GPU, or a newer one.
    #[cfg(feature = "cuda")]
    pub fn cuda(
        number: usize,
        cache: Option<std::path::PathBuf>,
        tell: fn(&str),
    ) -> Result<Processor> {
        Ok(Processor {
            tensors: Device::Cpu,
            gpu: Some(Arc::new(cuda::OpenGpu::new(number, cache, tell)?)),
        })
    }

    /// The device of parameters, images and logits.
    pub fn tensors(&self) -> &Device {
        &self.tensors
    }

    /// `cpu`, `cuda` or `metal`.
    pub fn name(&self) -> &'static str {
        #[cfg(feature = "cuda")]
        if self.gpu.is_some() {
            return "cuda";
        }
        match self.tensors {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Metal(_) => "metal",
        }
    }

    /// The name, the architecture, the memory and the driver of a GPU with our own kernels.
    pub fn description(&self) -> Option<String> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = &self.gpu {
            return Some(gpu.description());
        }
        None
    }

    /// The default executor of a network.
    pub(crate) fn executor(
        &self,
        plan: &Arc<Plan>,
        precision: Precision,
    ) -> Result<Box<dyn Executor>> {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = &self.gpu {
            return gpu.executor(plan, precision);
        }
        let plan = Arc::clone(plan);
        Ok(match (&self.tensors, precision) {
            (Device::Cpu, precision) if precision != Precision::F16 => {
                let options = FusedOptions {
                    isa: Some(precision.isa()?),
                    ..FusedOptions::default()
                };
                if let Some(fused) = Fused::new(Arc::clone(&plan), options) {
                    Box::new(fused)
                } else if let Some(layered) = Layered::new(Arc::clone(&plan), options) {
                    Box::new(layered)
                } else if precision == Precision::F32 {
                    Box::new(Composed::new(plan))
                } else {
                    return Err(Error::OnlyConvolutions(plan.name.clone()));
                }
            }
            (_, Precision::F32) => Box::new(Composed::new(plan)),
            (Device::Cuda(_), Precision::F16) => Box::new(Composed::new(plan).with_f16()),
            _ => return Err(Error::Precision(precision)),
        })
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex, PoisonError};

    use engine::Plan;
    use gpu::{Cuda, Found, Gpu, Storage};

    use crate::run::executor::Executor;
    use crate::run::native::Native;
    use crate::{Error, Precision, Result};

    /// A GPU, opened once for each precision that networks use.
    #[derive(Debug)]
    pub(super) struct OpenGpu {
        found: Found,
        cache: Option<PathBuf>,
        tell: fn(&str),
        opened: Mutex<Vec<Arc<Cuda>>>,
    }

    impl OpenGpu {
        pub(super) fn new(
            number: usize,
            cache: Option<PathBuf>,
            tell: fn(&str),
        ) -> Result<OpenGpu> {
            Ok(OpenGpu {
                found: gpu::find(number)?,
                cache,
                tell,
                opened: Mutex::default(),
            })
        }

        pub(super) fn description(&self) -> String {
            let Found {
                name,
                architecture,
                memory,
                driver,
                ..
            } = &self.found;
            let gib = *memory as f64 / f64::from(1 << 30);
            let (major, minor) = (driver / 1000, driver % 1000 / 10);
            format!("{name} ({architecture}, {gib:.1} GiB, driver for CUDA {major}.{minor})")
        }

        fn device(&self, storage: Storage) -> Result<Arc<Cuda>> {
            use gpu::Device as _;
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(device) = opened.iter().find(|device| device.storage() == storage) {
                return Ok(Arc::clone(device));
            }
            let device = Cuda::open(self.found.number, storage, self.cache.as_deref())?;
            if let Some(note) = device.note() {
                (self.tell)(note);
            }
            let device = Arc::new(device);
            opened.push(Arc::clone(&device));
            Ok(device)
        }

        pub(super) fn executor(
            &self,
            plan: &Arc<Plan>,
            precision: Precision,
        ) -> Result<Box<dyn Executor>> {
            let storage = match precision {
                Precision::F32 => Storage::F32,
                Precision::Bf16 | Precision::Bf16Amx | Precision::Bf16Avx512 => Storage::Bf16,
                Precision::F16 => Storage::F16,
            };
            let engine = Gpu::new(Arc::clone(plan), self.device(storage)?)?;
            let engine = engine.ok_or_else(|| Error::NotOnGpu(plan.name.clone()))?;
            Ok(Box::new(Native::with_engine(Arc::clone(plan), engine)))
        }
    }
}
