//! Selects the device and the number of threads.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use candle_core::Device;

use crate::config::DeviceChoice;
use crate::{Error, Result};

/// Opens the chosen device.
///
/// `Auto` selects CUDA or Metal if this build supports it and finds one, or else the CPU.
///
/// # Errors
///
/// [`Error::Device`] if the device is missing or this build lacks its feature.
///
/// ```
/// use trainer::config::DeviceChoice;
/// assert!(trainer::open_device(DeviceChoice::Cpu)?.is_cpu());
/// # Ok::<(), trainer::Error>(())
/// ```
pub fn open_device(choice: DeviceChoice) -> Result<Device> {
    let open = |device: candle_core::Result<Device>| {
        device.map_err(|e| Error::Device {
            device: choice.to_string(),
            reason: e.to_string(),
        })
    };
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(number) => {
            built_with(cfg!(feature = "cuda"), choice, "cuda")?;
            open(Device::new_cuda(number))
        }
        DeviceChoice::Metal => {
            built_with(cfg!(feature = "metal"), choice, "metal")?;
            open(Device::new_metal(0))
        }
        DeviceChoice::Auto => {
            let accelerator = if cfg!(feature = "cuda") {
                Device::new_cuda(0)
            } else if cfg!(feature = "metal") {
                Device::new_metal(0)
            } else {
                return Ok(Device::Cpu);
            };
            Ok(accelerator.unwrap_or_else(|reason| {
                tracing::warn!("no accelerator found, running on the CPU: {reason}");
                Device::Cpu
            }))
        }
    }
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

/// The device's name for messages.
pub fn device_name(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
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
    #[cfg(not(feature = "cuda"))]
    fn a_device_this_build_cannot_use_is_an_error_that_says_how() {
        let message = open_device(DeviceChoice::Cuda(1)).unwrap_err().to_string();
        assert!(
            message.contains("cuda:1") && message.contains("--features cuda"),
            "{message}"
        );
    }
}
