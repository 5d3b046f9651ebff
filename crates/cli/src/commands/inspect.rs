use std::io::Write;

use candle_core::Device;
use mobilenet::{ModelDescription, weights};

use crate::args::InspectArgs;

pub(crate) fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let (network, metadata) = weights::load_model(&args.weights, &Device::Cpu)?;
    let mut out = super::stdout();
    writeln!(out, "model               {}", metadata.model.name())?;
    match &metadata.model {
        ModelDescription::MobileNet(model) => {
            writeln!(out, "width               {}", model.width)?;
            writeln!(out, "head                {}", model.head)?;
            writeln!(out, "stem stride         {}", model.stem_stride)?;
        }
        ModelDescription::Zoo(_) => writeln!(out, "head                linear")?,
    }
    writeln!(
        out,
        "image size          {} x {}",
        metadata.image_size, metadata.image_size
    )?;
    writeln!(out, "mean                {:?}", metadata.normalisation.mean)?;
    writeln!(out, "std                 {:?}", metadata.normalisation.std)?;
    if let (Some(epoch), Some(score)) = (metadata.epoch, metadata.score) {
        writeln!(out, "epoch               {epoch}")?;
        writeln!(out, "score               {score:.5}")?;
    }
    let names = &metadata.class_names;
    writeln!(
        out,
        "classes             {}: {}",
        names.len(),
        names.join(", ")
    )?;
    writeln!(out, "parameters          {}\n", network.parameters().len())?;
    for (name, tensor) in network.tensors()? {
        let dtype = format!("{:?}", tensor.dtype()).to_lowercase();
        writeln!(out, "{name:56} {dtype} {:?}", tensor.dims())?;
    }
    out.flush()?;
    Ok(())
}
