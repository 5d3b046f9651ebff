use std::io::Write;

use candle_core::Device;
use mobilenet::{ModelDescription, weights};

use crate::args::InspectArgs;
use crate::escape::escaped;
use crate::weights_cache;

pub(crate) fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let overrides = super::overrides(&args.overrides)?;
    let loaded = weights::inspect(
        &weights_cache::resolve(&args.weights)?,
        overrides,
        &Device::Cpu,
    )?;
    let (network, metadata) = (&loaded.network, &loaded.metadata);
    let mut out = super::stdout();
    writeln!(out, "model               {}", metadata.model.name())?;
    match &metadata.model {
        ModelDescription::MobileNet(model) => {
            writeln!(out, "width               {}", model.width)?;
            writeln!(out, "head                {}", model.head)?;
            writeln!(out, "stem stride         {}", model.stem_stride)?;
            writeln!(out, "design              {}", model.design)?;
            let padding = format!("{:?}", model.padding).to_lowercase();
            writeln!(out, "padding             {padding}")?;
            writeln!(out, "batch-norm epsilon  {}", model.batch_norm_epsilon)?;
            writeln!(out, "drop path           {}", model.drop_path)?;
        }
        ModelDescription::Zoo(_) => writeln!(out, "head                linear")?,
    }
    writeln!(
        out,
        "image size          {} x {}",
        metadata.image_size.height, metadata.image_size.width
    )?;
    writeln!(out, "fit                 {}", metadata.framing)?;
    writeln!(out, "orientation         {}", metadata.orientation)?;
    writeln!(out, "mean                {:?}", metadata.normalisation.mean)?;
    writeln!(out, "std                 {:?}", metadata.normalisation.std)?;
    if let (Some(epoch), Some(score)) = (metadata.epoch, metadata.score) {
        writeln!(out, "epoch               {epoch}")?;
        writeln!(out, "score               {score:.5}")?;
    }
    if let Some(temperature) = metadata.temperature {
        writeln!(out, "temperature         {temperature:.4}")?;
    }
    let names = metadata.class_names.iter().map(|name| escaped(name));
    let names: Vec<_> = names.collect();
    let unnamed = match metadata.class_order.is_named() {
        true => "",
        false => " (the numbers of the outputs: the file names no classes)",
    };
    writeln!(
        out,
        "classes             {}: {}{unnamed}",
        names.len(),
        names.join(", ")
    )?;
    writeln!(out, "parameters          {}", network.parameters().len())?;
    writeln!(out, "executor            {}", network.executor())?;
    let report = loaded.report.to_string();
    let report: Vec<_> = report.lines().map(escaped).collect();
    let report = report.join("\n                    ");
    writeln!(out, "file                {report}\n")?;
    for (name, tensor) in network.tensors()? {
        let dtype = format!("{:?}", tensor.dtype()).to_lowercase();
        writeln!(out, "{:56} {dtype} {:?}", escaped(&name), tensor.dims())?;
    }
    out.flush()?;
    Ok(())
}
