//! The kernels' sources, and how NVRTC compiles them.

use sha2::{Digest, Sha256};

use crate::device::Storage;

/// In an order in which later ones may use earlier ones.
const SOURCES: [&str; 9] = [
    include_str!("../kernels/common.cuh"),
    include_str!("../kernels/product.cuh"),
    include_str!("../kernels/weight.cuh"),
    include_str!("../kernels/depthwise.cuh"),
    include_str!("../kernels/norm.cuh"),
    include_str!("../kernels/map.cuh"),
    include_str!("../kernels/layer_norm.cuh"),
    include_str!("../kernels/attention.cuh"),
    include_str!("../kernels/optimizer.cuh"),
];

/// The types of activations that kernels are compiled for.
pub(crate) const STORAGES: [Storage; 3] = [Storage::F32, Storage::Bf16, Storage::F16];

/// What NVRTC compiles.
#[cfg(feature = "cuda")]
pub(crate) fn program() -> String {
    SOURCES.join("\n")
}

/// What NVRTC is told.
pub(crate) fn options(storage: Storage, architecture: &str) -> [String; 4] {
    [
        format!("--gpu-architecture={architecture}"),
        format!("-DSTORAGE={}", storage as u8),
        "--std=c++17".to_owned(),
        "-default-device".to_owned(),
    ]
}

/// A SHA-256, in hexadecimal, of everything that the code depends on, except the compiler.
pub(crate) fn source_hash(storage: Storage, architecture: &str) -> String {
    let mut hash = Sha256::new();
    let options = options(storage, architecture);
    for part in SOURCES
        .into_iter()
        .chain(options.iter().map(String::as_str))
    {
        // Git may have written other ends of lines.
        let part = part.replace('\r', "");
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
