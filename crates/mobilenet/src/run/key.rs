//! A hash that identifies a backbone.

use files::Checksum;

/// The version of the code that computes features. Other versions may round differently.
const MADE_BY: &str = concat!("mobilenet ", env!("CARGO_PKG_VERSION"), ", features 1");

/// An incremental SHA-256 of everything that affects the features of a backbone.
pub(crate) struct BackboneKey(Checksum);

impl BackboneKey {
    /// Starts the key of a backbone with this `description`, which `executor` runs.
    pub(crate) fn new(description: &str, executor: &str) -> Self {
        let mut hash = Checksum::default();
        for text in [MADE_BY, description, executor] {
            hash.text(text);
        }
        BackboneKey(hash)
    }

    /// Adds some of the backbone's values to the hash.
    pub(crate) fn numbers(&mut self, numbers: &[f32]) {
        self.0.update(&(numbers.len() as u64).to_le_bytes());
        self.0.numbers(numbers);
    }

    /// The hash in hexadecimal.
    pub(crate) fn finish(self) -> String {
        self.0.finish()
    }
}
