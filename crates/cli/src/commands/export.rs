#[cfg(feature = "onnx")]
mod onnx;

use std::io::Write;

use candle_core::Device;
use mobilenet::weights;

use crate::args::{ExportArgs, ExportFormat};

pub(crate) fn export(args: &ExportArgs) -> anyhow::Result<()> {
    super::use_threads(trainer::cpu_threads(None))?;
    let (network, metadata) = weights::load(&args.weights, &Device::Cpu)?;
    let difference = match args.to {
        ExportFormat::Onnx => onnx::export(args, &network, &metadata)?,
    };
    let mut out = super::stdout();
    writeln!(out, "written             {}", args.out.display())?;
    writeln!(out, "largest difference  {difference}")?;
    out.flush()?;
    Ok(())
}

/// In a build that leaves tract out.
#[cfg(not(feature = "onnx"))]
mod onnx {
    use mobilenet::Network;
    use mobilenet::weights::WeightsMetadata;

    use crate::args::ExportArgs;

    pub(super) fn export(
        _: &ExportArgs,
        _: &Network,
        _: &WeightsMetadata,
    ) -> anyhow::Result<String> {
        anyhow::bail!(
            "this build of classify writes no ONNX files; build it with `--features onnx`"
        )
    }
}
