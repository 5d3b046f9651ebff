//! Code shared by the benchmark runners that use a network.

use std::error::Error;

use mobilenet::{Network, Processor, Variant};
use trainer::config::DeviceChoice;

use crate::protocol::Arguments;

impl Arguments {
    /// The network of `--model`, after setting `--threads`. `small` and `large` are MobileNetV3, `v2` is
    /// MobileNetV2.
    pub(crate) fn variant(&self) -> Result<Variant, Box<dyn Error>> {
        if let Some(threads) = self.get("--threads")? {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global()?;
        }
        Ok(match self.get::<String>("--model")? {
            Some(name) if name == "v2" => Variant::V2,
            Some(name) if name == "small" || name == "large" => {
                format!("mobilenet_v3_{name}").parse()?
            }
            Some(name) => name.parse()?,
            None => Variant::SMALL,
        })
    }

    /// The processor of `--device`, the CPU by default. `--kernels` is a folder for a GPU's compiled kernels.
    pub(crate) fn processor(&self) -> Result<Processor, Box<dyn Error>> {
        if let Some(folder) = self.get("--kernels")? {
            trainer::keep_kernels_in(folder);
        }
        let device = self.get("--device")?.unwrap_or(DeviceChoice::Cpu);
        Ok(trainer::open_device(device)?)
    }

    /// Runs the network on a processor, in the precision of `--precision`.
    pub(crate) fn run_on(
        &self,
        processor: &Processor,
        network: &mut Network,
    ) -> Result<(), Box<dyn Error>> {
        let precision = self.get("--precision")?.unwrap_or_default();
        Ok(network.run_on(processor, precision)?)
    }
}
