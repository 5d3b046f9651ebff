//! Code shared by the benchmark runners that use a network.

use std::error::Error;

use mobilenet::{Network, Variant};

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

    /// Sets the network's precision to `--precision`.
    pub(crate) fn set_precision(&self, network: &mut Network) -> Result<(), Box<dyn Error>> {
        let precision = self.get("--precision")?.unwrap_or_default();
        Ok(network.set_precision(precision)?)
    }
}
