//! What the runners of a network have in common besides the protocol.

use std::error::Error;

use mobilenet::{Network, Variant};

use crate::protocol::Arguments;

impl Arguments {
    /// The network that `--model` names, after `--threads` have been set up for it.
    pub(crate) fn variant(&self) -> Result<Variant, Box<dyn Error>> {
        if let Some(threads) = self.get("--threads")? {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global()?;
        }
        Ok(match self.get::<String>("--model")? {
            Some(name) if name == "v2" => Variant::V2,
            Some(name) => format!("mobilenet_v3_{name}").parse()?,
            None => Variant::Small,
        })
    }

    /// Makes the network compute in `--precision`.
    pub(crate) fn set_precision(&self, network: &mut Network) -> Result<(), Box<dyn Error>> {
        let precision = self.get("--precision")?.unwrap_or_default();
        Ok(network.set_precision(precision)?)
    }
}
