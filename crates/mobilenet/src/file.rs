//! safetensors files, read whole.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::{Error, Result};

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::File {
        path: path.into(),
        source,
    })
}

pub(crate) fn tensors(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)
        .map_err(|e| not_safetensors(path, &e))?;
    Ok(tensors.into_iter().collect())
}

pub(crate) fn not_safetensors(path: &Path, error: &dyn std::fmt::Display) -> Error {
    let reason = format!("not a whole safetensors file: {error}");
    Error::Format {
        path: path.into(),
        reason,
    }
}
