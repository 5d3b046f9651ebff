//! SHA-256 of bytes that arrive piece by piece.

use sha2::{Digest, Sha256};

/// The count of numbers that become bytes at a time.
const PIECE: usize = 4096;

/// An unfinished SHA-256.
///
/// ```
/// let mut checksum = files::Checksum::default();
/// checksum.update(b"abc");
/// assert!(checksum.finish().starts_with("ba7816bf"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Checksum(Sha256);

impl Checksum {
    /// Hashes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Hashes a text and its end, so that a list of texts has another hash than the same text divided elsewhere.
    pub fn text(&mut self, text: &str) {
        self.update(text.as_bytes());
        self.update(&[0]);
    }

    /// Hashes numbers by their bytes, the lowest first.
    pub fn numbers(&mut self, numbers: &[f32]) {
        let mut bytes = Vec::with_capacity(4 * PIECE.min(numbers.len()));
        for piece in numbers.chunks(PIECE) {
            bytes.clear();
            bytes.extend(piece.iter().flat_map(|number| number.to_le_bytes()));
            self.update(&bytes);
        }
    }

    /// The finished SHA-256 in lower-case hexadecimal.
    #[must_use]
    pub fn finish(self) -> String {
        self.finish_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The finished SHA-256.
    #[must_use]
    pub fn finish_bytes(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
