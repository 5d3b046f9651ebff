//! The design of a file without metadata.

use crate::weights::load::{Names, compare};
use crate::weights::recognise::Origin;
use crate::weights::tensor_file::TensorFile;
use crate::weights::usage::Usage;
use crate::{Design, ModelConfig};

/// The design of a file's network: that of the file's project, or torchvision's if more of the shapes fit it. timm also has
/// torchvision's RegNets, such as `regnetx_004_tv`.
pub(super) fn find(origin: &Origin, file: &TensorFile) -> Design {
    let own = Usage::of(origin.scheme, origin.variant).design;
    let (family, _) = origin.variant.of();
    // In families of many widths, the shapes also depend on the width.
    if family.has_width || own == Design::Torchvision {
        return own;
    }
    let fitting = |design: Design| {
        let model = ModelConfig {
            head: origin.head,
            design,
            ..ModelConfig::new(origin.variant, 1)
        };
        let plan = model.plan().ok();
        let tensors = plan.and_then(|plan| origin.variant.names(origin.scheme, &plan));
        tensors.map_or(0, |tensors| {
            let names = Names {
                origin,
                tensors: &tensors,
            };
            compare(&names, file).matched.len()
        })
    };
    match fitting(Design::Torchvision) > fitting(own) {
        true => Design::Torchvision,
        false => own,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device, Tensor, safetensors};

    use super::*;
    use crate::weights::{Overrides, Source};
    use crate::{Network, Scheme, Variant};

    #[test]
    fn regnets_of_timm_are_in_its_own_design_or_in_torchvisions() {
        let variant: Variant = "regnet_x_400mf".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("regnet.safetensors");
        for design in [Design::Timm, Design::Torchvision] {
            let model = ModelConfig {
                design,
                ..ModelConfig::new(variant, 3)
            };
            let names = variant.names(Scheme::Timm, &model.plan().unwrap()).unwrap();
            let names = names.into_iter().filter(|name| name.is_required());
            let tensors: HashMap<String, Tensor> = names
                .map(|name| {
                    let zeros = Tensor::zeros(name.shape.unwrap(), DType::F32, &Device::Cpu);
                    (name.foreign.unwrap(), zeros.unwrap())
                })
                .collect();
            safetensors::save(&tensors, &path).unwrap();
            let mut source = Source::open(&path, Overrides::default()).unwrap();
            assert_eq!(source.scheme(), Scheme::Timm);
            let adapted = source.adapt(&ModelConfig::new(variant, 3)).unwrap();
            assert_eq!(adapted.design, design);
            let mut network = Network::new(&adapted, 1, &Device::Cpu).unwrap();
            assert!(source.load_into(&mut network).unwrap().is_complete());
            let loaded = source.load(&Device::Cpu).unwrap();
            assert_eq!(loaded.network.config().design, design);
        }
    }
}
