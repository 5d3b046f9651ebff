//! Writes an untrained network as a weights file, with the names of a project: `new_weights NETWORK PROJECT CLASSES FILE`,
//! for example `new_weights swin_t torchvision 5 swin.safetensors`. `tests/golden/strict_load.py` loads such files in torch.

use std::error::Error;
use std::path::Path;

use candle_core::Device;
use mobilenet::weights::{WeightsMetadata, save, save_as};
use mobilenet::{Design, ImageSize, ModelConfig, Network, Scheme, Variant};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, project, classes, file] = &arguments[..] else {
        return Err("expected a network, a project, a number of classes and a file".into());
    };
    let (name, classes): (Variant, usize) = (name.parse()?, classes.parse()?);
    let mut schemes = Scheme::ALL.into_iter();
    let scheme = schemes.find(|scheme| scheme.to_string() == *project);
    let scheme = scheme.ok_or("no such project")?;
    let config = ModelConfig {
        design: Design::of(scheme),
        ..ModelConfig::new(name, classes)
    };
    let network = Network::new(&config, 0, &Device::Cpu)?;
    let names = (0..classes).map(|class| class.to_string()).collect();
    let size = ImageSize::square(name.image_size());
    let metadata = WeightsMetadata::new(config.into(), names, size);
    match scheme {
        Scheme::Torchvision => save(Path::new(file), &network, &metadata)?,
        _ => save_as(Path::new(file), &network, &metadata, scheme)?,
    }
    Ok(())
}
