//! Selects the device and the number of threads.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use candle_core::Device;
use mobilenet::Processor;

use crate::config::DeviceChoice;
use crate::{Error, Result};

/// Opens the chosen device.
///
/// `Auto` selects CUDA or Metal if this build supports it and finds one, or else the CPU, and logs why.
///
/// # Errors
///
/// [`Error::Device`] if the device is missing or this build lacks its feature.
///
/// ```
/// use trainer::config::DeviceChoice;
/// assert_eq!(trainer::open_device(DeviceChoice::Cpu)?.name(), "cpu");
/// # Ok::<(), trainer::Error>(())
/// ```
pub fn open_device(choice: DeviceChoice) -> Result<Processor> {
    let open = |device: std::result::Result<Processor, String>| {
        device.map_err(|reason| Error::Device {
            device: choice.to_string(),
            reason,
        })
    };
    let processor = match choice {
        DeviceChoice::Cpu => cpu(),
        DeviceChoice::Cuda(number) => {
            built_with(CUDA, choice, "cuda")?;
            open(cuda(number))?
        }
        DeviceChoice::Metal => {
            built_with(cfg!(feature = "metal"), choice, "metal")?;
            open(metal())?
        }
        DeviceChoice::Auto => {
            let accelerator = if CUDA {
                cuda(0)
            } else if cfg!(feature = "metal") {
                metal()
            } else {
                return Ok(cpu());
            };
            accelerator.unwrap_or_else(|reason| {
                tracing::warn!("no GPU is used, this runs on the CPU: {reason}");
                cpu()
            })
        }
    };
    if let Some(description) = processor.description() {
        tracing::info!("GPU: {description}");
    }
    Ok(processor)
}

/// The folder for compiled kernels.
static KERNELS: OnceLock<PathBuf> = OnceLock::new();

/// Keeps the kernels that are compiled for a GPU in a folder, for later processes. The first call counts. Without a
/// call, every process compiles them again, which takes up to a minute.
pub fn keep_kernels_in(folder: PathBuf) {
    // A second folder is as good as the first.
    let _ = KERNELS.set(folder);
}

const CUDA: bool = cfg!(any(feature = "cuda", feature = "candle-cuda"));

fn cpu() -> Processor {
    Processor::of(Device::Cpu)
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> std::result::Result<Processor, String> {
    let tell = |note: &str| tracing::warn!("GPU: {note}");
    let opened = Processor::cuda(number, KERNELS.get().cloned(), tell);
    opened.map_err(|e| e.to_string())
}

#[cfg(not(feature = "cuda"))]
fn cuda(number: usize) -> std::result::Result<Processor, String> {
    let opened = Device::new_cuda(number).map(Processor::of);
    opened.map_err(|e| e.to_string())
}

fn metal() -> std::result::Result<Processor, String> {
    let opened = Device::new_metal(0).map(Processor::of);
    opened.map_err(|e| e.to_string())
}

fn built_with(present: bool, choice: DeviceChoice, feature: &str) -> Result<()> {
    if present {
        return Ok(());
    }
    Err(Error::Device {
        device: choice.to_string(),
        reason: format!(
            "this build has no {feature} support; build with --features {feature}, or choose \"cpu\" or \"auto\""
        ),
    })
}

/// The number of compute threads: the given number, or else one per physical core that this process may use.
///
/// One thread keeps a core's vector units busy, so a second thread on the same core would not help. If the system does
/// not report physical cores, logical processors are counted.
///
/// ```
/// use std::num::NonZeroUsize;
/// assert_eq!(trainer::cpu_threads(NonZeroUsize::new(3)), 3);
/// assert!(trainer::cpu_threads(None) >= 1);
/// ```
pub fn cpu_threads(asked: Option<NonZeroUsize>) -> usize {
    let usable = || available_parallelism().map_or(1, NonZeroUsize::get);
    match asked {
        Some(threads) => threads.get(),
        None => num_cpus::get_physical().clamp(1, usable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(any(feature = "cuda", feature = "candle-cuda")))]
    fn a_device_this_build_cannot_use_is_an_error_that_says_how() {
        let message = open_device(DeviceChoice::Cuda(1)).unwrap_err().to_string();
        assert!(
            message.contains("cuda:1") && message.contains("--features cuda"),
            "{message}"
        );
    }
}
