use candle_core::{DType, Device};

use super::assemble::{Tensor, dict, legacy};
use crate::weights::load_pretrained;
use crate::{ModelConfig, Network, Variant};

fn network(seed: u64) -> Network {
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 3)
    };
    Network::new(&config, seed, &Device::Cpu).unwrap()
}

fn arena(network: &Network) -> Vec<f32> {
    network.parameters().arena().unwrap().to_vec1().unwrap()
}

/// The weights of a network as `torch.save` writes its `state_dict`, without counters.
fn saved(network: &Network) -> Vec<u8> {
    let tensors = network.parameters().named().unwrap();
    let floats = tensors.into_iter().filter(|(_, t)| t.dtype() == DType::F32);
    let (mut entries, mut storages) = (Vec::new(), Vec::new());
    for (index, (name, tensor)) in floats.enumerate() {
        let numbers: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let dims = tensor.dims();
        let shape: Vec<i64> = dims.iter().map(|&n| n as i64).collect();
        let strides = (1..=dims.len()).map(|from| shape[from..].iter().product());
        let pickled = Tensor {
            storage: &index.to_string(),
            len: numbers.len() as i64,
            shape: &shape,
            strides: &strides.collect::<Vec<i64>>(),
            ..Tensor::SIX
        };
        entries.push((name.to_string(), pickled.pickled()));
        storages.push((index.to_string(), numbers));
    }
    let entries: Vec<_> = entries
        .iter()
        .map(|(n, p)| (n.as_str(), p.clone()))
        .collect();
    let storages: Vec<_> = storages.iter().map(|(k, n)| (k.as_str(), &n[..])).collect();
    legacy(&dict(&entries), &storages)
}

#[test]
fn weights_under_torchvisions_names_load_from_a_pth_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mobilenet_v3_small.pth");
    let trained = network(1);
    std::fs::write(&path, saved(&trained)).unwrap();
    let mut fresh = network(2);
    assert_ne!(arena(&fresh), arena(&trained));
    let report = load_pretrained(&path, &mut fresh).unwrap();
    assert!(report.is_complete(), "{report}");
    assert_eq!(arena(&fresh), arena(&trained));
}
