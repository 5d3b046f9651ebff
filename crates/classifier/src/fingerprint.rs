//! The identity of a classifier's weights.

use candle_core::DType;
use files::Checksum;

use crate::{Classifier, Result};

impl Classifier {
    /// A SHA-256, in hexadecimal, of everything in the weights that affects an answer: tensors, class names, image size,
    /// framing, normalisation and the temperature that is used. Equal weights have equal fingerprints, wherever they were
    /// loaded from. It is computed anew at each call, which takes some milliseconds.
    ///
    /// # Errors
    /// If a device fails.
    pub fn fingerprint(&self) -> Result<String> {
        let mut checksum = Checksum::default();
        checksum.text(&format!("{:?}", self.views));
        for member in &self.members {
            let metadata = &member.metadata;
            for text in [
                format!("{:?}", member.network.description()),
                format!("{:?}", metadata.class_names),
                format!("{} {}", metadata.image_size, metadata.framing),
                format!("{:?} {:?}", metadata.orientation, metadata.normalisation),
                format!("{:?}", member.temperature),
            ] {
                checksum.text(&text);
            }
            for (name, tensor) in member.network.tensors()? {
                checksum.text(&name);
                checksum.text(&format!("{:?}", tensor.dims()));
                let values = tensor.to_dtype(DType::F32)?.flatten_all()?;
                checksum.numbers(&values.to_vec1()?);
            }
        }
        Ok(checksum.finish())
    }
}
