#[cfg(feature = "onnx")]
mod onnx;
mod python;

use std::io::Write;

use anyhow::Context;
use candle_core::Device;
use mobilenet::Scheme;
use mobilenet::weights::{Source, save_as};

use crate::args::{ExportArgs, ExportFormat};
use crate::weights_cache;

pub(crate) fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let weights = weights_cache::resolve(&args.weights)?;
    // Fails early if the file cannot be written.
    files::Unfinished::create(&args.out)
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    super::use_threads(trainer::cpu_threads(None))?;
    let source = Source::open(&weights, super::overrides(&args.overrides)?)?;
    let loaded = source.load(&Device::Cpu)?;
    let (network, metadata) = (&loaded.network, &loaded.metadata);
    let save = |scheme| save_as(&args.out, network, metadata, scheme);
    let remarks = match args.to {
        ExportFormat::Onnx => {
            let difference = onnx::export(args, network, metadata)?;
            format!(
                "images              {} pixels, {}: the file does not resize\nlargest difference  {difference}",
                metadata.image_size, metadata.framing
            )
        }
        ExportFormat::Torchvision => {
            save(Scheme::Torchvision)?;
            python::torchvision(network.config(), &args.out)
        }
        ExportFormat::Timm => {
            save(Scheme::Timm)?;
            python::timm(network.config(), &args.out)
        }
    };
    let mut out = super::stdout();
    writeln!(out, "written             {}", args.out.display())?;
    writeln!(out, "{remarks}")?;
    out.flush()?;
    Ok(())
}

/// The error of a build without the feature `onnx`.
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
            "this build of classify cannot write ONNX files; build it with `--features onnx`"
        )
    }
}
